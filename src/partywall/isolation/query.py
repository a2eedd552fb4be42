"""The scoped query: the one interface to a tenant's rows, the same on every backend."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from partywall.aggregates import Measure
from partywall.backend import Count, Row, Scan, Session
from partywall.errors import QueryError
from partywall.isolation.arrow import ArrowData, ArrowTable, pyarrow, rows_of
from partywall.isolation.cursors import Cursors
from partywall.isolation.execution import Execution
from partywall.isolation.rawsql import Parameters, RawSql
from partywall.isolation.scope import Scope, Unit, unit_of
from partywall.isolation.statements import Guard
from partywall.model import ColumnType, Table
from partywall.names import TenantId, parse_row_id
from partywall.operators import Condition

__all__ = ["Page", "ScopedQuery"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows, and where to read on."""

    rows: list[Row]
    cursor: str | None
    """What the next page takes; None at the end."""


_open: ContextVar[tuple[tuple[ScopedQuery, Unit], ...]] = ContextVar("partywall_transactions", default=())


class ScopedQuery:
    """A handle that reaches the rows of one tenant and of nobody else; made by ``engine.query``.

    The handle is bound to its tenant for life, whatever the tenant context is when it is used, and every
    method raises TenantSuspended, TenantDeleted, TenantPending or TenantNotFound when the tenant is not in
    service. Threads may share it. Rows are dicts by column name. QueryError: unknown table or column,
    wrong type, a foreign tenant id; ConstraintViolation: a key or a reference of the tenant's own.
    """

    def __init__(
        self,
        tenant_id: TenantId,
        guard: Guard,
        cursors: Cursors,
        raw: RawSql,
        scope: Callable[[], Scope],
        *,
        timeout: float,
    ) -> None:
        self._tenant_id = tenant_id
        self._guard = guard
        self._cursors = cursors
        self._raw = raw
        self._scope = scope
        self._timeout = timeout

    @property
    def tenant_id(self) -> TenantId:
        """The tenant whose rows this handle reaches."""
        return self._tenant_id

    def select(
        self,
        table: str,
        where: Mapping[str, Any] | None = None,
        *,
        order_by: str | Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[Row]:
        """The rows that match every entry of ``where``: a column and a value, or a comparison such as ``gt(3)``.

        ``order_by`` takes column names, with a leading ``-`` to descend; rows that tie come by id. More rows than
        engine.yaml's ``max_rows`` are a QueryError: ask for a limit, or for pages.
        """
        scan = self._bounded(table, where, order_by, limit)
        rows = self._read(lambda session, execution: execution.select(session, scan))
        self._require_few(len(rows))
        return _decoded(scan.table, rows)

    def arrow(
        self,
        table: str,
        where: Mapping[str, Any] | None = None,
        *,
        order_by: str | Sequence[str] | None = None,
        limit: int | None = None,
    ) -> ArrowTable:
        """The rows that ``select`` would return, as a ``pyarrow.Table``; JSON documents are texts.

        ConfigError where pyarrow is not installed: it comes with ``partywall[arrow]``.
        """
        pyarrow()
        scan = self._bounded(table, where, order_by, limit)
        found = self._read(lambda session, execution: execution.arrow(session, scan))
        self._require_few(found.num_rows)
        return found

    def page(
        self,
        table: str,
        where: Mapping[str, Any] | None = None,
        *,
        order_by: str | Sequence[str] | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """The next ``limit`` rows after ``cursor``, which is what the page before returned; None begins.

        Rows that come or go meanwhile are seen or not by where they sort; no row is seen twice. A cursor of
        another tenant, table, ``where`` or ``order_by`` is a QueryError.
        """
        checked = self._guard.table(table)
        scan = self._guard.scan(self._tenant_id, checked, where, order_by, limit)
        after = None if cursor is None else self._cursors.opened(self._tenant_id, scan, cursor)
        wanted = replace(scan, after=after, limit=limit + 1)
        rows = self._read(lambda session, execution: execution.select(session, wanted))
        more = self._cursors.after(self._tenant_id, scan, rows[limit - 1]) if len(rows) > limit > 0 else None
        return Page(_decoded(checked, rows[:limit]), more)

    def aggregate(
        self,
        table: str,
        measures: Mapping[str, Measure],
        *,
        where: Mapping[str, Any] | None = None,
        group_by: str | Sequence[str] = (),
    ) -> list[Row]:
        """Measures by result name, such as ``{"open": count(), "spent": sum_("budget")}``, one row for each group.

        The functions are those of ``partywall.aggregates``. Without ``group_by`` there is exactly one row.
        """
        checked = self._guard.table(table)
        wanted = self._guard.aggregate(self._tenant_id, checked, measures, where, group_by)
        return [dict(row) for row in self._read(lambda session, execution: execution.aggregate(session, wanted))]

    def get(self, table: str, row_id: str) -> Row | None:
        """The tenant's row with this id, or None."""
        rows = self.select(table, {"id": parse_row_id(row_id)}, limit=1)
        return rows[0] if rows else None

    def count(self, table: str, where: Mapping[str, Any] | None = None) -> int:
        """The number of rows that match."""
        checked = self._guard.table(table)
        count = Count(checked, self._guard.where(self._tenant_id, checked, where))
        return self._read(lambda session, execution: execution.count(session, count))

    def sql(self, text: str, params: Parameters | None = None, *, limit: int | None = None) -> list[Row]:
        """The rows of one SELECT over the tenant's own tables, in the words of the store below, and read-only.

        ``params`` are the values of ``?`` or ``$name``; moments are UTC, JSON documents are texts. PermissionDenied
        where engine.yaml's tier refuses raw SQL; QueryError for what a statement may not say, for more rows than
        ``limit`` (or engine.yaml's ``max_rows``), for more time than ``sql.timeout_seconds``, and inside of
        ``transaction()``: the statement has a transaction of its own.
        """
        if self._unit() is not None:
            raise QueryError("sql() reads in a transaction of its own; use it outside of transaction()")
        return self._raw.run(self._scope, text, params, limit)

    def insert(self, table: str, data: Mapping[str, Any]) -> Row:
        """Add one row; returns it whole, with its id and defaults."""
        return self.insert_many(table, [data])[0]

    def insert_many(self, table: str, rows: Iterable[Mapping[str, Any]]) -> list[Row]:
        """Add all the rows or none; returns them whole."""
        checked = self._guard.table(table)
        complete = self._guard.new_rows(self._tenant_id, checked, rows)
        if complete:
            self._write(
                lambda session, execution: execution.insert(session, checked, complete),
                several=lambda execution: execution.needs_transaction(checked),
            )
        return _decoded(checked, complete)

    def insert_arrow(self, table: str, data: ArrowData) -> int:
        """Add all rows of a ``pyarrow`` Table, RecordBatch or RecordBatchReader, or none; returns how many.

        Each value is checked as ``insert`` checks it. In a JSON column texts are documents, and structs and lists
        become documents. A row may refer to rows before it.
        """
        checked = self._guard.table(table)
        pyarrow()

        def work(session: Session, execution: Execution) -> int:
            written = 0
            for rows in rows_of(checked, data):
                complete = self._guard.new_rows(self._tenant_id, checked, rows)
                execution.insert(session, checked, complete)
                written += len(complete)
            return written

        return self._write(work, several=_always)

    def update(self, table: str, row_id: str, changes: Mapping[str, Any]) -> int:
        """Set columns of the tenant's row with this id; returns 1, or 0 when there is no such row."""
        checked = self._guard.table(table)
        known = parse_row_id(row_id)
        wanted = self._guard.changes(self._tenant_id, checked, changes)
        return self._write(
            lambda session, execution: execution.update(session, checked, (known,), wanted),
            several=lambda execution: execution.needs_transaction(checked),
        )

    def delete(self, table: str, row_id: str) -> int:
        """Remove the tenant's row with this id; returns 1, or 0 when there is no such row."""
        checked = self._guard.table(table)
        known = parse_row_id(row_id)
        return self._write(
            lambda session, execution: execution.delete(session, checked, (known,)),
            several=lambda execution: execution.needs_transaction(checked, deletes=True),
        )

    def update_where(self, table: str, where: Mapping[str, Any], changes: Mapping[str, Any]) -> int:
        """Set columns of every row that matches; returns how many. ``{}`` matches every row of the tenant's."""
        checked = self._guard.table(table)
        conditions = self._conditions(checked, where)
        wanted = self._guard.changes(self._tenant_id, checked, changes)

        def work(session: Session, execution: Execution) -> int:
            return execution.update(session, checked, execution.ids(session, checked, conditions), wanted)

        return self._write(work, several=_always)

    def delete_where(self, table: str, where: Mapping[str, Any]) -> int:
        """Remove every row that matches; returns how many. ``{}`` matches every row of the tenant's."""
        checked = self._guard.table(table)
        conditions = self._conditions(checked, where)

        def work(session: Session, execution: Execution) -> int:
            return execution.delete(session, checked, execution.ids(session, checked, conditions))

        return self._write(work, several=_always)

    def upsert(self, table: str, data: Mapping[str, Any], *, key: str | Sequence[str] | None = None) -> Row:
        """Add the row, or change the one with the same key: ``id``, or a declared unique key.

        A change touches only the columns that ``data`` names. Returns the row as it is afterwards.
        """
        checked = self._guard.table(table)
        columns = self._guard.key(checked, key)
        row = self._guard.new_row(self._tenant_id, checked, data)
        given = {name: row[name] for name in data if name in row}
        result = self._write(
            lambda session, execution: execution.upsert(session, checked, row, given, columns), several=_always
        )
        return _decoded(checked, [result])[0]

    @contextmanager
    def transaction(self) -> Iterator[ScopedQuery]:
        """All that this handle does in the block, in this thread, is committed together at its end, or not at all.

        An exception rolls back. So does a statement that failed, even if its error is caught: the end of the
        block then raises BackendError. Transactions do not nest.
        """
        if self._unit() is not None:
            raise QueryError("this handle is in a transaction already; transactions do not nest")
        with unit_of(self._scope, writes=True, transactional=_yes, timeout=self._timeout) as (_, unit):
            before = _open.get()
            _open.set((*before, (self, unit)))
            try:
                yield self
            finally:
                _open.set(before)

    def _bounded(
        self, table: str, where: Mapping[str, Any] | None, order_by: str | Sequence[str] | None, limit: int | None
    ) -> Scan:
        scan = self._guard.scan(self._tenant_id, self._guard.table(table), where, order_by, limit)
        return scan if limit is not None else replace(scan, limit=self._guard.max_rows + 1)

    def _require_few(self, rows: int) -> None:
        if rows > self._guard.max_rows:
            raise QueryError(f"more than {self._guard.max_rows:,} rows match; ask for a limit, or use page()")

    def _conditions(self, table: Table, where: Mapping[str, Any]) -> tuple[Condition, ...]:
        if where is None:
            raise QueryError("where says which rows; write {} to mean every row of the tenant's")
        return self._guard.where(self._tenant_id, table, where)

    def _unit(self) -> Unit | None:
        for query, unit in reversed(_open.get()):
            if query is self:
                return None if unit.over else unit
        return None

    def _read(self, work: Callable[[Session, Execution], T]) -> T:
        return self._run(work, writes=False, several=_never)

    def _write(self, work: Callable[[Session, Execution], T], *, several: Callable[[Execution], bool]) -> T:
        return self._run(work, writes=True, several=several)

    def _run(self, work: Callable[[Session, Execution], T], *, writes: bool, several: Callable[[Execution], bool]) -> T:
        open_unit = self._unit()
        if open_unit is not None:
            return _carried_out(open_unit, Execution(self._guard, self._scope()), work)

        def transactional(scope: Scope) -> bool:
            return several(Execution(self._guard, scope))

        with unit_of(self._scope, writes=writes, transactional=transactional, timeout=self._timeout) as (scope, unit):
            return _carried_out(unit, Execution(self._guard, scope), work)

    def __repr__(self) -> str:
        return f"<ScopedQuery of {self._tenant_id}>"


def _carried_out(unit: Unit, execution: Execution, work: Callable[[Session, Execution], T]) -> T:
    execution.rows = unit.rows
    return unit.run(lambda session: work(session, execution))


def _yes(_scope: Scope) -> bool:
    return True


def _always(_execution: Execution) -> bool:
    return True


def _never(_execution: Execution) -> bool:
    return False


def _decoded(table: Table, rows: Iterable[Row]) -> list[Row]:
    """Rows as callers see them: JSON documents are read, the rest is as it was."""
    documents = [name for name, column in table.columns.items() if column.type is ColumnType.JSON]
    decoded = [dict(row) for row in rows]
    for row in decoded:
        for name in documents:
            if row[name] is not None:
                row[name] = json.loads(row[name])
    return decoded
