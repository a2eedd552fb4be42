"""What stands inside one file, beside what every file has: tables that tenants share, or a schema for each."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import lru_cache
from typing import Final

from partywall.backend import BackendSetup
from partywall.errors import IsolationBreach
from partywall.names import TenantId
from partywall.sql import Statements, quote
from partywall_duckdb.dialect import DIALECT
from partywall_duckdb.gate import PATIENCE, Gate
from partywall_duckdb.hub import Cursor, run
from partywall_duckdb.tables import (
    OWN,
    ROWS,
    TENANT,
    TENANT_TYPE,
    Namespace,
    Stored,
    copy_tables,
    create_tables,
    declared,
    delete_tenant,
    migrate,
    stored,
    stored_by_schema,
    version,
)

__all__ = ["Contents", "Schemas", "SharedTables"]

_PREFIX: Final = "t_"
"""How the name of a tenant's schema begins: no file is attached under such a name, and neither is ``main``."""
_STAMP: Final = f"{quote(TENANT)}, version"
_AT_ONCE: Final = 16
"""Schemas that are copied in one transaction."""
_READY: Final = 1024
"""Tenants of one file whose statements are kept; another one's schema is looked at again."""


class Contents(ABC):
    """The tables of a file's tenants. ``catalog`` is the name under which the file is attached."""

    def __init__(self, catalog: str, setup: BackendSetup) -> None:
        self.catalog = catalog
        self._setup = setup

    def create(self, cursor: Cursor, catalog: str) -> None:  # noqa: B027  # optional: a schema comes with its tenant
        """Fill a new file that has no tenants yet."""

    def update(self, cursor: Cursor) -> None:  # noqa: B027  # optional, as above
        """Bring a file that was just attached up to date; ConfigError when it does not fit tables.yaml."""

    def admit(self, cursor: Cursor, tenant: TenantId) -> None:  # noqa: B027  # optional: rows need no room made
        """Make room for a tenant, as part of a transaction."""

    @abstractmethod
    def statements(self, tenant: TenantId) -> Statements:
        """What renders the tenant's statements."""

    @abstractmethod
    def forget(self, cursor: Cursor, tenant: TenantId) -> None:
        """Delete everything of the tenant's, as part of a transaction."""

    @abstractmethod
    def copy(self, cursor: Cursor, target: str, tenants: frozenset[str]) -> None:
        """Fill a new file with everything of these tenants, who are all that there are."""


class SharedTables(Contents):
    """Rows of many tenants in the same tables."""

    def __init__(self, catalog: str, setup: BackendSetup) -> None:
        super().__init__(catalog, setup)
        self._where = self._in(catalog)
        self._statements = Statements(DIALECT, setup.tables, within=(catalog, ROWS), scope=TENANT)

    def create(self, cursor: Cursor, catalog: str) -> None:
        """Make the tables."""
        self._in(catalog).create(cursor)
        create_tables(cursor, self._in(catalog), declared(self._setup.tables))

    def update(self, cursor: Cursor) -> None:
        """Add the tables, columns and keys that were declared since."""
        migrate(cursor, self._where, self._setup.tables, self._setup.clock)

    def statements(self, tenant: TenantId) -> Statements:  # noqa: ARG002  # as the contents ask
        """The same for all: each carries its tenant."""
        return self._statements

    def forget(self, cursor: Cursor, tenant: TenantId) -> None:
        """Delete the tenant's rows."""
        delete_tenant(cursor, self._where, tenant)

    def copy(self, cursor: Cursor, target: str, tenants: frozenset[str]) -> None:  # noqa: ARG002  # as above
        """Copy the tables whole: the rows that they hold are those of the tenants."""
        self._in(target).create(cursor)
        copy_tables(cursor, self._where, self._in(target), stored(cursor, self._where))

    def _in(self, catalog: str) -> Namespace:
        return Namespace(catalog, ROWS, shared=True)


