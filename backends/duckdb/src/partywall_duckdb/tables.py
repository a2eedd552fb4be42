"""The tables inside one store: as declared, as found, and how the second becomes the first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import duckdb

from partywall.clock import Clock
from partywall.errors import ConfigError
from partywall.model import Table
from partywall.sql import quote
from partywall_duckdb.dialect import DIALECT, default_of
from partywall_duckdb.hub import Cursor, run

__all__ = [
    "ROWS",
    "TENANT",
    "Stored",
    "copy_tables",
    "create_tables",
    "declared",
    "delete_tenant",
    "fingerprint",
    "migrate",
    "stored",
]

ROWS: Final = "rows"
"""The schema of the tenants' tables. Nothing stands in ``main``, to which unqualified names fall back."""
TENANT: Final = "tenant_id"
"""The column that says whose a row is."""
_TENANT_TYPE: Final = "VARCHAR"

Key: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stored:
    """One table of a store: its columns with their types, ``id`` among them, and its keys beside ``id``."""

    columns: dict[str, str]
    keys: set[Key] = field(default_factory=set)


def declared(tables: Mapping[Any, Table]) -> dict[str, Stored]:
    """The tables that tables.yaml declares, as a store should have them."""
    return {
        str(table.name): Stored(DIALECT.columns(table), {tuple(map(str, key)) for key in table.unique})
        for table in tables.values()
    }


def stored(cursor: Cursor, catalog: str) -> dict[str, Stored]:
    """The tables that a store has. Reads DuckDB's own catalog: for opening and rewriting only."""
    tables: dict[str, Stored] = {}
    for table, column, kind in run(cursor, _COLUMNS, [catalog, ROWS]):
        columns = tables.setdefault(table, Stored({})).columns
        if column != TENANT:
            columns[column] = kind
    for table, index in run(cursor, _INDEXES, [catalog, ROWS]):
        tables[table].keys.add(tuple(index.removeprefix(f"{table}(").removesuffix(")").split(",")))
    return tables


_COLUMNS: Final = (
    "SELECT table_name, column_name, data_type FROM duckdb_columns() "
    "WHERE database_name = ? AND schema_name = ? ORDER BY table_name, column_index"
)
_INDEXES: Final = "SELECT table_name, index_name FROM duckdb_indexes() WHERE database_name = ? AND schema_name = ?"


def create_tables(cursor: Cursor, catalog: str, tables: Mapping[str, Stored], *, keys: bool = True) -> None:
    """Make the tables in a store that has none of them."""
    for name, table in tables.items():
        columns = "".join(f", {quote(column)} {kind}" for column, kind in table.columns.items())
        run(
            cursor,
            f"CREATE TABLE {_relation(catalog, name)} ({quote(TENANT)} {_TENANT_TYPE} NOT NULL{columns}, "
            f"PRIMARY KEY ({quote(TENANT)}, {quote('id')}))",
        )
        if keys:
            _add_keys(cursor, catalog, name, table.keys)


def migrate(
    cursor: Cursor, catalog: str, found: Mapping[str, Stored], tables: Mapping[Any, Table], clock: Clock
) -> None:
    """Add the tables, columns and keys that the store lacks; what is no longer declared stays, unseen.

    ConfigError when a column holds another type, or when rows that are there break a new key.
    """
    wanted = declared(tables)
    for name, table in wanted.items():
        _require_same_types(name, found.get(name), table)
    create_tables(cursor, catalog, {name: table for name, table in wanted.items() if name not in found})
    for table_name, spec in tables.items():
        name = str(table_name)
        if name in found:
            _add_columns(
                cursor, catalog, spec, [each for each in wanted[name].columns if each not in found[name].columns], clock
            )
            _drop_keys(cursor, catalog, name, found[name].keys - wanted[name].keys)
            _add_keys(cursor, catalog, name, wanted[name].keys - found[name].keys)


def copy_tables(cursor: Cursor, source: str, target: str, tables: Mapping[str, Stored]) -> None:
    """Make the tables in ``target`` and fill them with all rows of ``source``; keys are built afterwards."""
    create_tables(cursor, target, tables, keys=False)
    for name, table in tables.items():
        columns = ", ".join(map(quote, [TENANT, *table.columns]))
        origin = _relation(source, name)
        run(cursor, f"INSERT INTO {_relation(target, name)} ({columns}) SELECT {columns} FROM {origin}")  # noqa: S608  # quoted names only
        _add_keys(cursor, target, name, table.keys)


def fingerprint(cursor: Cursor, catalog: str, tables: Iterable[str]) -> dict[str, tuple[Any, ...]]:
    """Number and checksum of the rows of each table; reads every byte of them."""
    return {
        name: run(cursor, f"SELECT count(*), bit_xor(hash(r)), sum(hash(r)) FROM {_relation(catalog, name)} AS r")[0]  # noqa: S608  # quoted names only
        for name in tables
    }


def delete_tenant(cursor: Cursor, catalog: str, tables: Iterable[str], tenant: str) -> None:
    """Delete the tenant's rows of every table."""
    for name in tables:
        run(cursor, f"DELETE FROM {_relation(catalog, name)} WHERE {quote(TENANT)} = ?", [tenant])  # noqa: S608  # quoted names only


def _relation(catalog: str, name: str) -> str:
    return f"{quote(catalog)}.{quote(ROWS)}.{quote(name)}"


def _require_same_types(name: str, found: Stored | None, wanted: Stored) -> None:
    for column, kind in wanted.columns.items():
        has = kind if found is None else found.columns.get(column, kind)
        if has != kind:
            raise ConfigError(
                f"tables.yaml: {name}.{column} would be {kind} in the store, where it is {has}; "
                "declare the type that it had, or a new column"
            )


def _add_columns(cursor: Cursor, catalog: str, table: Table, missing: Iterable[str], clock: Clock) -> None:
    for name in missing:
        default = default_of(table.columns[name], clock)  # type: ignore[index]  # one of the declared names
        relation = _relation(catalog, table.name)
        run(cursor, "BEGIN TRANSACTION")
        try:
            run(cursor, f"ALTER TABLE {relation} ADD COLUMN {quote(name)} {DIALECT.columns(table)[name]}")
            if default is not None:
                run(cursor, f"UPDATE {relation} SET {quote(name)} = ?", [default])  # noqa: S608  # quoted names only
        except BaseException:
            run(cursor, "ROLLBACK")
            raise
        run(cursor, "COMMIT")


def _index(catalog: str, table: str, key: Key) -> tuple[str, str]:
    # The name carries the key, and its parentheses keep it apart from every table's.
    listed = ",".join(key)
    for name in (table, *key):
        quote(name)
    return f'"{table}({listed})"', f'{quote(catalog)}.{quote(ROWS)}."{table}({listed})"'


def _add_keys(cursor: Cursor, catalog: str, table: str, keys: Iterable[Key]) -> None:
    for key in keys:
        name, _ = _index(catalog, table, key)
        columns = ", ".join(map(quote, [TENANT, *key]))
        try:
            run(cursor, f"CREATE UNIQUE INDEX {name} ON {_relation(catalog, table)} ({columns})")
        except duckdb.ConstraintException:
            raise ConfigError(
                f"tables.yaml: {table} cannot have the unique key ({', '.join(key)}): rows that are there break it"
            ) from None


def _drop_keys(cursor: Cursor, catalog: str, table: str, keys: Iterable[Key]) -> None:
    for key in keys:
        run(cursor, f"DROP INDEX {_index(catalog, table, key)[1]}")
