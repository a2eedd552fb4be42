"""The tables of one schema of a store: as declared, as found, and how the second becomes the first."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import duckdb

from partywall.clock import Clock
from partywall.errors import ConfigError
from partywall.model import ID, Table
from partywall.sql import quote
from partywall_duckdb.dialect import DIALECT, default_of
from partywall_duckdb.hub import Cursor, run

__all__ = [
    "OWN",
    "ROWS",
    "TENANT",
    "TENANT_TYPE",
    "Namespace",
    "Stored",
    "copy_tables",
    "create_tables",
    "declared",
    "delete_tenant",
    "fingerprint",
    "migrate",
    "stored",
    "stored_by_schema",
    "version",
]

OWN: Final = "partywall"
"""The schema, and in a tenant's schema the table, of what the backend itself keeps. No declared table has this name."""
ROWS: Final = "rows"
"""The schema of tables that tenants share. Nothing stands in ``main``, to which unqualified names fall back."""
TENANT: Final = "tenant_id"
"""The column that says whose a row is."""
TENANT_TYPE: Final = "VARCHAR"

Key: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Namespace:
    """A schema in a file that is attached, and whether tenants share its tables."""

    catalog: str
    schema: str
    shared: bool = False

    @property
    def lead(self) -> Key:
        """The columns that every key begins with."""
        return (TENANT,) if self.shared else ()

    def relation(self, table: str) -> str:
        """A table's quoted name."""
        return f"{quote(self.catalog)}.{quote(self.schema)}.{quote(table)}"

    def create(self, cursor: Cursor) -> None:
        """Make the schema itself."""
        run(cursor, f"CREATE SCHEMA {quote(self.catalog)}.{quote(self.schema)}")


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


def version(tables: Mapping[Any, Table]) -> str:
    """A short text that changes with what the declared tables need of a store."""
    wanted = {name: (sorted(table.columns.items()), sorted(table.keys)) for name, table in declared(tables).items()}
    return hashlib.blake2b(repr(sorted(wanted.items())).encode(), digest_size=12).hexdigest()


def stored(cursor: Cursor, where: Namespace) -> dict[str, Stored]:
    """The tables that a schema has. Reads DuckDB's own catalog: for opening and rewriting only."""
    return _read(cursor, where.catalog, "schema_name = ?", where.schema).get(where.schema, {})


def stored_by_schema(cursor: Cursor, catalog: str) -> dict[str, dict[str, Stored]]:
    """The tables of every schema of the tenants, at the cost of asking for one."""
    return _read(cursor, catalog, "schema_name <> ?", OWN)


def _read(cursor: Cursor, catalog: str, test: str, value: str) -> dict[str, dict[str, Stored]]:
    schemas: dict[str, dict[str, Stored]] = {}
    wanted = f"WHERE database_name = ? AND {test}"
    columns = f"SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns() {wanted}"  # noqa: S608  # fixed texts
    for schema, table, column, kind in run(cursor, f"{columns} ORDER BY table_name, column_index", [catalog, value]):
        if table != OWN:
            found = schemas.setdefault(schema, {}).setdefault(table, Stored({}))
            if column != TENANT:
                found.columns[column] = kind
    indexes = f"SELECT schema_name, table_name, index_name FROM duckdb_indexes() {wanted}"  # noqa: S608  # fixed texts
    for schema, table, index in run(cursor, indexes, [catalog, value]):
        key = index.removeprefix(f"{table}(").removesuffix(")").split(",")
        schemas[schema][table].keys.add(tuple(key))
    return schemas


def create_tables(cursor: Cursor, where: Namespace, tables: Mapping[str, Stored], *, keys: bool = True) -> None:
    """Make the tables in a schema that has none of them."""
    lead = "".join(f"{quote(column)} {TENANT_TYPE} NOT NULL, " for column in where.lead)
    for name, table in tables.items():
        columns = ", ".join(f"{quote(column)} {kind}" for column, kind in table.columns.items())
        key = ", ".join(map(quote, [*where.lead, ID]))
        run(cursor, f"CREATE TABLE {where.relation(name)} ({lead}{columns}, PRIMARY KEY ({key}))")
        if keys:
            _add_keys(cursor, where, name, table.keys)


