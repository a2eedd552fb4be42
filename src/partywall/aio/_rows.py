"""The awaitable twins of ``ScopedQuery``, ``Isolation``; written by tools/generate_aio.py."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from partywall.aggregates import Measure
from partywall.backend import Placement, Row
from partywall.isolation.arrow import ArrowData, ArrowTable
from partywall.isolation.isolation import Isolation
from partywall.isolation.moving import Batch, Move
from partywall.isolation.pending import PendingMove
from partywall.isolation.places import StoreProblem
from partywall.isolation.query import Page, ScopedQuery
from partywall.isolation.rawsql import Parameters
from partywall.model import Strategy
from partywall.workers import Workers

__all__ = ["AsyncIsolation", "AsyncScopedQuery"]


class AsyncScopedQuery:
    """The awaitable twin of ``ScopedQuery``."""

    def __init__(self, sync: ScopedQuery, workers: Workers) -> None:
        self._sync = sync
        self._workers = workers

    async def select(
        self,
        table: str,
        where: Mapping[str, Any] | None = None,
        *,
        order_by: str | Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[Row]:
        """The rows that match every entry of ``where``: a column and a value, or a comparison such as ``gt(3)``."""
        return await self._workers.run(self, self._sync.select, table, where, order_by=order_by, limit=limit)

    async def get(self, table: str, row_id: str) -> Row | None:
        """The tenant's row with this id, or None."""
        return await self._workers.run(self, self._sync.get, table, row_id)

    async def page(
        self,
        table: str,
        where: Mapping[str, Any] | None = None,
        *,
        order_by: str | Sequence[str] | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """The next ``limit`` rows after ``cursor``, which is what the page before returned; None begins."""
        return await self._workers.run(
            self, self._sync.page, table, where, order_by=order_by, limit=limit, cursor=cursor
        )

    async def count(self, table: str, where: Mapping[str, Any] | None = None) -> int:
        """The number of rows that match."""
        return await self._workers.run(self, self._sync.count, table, where)

    async def aggregate(
        self,
        table: str,
        measures: Mapping[str, Measure],
        *,
        where: Mapping[str, Any] | None = None,
        group_by: str | Sequence[str] = (),
    ) -> list[Row]:
        """Measures by result name, such as ``{"open": count(), "spent": sum_("budget")}``, one row for each group."""
        return await self._workers.run(self, self._sync.aggregate, table, measures, where=where, group_by=group_by)

    async def arrow(
        self,
        table: str,
        where: Mapping[str, Any] | None = None,
        *,
        order_by: str | Sequence[str] | None = None,
        limit: int | None = None,
    ) -> ArrowTable:
        """The rows that ``select`` would return, as a ``pyarrow.Table``; JSON documents are texts."""
        return await self._workers.run(self, self._sync.arrow, table, where, order_by=order_by, limit=limit)

    async def sql(self, text: str, params: Parameters | None = None, *, limit: int | None = None) -> list[Row]:
        """The rows of one SELECT over the tenant's own tables, in the words of the store below, and read-only."""
        return await self._workers.run(self, self._sync.sql, text, params, limit=limit)

    async def insert(self, table: str, data: Mapping[str, Any]) -> Row:
        """Add one row; returns it whole, with its id and defaults."""
        return await self._workers.run(self, self._sync.insert, table, data)

    async def insert_many(self, table: str, rows: Iterable[Mapping[str, Any]]) -> list[Row]:
        """Add all the rows or none; returns them whole."""
        return await self._workers.run(self, self._sync.insert_many, table, rows)

    async def insert_arrow(self, table: str, data: ArrowData) -> int:
        """Add all rows of a ``pyarrow`` Table, RecordBatch or RecordBatchReader, or none; returns how many."""
        return await self._workers.run(self, self._sync.insert_arrow, table, data)

    async def update(self, table: str, row_id: str, changes: Mapping[str, Any]) -> int:
        """Set columns of the tenant's row with this id; returns 1, or 0 when there is no such row."""
        return await self._workers.run(self, self._sync.update, table, row_id, changes)

    async def update_where(self, table: str, where: Mapping[str, Any], changes: Mapping[str, Any]) -> int:
        """Set columns of every row that matches; returns how many. ``{}`` matches every row of the tenant's."""
        return await self._workers.run(self, self._sync.update_where, table, where, changes)

    async def delete(self, table: str, row_id: str) -> int:
        """Remove the tenant's row with this id; returns 1, or 0 when there is no such row."""
        return await self._workers.run(self, self._sync.delete, table, row_id)

    async def delete_where(self, table: str, where: Mapping[str, Any]) -> int:
        """Remove every row that matches; returns how many. ``{}`` matches every row of the tenant's."""
        return await self._workers.run(self, self._sync.delete_where, table, where)

    async def upsert(self, table: str, data: Mapping[str, Any], *, key: str | Sequence[str] | None = None) -> Row:
        """Add the row, or change the one with the same key: ``id``, or a declared unique key."""
        return await self._workers.run(self, self._sync.upsert, table, data, key=key)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncScopedQuery]:
        """All that this handle does in the block is committed together at its end, or not at all.

        The transaction keeps one worker thread. An exception, or a cancelled await, rolls back.
        """
        async with self._workers.transaction(self, self._sync.tenant_id, self._sync.transaction):
            yield self


class AsyncIsolation:
    """The awaitable twin of ``Isolation``."""

    def __init__(self, sync: Isolation, workers: Workers) -> None:
        self._sync = sync
        self._workers = workers

    async def validate_access(self, tenant_id: str, table: str, row_id: str) -> bool:
        """Whether the row is the tenant's own; another tenant's and one that does not exist answer alike."""
        return await self._workers.run(self, self._sync.validate_access, tenant_id, table, row_id)

    async def placement(self, tenant_id: str) -> Placement | None:
        """Where the tenant's data lives; None before it is provisioned."""
        return await self._workers.run(self, self._sync.placement, tenant_id)

    async def move(self, tenant_id: str, *, to: Strategy | str | None = None, region: str | None = None) -> Move:
        """Move the tenant's data to another isolation strategy, region or both; told neither, where its file wishes."""
        return await self._workers.run(self, self._sync.move, tenant_id, to=to, region=region)

    async def move_pending(self) -> Batch:
        """Carry out every pending move; what failed changed nothing, is named, and can be tried again."""
        return await self._workers.run(
            self,
            self._sync.move_pending,
        )

    async def pending_moves(self) -> list[PendingMove]:
        """The tenants whose plan or file wishes for another strategy or region than their data has."""
        return await self._workers.run(
            self,
            self._sync.pending_moves,
        )

    async def check_stores(self) -> list[StoreProblem]:
        """What is wrong with the stores: each tenant's place is opened, and asked whose it is."""
        return await self._workers.run(
            self,
            self._sync.check_stores,
        )