class Schemas(Contents):
    """A schema for each tenant, with a stamp that says whose it is and which declared tables it was made for."""

    def __init__(self, catalog: str, setup: BackendSetup, gate: Gate, cursor: Callable[[], Cursor]) -> None:
        super().__init__(catalog, setup)
        self._gate = gate
        self._cursor = cursor
        self._version = version(setup.tables)
        self._migrating = threading.Lock()
        self._ready = lru_cache(_READY)(self._prepared)

    def update(self, cursor: Cursor) -> None:  # noqa: ARG002  # as above
        """Look at each schema again when its tenant comes next: a file with many of them opens at once."""
        self._ready.cache_clear()

    def admit(self, cursor: Cursor, tenant: TenantId) -> None:
        """Make the tenant's schema."""
        where = self._in(self.catalog, tenant)
        where.create(cursor)
        self._make_stamp(cursor, where, tenant, self._version)
        create_tables(cursor, where, declared(self._setup.tables))

    def statements(self, tenant: TenantId) -> Statements:
        """Those of the tenant's own schema, once its stamp was checked and its tables are as declared.

        IsolationBreach for a schema that is stamped for someone else; ConfigError when it does not fit tables.yaml.
        """
        return self._ready(tenant)

    def forget(self, cursor: Cursor, tenant: TenantId) -> None:
        """Drop the tenant's schema."""
        where = self._in(self.catalog, tenant)
        run(cursor, f"DROP SCHEMA IF EXISTS {quote(where.catalog)}.{quote(where.schema)} CASCADE")
        self._ready.cache_clear()

    def copy(self, cursor: Cursor, target: str, tenants: frozenset[str]) -> None:
        """Copy a few schemas at a time: one transaction for all of them would take time by the square."""
        tables = stored_by_schema(cursor, self.catalog)
        listed = sorted(tenants)
        for start in range(0, len(listed), _AT_ONCE):
            run(cursor, "BEGIN TRANSACTION")
            for tenant in listed[start : start + _AT_ONCE]:
                source = self._in(self.catalog, tenant)
                self._copy_one(cursor, source, self._in(target, tenant), tables.get(source.schema, {}))
            run(cursor, "COMMIT")

    def _copy_one(self, cursor: Cursor, source: Namespace, target: Namespace, tables: Mapping[str, Stored]) -> None:
        ((owner, found),) = run(cursor, f"SELECT {_STAMP} FROM {source.relation(OWN)}")  # noqa: S608  # quoted names only
        target.create(cursor)
        self._make_stamp(cursor, target, owner, found)
        copy_tables(cursor, source, target, tables)

    def _prepared(self, tenant: TenantId) -> Statements:
        where = self._in(self.catalog, tenant)
        self._gate.enter(writing=False, patience=PATIENCE)
        try:
            found = self._stamped(where, tenant)
        finally:
            self._gate.leave(writing=False)
        if found != self._version:
            self._migrate(where, tenant)
        return Statements(DIALECT, self._setup.tables, within=(where.catalog, where.schema))

    def _migrate(self, where: Namespace, tenant: TenantId) -> None:
        self._gate.enter(writing=True, patience=PATIENCE)
        try:
            with self._migrating, closing(self._cursor()) as cursor:
                if self._stamped(where, tenant) != self._version:
                    migrate(cursor, where, self._setup.tables, self._setup.clock)
                    run(cursor, f"UPDATE {where.relation(OWN)} SET version = ?", [self._version])  # noqa: S608  # quoted names only
        finally:
            self._gate.leave(writing=True)

    def _stamped(self, where: Namespace, tenant: TenantId) -> str:
        with closing(self._cursor()) as cursor:
            stamps = run(cursor, f"SELECT {_STAMP} FROM {where.relation(OWN)}")  # noqa: S608  # quoted names only
        if [owner for owner, _ in stamps] != [tenant]:
            raise IsolationBreach("the place that was named holds nothing of this tenant")
        return str(stamps[0][1])

    def _make_stamp(self, cursor: Cursor, where: Namespace, tenant: str, found: str) -> None:
        run(cursor, f"CREATE TABLE {where.relation(OWN)} ({quote(TENANT)} {TENANT_TYPE}, version VARCHAR)")
        run(cursor, f"INSERT INTO {where.relation(OWN)} VALUES (?, ?)", [tenant, found])  # noqa: S608  # quoted names only

    def _in(self, catalog: str, tenant: str) -> Namespace:
        return Namespace(catalog, f"{_PREFIX}{tenant}")