def migrate(cursor: Cursor, where: Namespace, tables: Mapping[Any, Table], clock: Clock) -> None:
    """Add the tables, columns and keys that the schema lacks; what is no longer declared stays, unseen.

    ConfigError when a column holds another type, or when rows that are there break a new key.
    """
    found = stored(cursor, where)
    wanted = declared(tables)
    for name, table in wanted.items():
        _require_same_types(name, found.get(name), table)
    create_tables(cursor, where, {name: table for name, table in wanted.items() if name not in found})
    for table_name, spec in tables.items():
        name = str(table_name)
        if name in found:
            missing = [each for each in wanted[name].columns if each not in found[name].columns]
            _add_columns(cursor, where, spec, missing, clock)
            _drop_keys(cursor, where, name, found[name].keys - wanted[name].keys)
            _add_keys(cursor, where, name, wanted[name].keys - found[name].keys)


def copy_tables(cursor: Cursor, source: Namespace, target: Namespace, tables: Mapping[str, Stored]) -> None:
    """Make the tables in ``target`` and fill them with all rows of ``source``; keys are built afterwards."""
    create_tables(cursor, target, tables, keys=False)
    for name, table in tables.items():
        columns = ", ".join(map(quote, [*source.lead, *table.columns]))
        origin = source.relation(name)
        run(cursor, f"INSERT INTO {target.relation(name)} ({columns}) SELECT {columns} FROM {origin}")  # noqa: S608  # quoted names only
        _add_keys(cursor, target, name, table.keys)


def fingerprint(cursor: Cursor, catalog: str) -> list[tuple[Any, ...]]:
    """Number and checksum of the rows of each table of the tenants; reads every byte of them."""
    relations = run(cursor, _RELATIONS, [catalog, OWN])
    found: list[tuple[Any, ...]] = []
    for start in range(0, len(relations), _AT_ONCE):
        parts = [
            f"SELECT '{schema}', '{table}', count(*), bit_xor(hash(r)), sum(hash(r)) "  # noqa: S608  # names of a plain alphabet, see quote
            f"FROM {quote(catalog)}.{quote(schema)}.{quote(table)} AS r"
            for schema, table in relations[start : start + _AT_ONCE]
        ]
        found += run(cursor, " UNION ALL ".join(parts))
    return sorted(found)


_RELATIONS: Final = "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = ? AND schema_name <> ?"
_AT_ONCE: Final = 50
"""Tables that one statement reads: binding each on its own costs more than reading it."""


def delete_tenant(cursor: Cursor, where: Namespace, tenant: str) -> None:
    """Delete the tenant's rows of every table of a shared schema."""
    for name in stored(cursor, where):
        run(cursor, f"DELETE FROM {where.relation(name)} WHERE {quote(TENANT)} = ?", [tenant])  # noqa: S608  # quoted names only


def _require_same_types(name: str, found: Stored | None, wanted: Stored) -> None:
    for column, kind in wanted.columns.items():
        has = kind if found is None else found.columns.get(column, kind)
        if has != kind:
            raise ConfigError(
                f"tables.yaml: {name}.{column} would be {kind} in the store, where it is {has}; "
                "declare the type that it had, or a new column"
            )


def _add_columns(cursor: Cursor, where: Namespace, table: Table, missing: Iterable[str], clock: Clock) -> None:
    for name in missing:
        default = default_of(table.columns[name], clock)  # type: ignore[index]  # one of the declared names
        relation = where.relation(table.name)
        run(cursor, "BEGIN TRANSACTION")
        try:
            run(cursor, f"ALTER TABLE {relation} ADD COLUMN {quote(name)} {DIALECT.columns(table)[name]}")
            if default is not None:
                run(cursor, f"UPDATE {relation} SET {quote(name)} = ?", [default])  # noqa: S608  # quoted names only
        except BaseException:
            run(cursor, "ROLLBACK")
            raise
        run(cursor, "COMMIT")


def _index(table: str, key: Key) -> str:
    # The name carries the key, and its parentheses keep it apart from every table's.
    for name in (table, *key):
        quote(name)
    return f'"{table}({",".join(key)})"'


def _add_keys(cursor: Cursor, where: Namespace, table: str, keys: Iterable[Key]) -> None:
    for key in keys:
        columns = ", ".join(map(quote, [*where.lead, *key]))
        try:
            run(cursor, f"CREATE UNIQUE INDEX {_index(table, key)} ON {where.relation(table)} ({columns})")
        except duckdb.ConstraintException:
            raise ConfigError(
                f"tables.yaml: {table} cannot have the unique key ({', '.join(key)}): rows that are there break it"
            ) from None


def _drop_keys(cursor: Cursor, where: Namespace, table: str, keys: Iterable[Key]) -> None:
    for key in keys:
        run(cursor, f"DROP INDEX {quote(where.catalog)}.{quote(where.schema)}.{_index(table, key)}")
