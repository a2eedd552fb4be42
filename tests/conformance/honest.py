"""An honest backend in memory, cut into small steps, so that a bad one changes one of them only."""

from __future__ import annotations

import pickle
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

from partywall.backend import (
    Aggregate,
    Backend,
    BackendSetup,
    BackendSpec,
    Capability,
    Count,
    Delete,
    Insert,
    Placement,
    Row,
    Scan,
    Session,
    Sql,
    Update,
    Write,
)
from partywall.conformance.suite.reference import aggregated, scanned
from partywall.errors import BackendError, ConfigError, ConstraintViolation, IsolationBreach
from partywall.isolation.arrow import table_of
from partywall.model import Strategy, Table
from partywall.names import Region, TenantId
from partywall.operators import matching

Key = tuple[str, str]
"""Whose row, and its id."""
Tables = dict[str, dict[Key, Row]]


class HonestSession(Session):
    """One tenant's; a transaction works on copies, which take their places at the commit."""

    def __init__(self, store: HonestBackend, place: str) -> None:
        self.store, self.place = store, place
        self.draft: dict[str, dict[Key, Row | None]] | None = None
        self.failed = False

    def begin(self, *, read_only: bool = False) -> None:
        if self.draft is not None:
            raise BackendError("a transaction is open already")
        self.draft, self.failed = {}, False

    def commit(self) -> None:
        draft, failed = self.draft, self.failed
        self.rollback()
        if draft is None or failed:
            raise BackendError("nothing can be committed; nothing was written")
        with self.store.lock:
            self.require_place()
            self.apply(draft)
            self.store.save()

    def rollback(self) -> None:
        self.draft, self.failed = None, False

    def close(self) -> None:
        self.rollback()

    def require_place(self) -> None:
        if self.place not in self.store.places:
            raise IsolationBreach("nothing of this tenant is here")

    def apply(self, changes: dict[str, dict[Key, Row | None]]) -> None:
        for table, rows in changes.items():
            for key, row in rows.items():
                self.store.put(table, key, row)

    def mine(self, table: Table) -> dict[Key, Row]:
        """What the tenant has, as this session sees it."""
        self.require_place()
        rows: dict[Key, Row | None] = {key: row for key, row in self.store.rows(table).items() if self.owns(key)}
        rows |= (self.draft or {}).get(table.name, {})
        return {key: row for key, row in rows.items() if row is not None}

    def owns(self, key: Key) -> bool:
        return key[0] == self.place

    def key(self, row_id: str) -> Key:
        return self.place, row_id

    def scan(self, statement: Scan) -> Sequence[Row]:
        with self.store.lock:
            return self.guarded(lambda: self.read(statement))

    def read(self, statement: Scan) -> list[Row]:
        self.store.require(statement.table)
        return [dict(row) for row in scanned(list(self.mine(statement.table).values()), statement)]

    def count(self, statement: Count) -> int:
        with self.store.lock:
            return len(matching(list(self.mine(statement.table).values()), statement.where))

    def aggregate(self, statement: Aggregate) -> Sequence[Row]:
        with self.store.lock:
            return aggregated(list(self.mine(statement.table).values()), statement)

    def arrow(self, statement: Scan) -> Any:
        return table_of(statement.table, self.scan(statement))

    def sql(self, statement: Sql) -> list[Row]:
        self.connection = sqlite3.connect(":memory:", check_same_thread=False)
        with closing(self.connection), self.store.lock:
            for table in self.store.setup.tables.values():
                self.copy(table)
            self.connection.set_authorizer(self.allowed)
            found = self.connection.execute(statement.text, tuple(statement.parameters))
            names = [column[0] for column in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in islice(found, statement.limit)]

    def shown(self, table: Table) -> list[Row]:
        """The rows that a statement of the tenant's own finds."""
        return list(self.mine(table).values())

    def copy(self, table: Table) -> None:
        columns = list(table.types)
        listed = ", ".join(["id PRIMARY KEY", *columns[1:]])
        self.connection.execute(f"CREATE TABLE {table.name} ({listed}) WITHOUT ROWID")
        marks = ", ".join("?" * len(columns))
        rows = [tuple(_storable(row[column]) for column in columns) for row in self.shown(table)]
        self.connection.executemany(f"INSERT INTO {table.name} VALUES ({marks})", rows)

    def allowed(self, action: int, first: str | None, second: str | None, *_: object) -> int:
        reads = action == sqlite3.SQLITE_READ and first in self.store.setup.tables
        fine = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE)
        calls = action == sqlite3.SQLITE_FUNCTION and second in ("max", "count")
        return sqlite3.SQLITE_OK if reads or calls or action in fine else sqlite3.SQLITE_DENY

    def write(self, statement: Write) -> int:
        with self.store.lock:
            return self.guarded(lambda: self.changed(statement))

    def guarded(self, work: Any) -> Any:
        if self.failed and self.draft is not None:
            raise BackendError("an earlier statement failed")
        try:
            return work()
        except BaseException:
            self.failed = True
            raise

    def changed(self, statement: Write) -> int:
        self.store.require(statement.table)
        changes = self.changes(statement)
        self.require_free(statement.table, changes)
        if self.draft is None:
            self.apply({statement.table.name: changes})
            self.store.save()
        else:
            self.draft.setdefault(statement.table.name, {}).update(changes)
        return len(changes)

    def changes(self, statement: Write) -> dict[Key, Row | None]:
        match statement:
            case Insert(table, rows):
                return self.inserted(table, rows)
            case Update(table, ids, changes):
                self.store.require_row(table, changes, whole=False)
                return {key: {**row, **changes} for key, row in self.named(table, ids).items()}
            case Delete(table, ids):
                return dict.fromkeys(self.named(table, ids))

    def inserted(self, table: Table, rows: Sequence[Row]) -> dict[Key, Row | None]:
        for row in rows:
            self.store.require_row(table, row, whole=True)
        there = self.mine(table)
        if len({row["id"] for row in rows}) != len(rows) or any(self.key(row["id"]) in there for row in rows):
            raise ConstraintViolation(f"{table.name}.id is already taken")
        return {self.key(row["id"]): dict(row) for row in rows}

    def named(self, table: Table, ids: Sequence[str]) -> dict[Key, Row]:
        there = self.mine(table)
        return {self.key(row_id): there[self.key(row_id)] for row_id in ids if self.key(row_id) in there}

    def require_free(self, table: Table, changes: dict[Key, Row | None]) -> None:
        after = {**self.mine(table), **changes}
        for key in table.unique:
            taken = [tuple(row[column] for column in key) for row in after.values() if row is not None]
            taken = [values for values in taken if None not in values]
            if len(set(taken)) != len(taken):
                raise ConstraintViolation(f"{table.name}.{', '.join(key)} is already taken")


