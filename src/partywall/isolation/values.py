"""Values on their way into and out of a store: checked against the column's type, never coerced by guess."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any, Final

from partywall.backend import Row
from partywall.errors import QueryError
from partywall.model import ColumnType, Table

__all__ = ["decode_rows", "encode"]

_DEEPEST_JSON: Final = 64


def encode(kind: ColumnType, value: Any, where: str) -> Any:
    """The value as the contract's rows hold it; QueryError names ``where`` and says what the column takes."""
    try:
        return _ENCODERS[kind](value)
    except (TypeError, ValueError, OverflowError) as error:
        raise QueryError(f"{where} takes {_EXPECTED[kind]}, not {_shown(value)}{_detail(error)}") from None


def decode_rows(table: Table, rows: Iterable[Row]) -> list[Row]:
    """Rows as callers see them: JSON documents are read, the rest is as it was."""
    documents = _documents(table)
    if not documents:
        return list(rows)
    return [_decoded(row, documents) for row in rows]


def _documents(table: Table) -> list[str]:
    return [name for name, column in table.columns.items() if column.type is ColumnType.JSON]


def _decoded(row: Row, documents: list[str]) -> Row:
    for name in documents:
        text = row[name]
        if text is not None:
            row[name] = json.loads(text)
    return row


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    plain = str.__str__(value)
    plain.encode()
    return plain


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise TypeError
    return int(value)


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _timestamp(value: Any) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TypeError
    return value.astimezone(UTC)


def _date(value: Any) -> date:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise TypeError
    return value


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError
    return bytes(value)


def _json(value: Any) -> str:
    _require_json(value, _DEEPEST_JSON)
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    text.encode()
    return text


def _require_json(value: Any, depth: int) -> None:
    if depth == 0:
        raise ValueError(f"nested deeper than {_DEEPEST_JSON}")
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("keys must be text")
        for item in value.values():
            _require_json(item, depth - 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _require_json(item, depth - 1)
    elif not isinstance(value, str | int | float | None):
        raise TypeError


_ENCODERS: Final[dict[ColumnType, Callable[[Any], Any]]] = {
    ColumnType.TEXT: _text,
    ColumnType.INTEGER: _integer,
    ColumnType.FLOAT: _float,
    ColumnType.BOOLEAN: _boolean,
    ColumnType.TIMESTAMP: _timestamp,
    ColumnType.DATE: _date,
    ColumnType.BYTES: _bytes,
    ColumnType.JSON: _json,
}
_EXPECTED: Final = {
    ColumnType.TEXT: "a text",
    ColumnType.INTEGER: "an int of 64 bits",
    ColumnType.FLOAT: "a finite number",
    ColumnType.BOOLEAN: "True or False",
    ColumnType.TIMESTAMP: "a datetime with a time zone",
    ColumnType.DATE: "a date",
    ColumnType.BYTES: "bytes",
    ColumnType.JSON: "a JSON document (dict, list, text, number or bool)",
}


def _shown(value: Any) -> str:
    return type(value).__name__


def _detail(error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):
        return ": it holds half of a surrogate pair"
    return f": {error}" if str(error) and len(str(error)) < 80 else ""
