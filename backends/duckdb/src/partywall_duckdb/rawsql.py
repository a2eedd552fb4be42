"""A tenant's own SQL, carried out in its instance: vetted, over views of its declared tables, read-only, bounded."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final

import duckdb

from partywall.backend import Row, Sql
from partywall.errors import QueryError
from partywall.model import Table
from partywall.sql import quote
from partywall_duckdb.dialect import DIALECT
from partywall_duckdb.hub import Cursor, run
from partywall_duckdb.sqlguard import Vetted, vet

__all__ = ["answer", "running"]

_log = logging.getLogger(__name__)

_MOST_BYTES: Final = 64_000_000
"""Bytes of one result, as Python holds it."""
_MOST_LARGE: Final = 16
"""Columns of texts, bytes or lists that a statement may return which puts such together: each may be as large as the
memory of the instance, and is copied.
"""
_LARGE: Final = ("VARCHAR", "BLOB", "JSON", "STRUCT", "MAP", "UNION", "VARIANT", "BIT")
_READ_ONLY: Final = "BEGIN TRANSACTION READ ONLY"

_SAID: Final[dict[type[duckdb.Error], str]] = {
    duckdb.BinderException: "it names a column that is not there, or uses one in a way that its type does not allow",
    duckdb.CatalogException: "it names something that is not there",
    duckdb.ParserException: "it is not valid SQL, or nested too deeply",
    duckdb.ConversionException: "a value cannot be converted to the type that it is used as",
    duckdb.OutOfRangeException: "a number is out of range",
    duckdb.InvalidInputException: "an argument does not fit what it is given to",
    duckdb.NotImplementedException: "it asks for something that is not there, such as an unknown time zone",
    duckdb.OutOfMemoryException: "it needs more memory than one statement may take",
}
"""What callers are told of a failure, never in the words of the engine."""


def answer(cursor: Cursor, tables: Mapping[str, tuple[Table, str]], statement: Sql) -> list[Row]:
    """The rows of the statement, at most its limit; QueryError for one that may not run or that failed.

    ``tables`` holds the declared tables by name, each with the quoted name under which the tenant's rows stand.
    """
    with running(cursor, tables, statement) as names:
        return _fetched(cursor, names, statement.limit)


@contextmanager
def running(
    cursor: Cursor, tables: Mapping[str, tuple[Table, str]], statement: Sql, *, more: frozenset[str] = frozenset()
) -> Iterator[list[str]]:
    """The statement runs within the block, in which its result is fetched; yields the names of its columns.

    ``more`` are functions that are allowed beside the usual ones, where the system bounds what they take.
    """
    widths = {name: len(table.types) for name, (table, _) in tables.items()}
    parameters = _named(statement.parameters)
    vetted = vet(cursor, statement.text, widths, parameters, more=more)
    with _told():
        _make_views(cursor, (tables[name] for name in vetted.tables))
        run(cursor, _READ_ONLY)
        try:
            cursor.execute(vetted.statement, _fitting(vetted.statement, parameters))
            if not more:
                _require_few_lists(cursor, vetted)
            yield _names(cursor, vetted)
        finally:
            with suppress(duckdb.Error):
                cursor.execute("ROLLBACK")  # also drops what was not fetched


def _make_views(cursor: Cursor, tables: Iterable[tuple[Table, str]]) -> None:
    """Make each table known to this cursor by its own name, with its declared columns and no others."""
    for table, relation in tables:
        columns = ", ".join(map(quote, DIALECT.columns(table)))
        run(cursor, f"CREATE OR REPLACE TEMP VIEW {quote(table.name)} AS SELECT {columns} FROM {relation}")  # noqa: S608  # quoted names only


def _fetched(cursor: Cursor, names: Sequence[str], limit: int) -> list[Row]:
    rows: list[Row] = []
    size = 0
    while len(rows) < limit and (values := cursor.fetchone()) is not None:
        size += sum(map(_size, values))
        if size > _MOST_BYTES:
            raise QueryError(f"the result is larger than {_MOST_BYTES:,} bytes; select fewer columns or rows")
        rows.append(dict(zip(names, map(_plain, values), strict=True)))
    return rows


def _names(cursor: Cursor, vetted: Vetted) -> list[str]:
    columns = [(str(column[0]), str(column[1])) for column in cursor.description or ()]
    names = [name for name, _ in columns]
    if len(set(names)) != len(names):
        raise QueryError("two columns of the result have the same name; give them names with AS")
    large = [kind for _, kind in columns if kind.startswith(_LARGE) or kind.endswith("]")]
    if vetted.grows and len(large) > _MOST_LARGE:
        raise QueryError(f"a statement that puts texts or lists together returns at most {_MOST_LARGE} columns of them")
    return names


def _require_few_lists(cursor: Cursor, vetted: Vetted) -> None:
    """Python makes objects of a whole list at once, 64 bytes of one, before anybody can count them."""
    kinds = [str(column[1]) for column in cursor.description or ()]
    if vetted.gathers and any(kind.endswith("]") for kind in kinds):
        raise QueryError("a statement that gathers lists returns none; use string_agg(), or return the rows")
    if vetted.grows and any(kind.endswith("][]") for kind in kinds):
        raise QueryError("a statement that makes lists returns none of lists")


def _named(given: Sequence[Any] | Mapping[str, Any]) -> Mapping[str, Any]:
    return given if isinstance(given, Mapping) else {str(place): value for place, value in enumerate(given, 1)}


def _fitting(statement: duckdb.Statement, named: Mapping[str, Any]) -> dict[str, Any]:
    if named.keys() != statement.named_parameters:
        wanted = ", ".join(f"${name}" for name in sorted(statement.named_parameters)) or "none"
        raise QueryError(f"the parameters do not fit the statement, which takes {wanted[:200]}")
    return {name: _bound(value) for name, value in named.items()}


def _bound(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None)
    return [_bound(each) for each in value] if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """Moments are in UTC, as everywhere."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return value


def _size(value: Any) -> int:
    match value:
        case str() | bytes():
            return 50 + len(value)
        case list() | tuple():
            return 50 + sum(map(_size, value))
        case dict():
            return 50 + sum(_size(key) + _size(each) for key, each in value.items())
        case _:
            return 32


@contextmanager
def _told() -> Iterator[None]:
    """Turn what the engine says of the caller's own statement into words of ours; other errors pass."""
    try:
        yield
    except (duckdb.InterruptException, duckdb.InternalException, duckdb.FatalException):
        raise
    except duckdb.Error as error:
        said = next((text for kind, text in _SAID.items() if isinstance(error, kind)), None)
        _log.debug("a statement of a tenant's own failed with %s", type(error).__name__)
        if said is None:
            raise
        raise QueryError(f"the statement failed: {said}") from None
