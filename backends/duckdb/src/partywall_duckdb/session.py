"""One tenant's conversation with the file that it is in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import duckdb

from partywall.backend import Aggregate, Count, Row, Scan, Session, Sql, Write
from partywall.errors import BackendError
from partywall.model import Table
from partywall.names import TenantId
from partywall.sql import Rendered
from partywall_duckdb.failures import failure, require_distinct_ids
from partywall_duckdb.gate import PATIENCE
from partywall_duckdb.hub import as_arrow, run, signalled
from partywall_duckdb.rawsql import answer
from partywall_duckdb.store import Store

__all__ = ["TenantSession"]


class TenantSession(Session):
    """A cursor of its own, and a tenant whose rows are all that its statements can name.

    DuckDB loses an update in silence when another transaction deletes the row meanwhile. The engine
    lets one writer work for a tenant at a time, and rows of other tenants are never touched.
    """

    def __init__(self, store: Store, tenant: TenantId, ended: Callable[[TenantSession], None]) -> None:
        self._statements = store.statements(tenant)
        self._store = store
        self._tenant = tenant
        self._ended = ended
        self._cursor = store.hub.cursor()
        self._writing: bool | None = None
        """Whether the open transaction may write; None outside one."""
        self._failed = False
        self._wrote: dict[str, Table] = {}
        self._interrupts = 0

    def begin(self, *, read_only: bool = False) -> None:
        """Start a transaction; it passes the gate for as long as it lasts."""
        if self._writing is not None:
            raise BackendError("a transaction is open already")
        self._enter(writing=not read_only)
        try:
            run(self._cursor, "BEGIN TRANSACTION READ ONLY" if read_only else "BEGIN TRANSACTION")
        except BaseException:
            self._store.gate.leave(writing=not read_only)
            raise
        self._writing, self._failed, self._wrote = not read_only, False, {}

    def commit(self) -> None:
        """Commit. DuckDB says OK to the COMMIT of a failed transaction and writes nothing, so failures are kept."""
        if self._writing is None:
            raise BackendError("no transaction is open")
        if self._failed:
            self.rollback()
            raise BackendError("a statement of the transaction failed; nothing was written")
        try:
            self._store.require(self._tenant)
            run(self._cursor, "COMMIT")
        except duckdb.Error as error:
            self._store.hub.note(error)
            raise failure(error, self._wrote.values()) from None
        else:
            self._left()
        finally:
            self.rollback()

    def rollback(self) -> None:
        """Undo the open transaction, if any."""
        if self._writing is None:
            return
        try:
            # After a COMMIT that failed there is nothing left to roll back, and DuckDB says so.
            with suppress(duckdb.TransactionException):
                run(self._cursor, "ROLLBACK")
        finally:
            self._left()

    def scan(self, statement: Scan) -> Sequence[Row]:
        """The matching rows."""
        rendered = self._noted(lambda: self._statements.scan(statement, self._tenant))
        return self._statements.rows(statement.table, self._run(rendered, statement.table, writing=False))

    def arrow(self, statement: Scan) -> Any:
        """The matching rows as an Arrow table; moments have no time zone, and are in UTC."""
        rendered = self._noted(lambda: self._statements.scan(statement, self._tenant))
        return self._run(rendered, statement.table, writing=False, fetch=as_arrow)

    def count(self, statement: Count) -> int:
        """The number of matching rows."""
        rendered = self._noted(lambda: self._statements.count(statement, self._tenant))
        return int(self._run(rendered, statement.table, writing=False)[0][0])

    def aggregate(self, statement: Aggregate) -> Sequence[Row]:
        """One row for each group of the matching rows."""
        rendered = self._noted(lambda: self._statements.aggregate(statement, self._tenant))
        return self._statements.groups(statement, self._run(rendered, statement.table, writing=False))

    def write(self, statement: Write) -> int:
        """Carry out a write. It is one statement, however many rows it has, and so it is all or none."""
        rendered = self._noted(lambda: self._rendered(statement))
        self._wrote[statement.table.name] = statement.table
        return sum(int(self._run(each, statement.table, writing=True)[0][0]) for each in rendered)

    def sql(self, statement: Sql) -> Sequence[Row]:
        """The rows of one statement of the tenant's own, in a read-only transaction of its own."""
        if self._writing is not None:
            raise BackendError("a statement of the tenant's own runs outside of transactions")
        tables = {str(table.name): (table, self._statements.relation(table)) for table in self._store.tables}
        self._enter(writing=False)
        try:
            self._store.require(self._tenant)
            return answer(self._cursor, tables, statement)
        except duckdb.Error as error:
            self._store.hub.note(error)
            raise failure(error, []) from None
        except RuntimeError as error:
            raise signalled(error) from None
        finally:
            self._store.gate.leave(writing=False)

    def interrupt(self) -> None:
        """Stop the running statement; an open transaction has then failed."""
        self._interrupts += 1
        self._store.gate.wake()
        with suppress(duckdb.Error):
            self._cursor.interrupt()

    def close(self) -> None:
        """Roll back and give the cursor back."""
        with suppress(duckdb.Error):
            self.rollback()
        with suppress(duckdb.Error):
            self._cursor.close()
        self._ended(self)

    def _rendered(self, statement: Write) -> list[Rendered]:
        require_distinct_ids(statement)
        return self._statements.write(statement, self._tenant)

    def _noted(self, work: Callable[[], Any]) -> Any:
        """Do something that belongs to a statement: if it fails, so has the transaction."""
        if self._failed and self._writing is not None:
            raise BackendError("an earlier statement of the transaction failed; roll back")
        try:
            return work()
        except BaseException:
            self._failed = True
            raise

    def _run(self, rendered: Rendered, table: Table, *, writing: bool, fetch: Callable[..., Any] = run) -> Any:
        if self._writing is not None:
            return self._noted(lambda: self._fetched(rendered, table, fetch))
        self._enter(writing=writing)
        try:
            return self._fetched(rendered, table, fetch)
        finally:
            self._store.gate.leave(writing=writing)

    def _enter(self, *, writing: bool) -> None:
        before = self._interrupts
        self._store.gate.enter(writing=writing, patience=PATIENCE, given_up=lambda: self._interrupts != before)

    def _fetched(self, rendered: Rendered, table: Table, fetch: Callable[..., Any]) -> Any:
        self._store.require(self._tenant)
        try:
            return fetch(self._cursor, self._store.hub.statement(rendered.text), rendered.parameters)
        except duckdb.Error as error:
            self._store.hub.note(error)
            raise failure(error, [table]) from None

    def _left(self) -> None:
        writing, self._writing, self._failed = self._writing, None, False
        self._store.gate.leave(writing=bool(writing))
