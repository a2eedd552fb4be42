"""Arrow tables of a declared table's rows: made from what the store gives, and read batch by batch on the way in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, Final, TypeAlias

from partywall.backend import Row
from partywall.errors import BackendError, ConfigError, QueryError
from partywall.model import ColumnType, Table

__all__ = ["ArrowData", "ArrowTable", "conformed", "pyarrow", "rows_of", "schema_of", "table_of"]

ArrowTable: TypeAlias = Any
"""A ``pyarrow.Table``; pyarrow is loaded by those who use it."""
ArrowData: TypeAlias = Any
"""A ``pyarrow`` Table, RecordBatch or RecordBatchReader, or anything that offers ``__arrow_c_stream__``."""

_AT_ONCE: Final = 10_000
"""Rows that are Python objects at a time on the way in."""
_TYPES: Final[dict[ColumnType, Callable[[Any], Any]]] = {
    ColumnType.TEXT: lambda arrow: arrow.string(),
    ColumnType.INTEGER: lambda arrow: arrow.int64(),
    ColumnType.FLOAT: lambda arrow: arrow.float64(),
    ColumnType.BOOLEAN: lambda arrow: arrow.bool_(),
    ColumnType.TIMESTAMP: lambda arrow: arrow.timestamp("us", "UTC"),
    ColumnType.DATE: lambda arrow: arrow.date32(),
    ColumnType.BYTES: lambda arrow: arrow.binary(),
    ColumnType.JSON: lambda arrow: arrow.string(),
}


def pyarrow() -> Any:
    """The module; ConfigError says what to install when it is not there."""
    try:
        return import_module("pyarrow")
    except ImportError:
        raise ConfigError("Arrow tables need pyarrow: pip install 'partywall[arrow]'") from None


def table_of(table: Table, rows: Sequence[Row]) -> ArrowTable:
    """The contract's rows as an Arrow table; JSON documents are texts."""
    return pyarrow().Table.from_pylist(list(rows), schema=schema_of(table))


def conformed(table: Table, found: ArrowTable) -> ArrowTable:
    """What a backend returned, with exactly the declared columns and types; BackendError when it does not fit."""
    arrow, schema = pyarrow(), schema_of(table)
    try:
        return found.select(schema.names).cast(schema)
    except (arrow.ArrowException, KeyError, TypeError, ValueError):
        raise BackendError("the store's Arrow table is not what was declared") from None


def rows_of(table: Table, data: ArrowData) -> Iterator[list[Row]]:
    """The rows of Arrow data as callers write them, some thousands at a time; QueryError for what cannot be read."""
    arrow = pyarrow()
    try:
        reader = _reader(arrow, data)
        if len(set(reader.schema.names)) != len(reader.schema.names):
            raise QueryError("two columns of the Arrow data have the same name")
        for batch in reader:
            batch.validate(full=True)
            for start in range(0, batch.num_rows, _AT_ONCE):
                yield _rows(arrow, table, batch.slice(start, _AT_ONCE))
    except (arrow.ArrowException, ValueError, OverflowError):
        raise QueryError("the Arrow data cannot be read, or hold values that no column takes") from None


def schema_of(table: Table) -> Any:
    """The Arrow schema of a declared table."""
    arrow = pyarrow()
    return arrow.schema([(str(name), _TYPES[kind](arrow)) for name, kind in table.types.items()])


def _reader(arrow: Any, data: Any) -> Any:
    if isinstance(data, arrow.RecordBatchReader):
        return data
    if isinstance(data, arrow.RecordBatch):
        return arrow.Table.from_batches([data]).to_reader()
    if isinstance(data, arrow.Table):
        return data.to_reader()
    if hasattr(data, "__arrow_c_stream__"):
        return arrow.RecordBatchReader.from_stream(data)
    raise QueryError("insert_arrow takes a pyarrow Table, RecordBatch or RecordBatchReader")


def _rows(arrow: Any, table: Table, batch: Any) -> list[Row]:
    columns = [_values(arrow, table.types.get(name), batch.column(name)) for name in batch.schema.names]
    return [dict(zip(batch.schema.names, values, strict=True)) for values in zip(*columns, strict=True)]


def _values(arrow: Any, kind: ColumnType | None, column: Any) -> list[Any]:
    if arrow.types.is_timestamp(column.type):
        column = column.cast(arrow.timestamp("us", column.type.tz))  # refuses what microseconds would cut off
    values: list[Any] = column.to_pylist()
    if kind is ColumnType.JSON and values and all(value is None or isinstance(value, str) for value in values):
        return [None if value is None else _document(value) for value in values]
    return values


def _document(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise QueryError("a text in a JSON column of Arrow data is no JSON document") from None