def _storable(value: Any) -> Any:
    return str(value) if isinstance(value, date) else value


class HonestBackend(Backend):
    """The rows of all tenants in one set of tables, each under its tenant."""

    session_type = HonestSession
    durable = False

    def __init__(self, setup: BackendSetup) -> None:
        if setup.options:
            raise ConfigError("this backend has no options")
        self.setup = setup
        self.lock = threading.RLock()
        self.places: dict[str, TenantId] = {}
        self.tables: Tables = {}
        if self.durable:
            self.load()

    def provision(self, tenant_id: TenantId, region: Region | None) -> str:
        place = f"{tenant_id}@{region or ''}"
        with self.lock:
            if place not in self.places:
                self.places[place] = tenant_id
                self.save()
        return place

    def drop(self, placement: Placement) -> None:
        with self.lock:
            self.places.pop(placement.location, None)
            for rows in self.tables.values():
                for key in [key for key in rows if key[0] == placement.location]:
                    del rows[key]
            self.save()

    def stamp(self, placement: Placement) -> TenantId | None:
        return self.places.get(placement.location)

    def session(self, placement: Placement) -> Session:
        if self.stamp(placement) != placement.tenant_id:
            raise IsolationBreach("nothing of this tenant is here")
        return self.session_type(self, placement.location)

    def close(self) -> None:
        self.places = {}
        self.tables = {}

    def rows(self, table: Table) -> dict[Key, Row]:
        return self.tables.setdefault(table.name, {})

    def put(self, table: str, key: Key, row: Row | None) -> None:
        rows = self.tables.setdefault(table, {})
        if row is None:
            rows.pop(key, None)
        else:
            rows[key] = row

    def require(self, table: Table) -> None:
        if table.name not in self.setup.tables:
            raise BackendError("the table is not declared")

    @staticmethod
    def require_row(table: Table, row: Row, *, whole: bool) -> None:
        columns = {*table.types}
        if not row.keys() <= columns or (whole and row.keys() != columns):
            raise BackendError("a row has the declared columns")
        if any(type(value) is object for value in row.values()):
            raise BackendError("a value has a type that no column has")

    def file(self, region: Region | None) -> Path:
        path = self.setup.folder(region) / "rows"
        if path.is_symlink():
            raise BackendError("the store's file is a link")
        return path

    def save(self) -> None:
        for region in self.setup.every_region() if self.durable else ():
            here = f"@{region or ''}"
            places = {place: tenant for place, tenant in self.places.items() if place.endswith(here)}
            tables = {
                table: {key: row for key, row in rows.items() if key[0].endswith(here)}
                for table, rows in self.tables.items()
            }
            self.write_file(self.file(region), pickle.dumps((places, tables)))

    def write_file(self, path: Path, content: bytes) -> None:
        part = path.with_name("part")
        part.write_bytes(content)
        part.replace(path)

    def load(self) -> None:
        for region in self.setup.every_region():
            path = self.file(region)
            if path.exists():
                places, tables = pickle.loads(path.read_bytes())
                self.places |= places
                for table, rows in tables.items():
                    self.tables.setdefault(table, {}).update(rows)
        for table in self.setup.tables.values():
            for key, row in self.rows(table).items():
                self.tables[table.name][key] = {**dict.fromkeys(table.types), **row}


ALL = frozenset({Capability.FILTERS, Capability.AGGREGATES, Capability.KEYS, Capability.ARROW, Capability.SQL})


def announced(backend: type[HonestBackend], *, durable: bool = False) -> BackendSpec:
    capabilities = ALL | {Capability.DURABLE} if durable else ALL
    return BackendSpec("kit-example", Strategy.ROW, backend, capabilities)


class DurableBackend(HonestBackend):
    """The same in one file, written anew at every commit."""

    durable = True


HONEST = announced(HonestBackend)
DURABLE = announced(DurableBackend, durable=True)
