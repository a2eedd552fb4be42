"""The engine for async code: what can block, awaited, under the same names and arguments.

Written by tools/generate_aio.py from the rooms' own signatures; change those and run ``make format``.
What is in memory (limiter, features, snapshot, tenant context) is called on the engine itself.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from partywall.agents.agent import Agent
from partywall.agents.agents import Agents, Work
from partywall.agents.ladder import StopReport
from partywall.aggregates import Measure
from partywall.audit.log import AuditLog
from partywall.backend import Placement, Row
from partywall.isolation.isolation import Isolation, PendingMove
from partywall.isolation.query import Page, ScopedQuery
from partywall.ledger import AuditRecord
from partywall.model import Owner, Settings, Status, Strategy, Tenant
from partywall.names import TenantId
from partywall.quotas.history import PeriodTotal, UsageDifference
from partywall.quotas.quotas import Quotas
from partywall.quotas.report import QuotaReport
from partywall.quotas.reservation import Reservation, Settlement
from partywall.quotas.usage import Usage
from partywall.tenants.tenants import Suspension, Tenants
from partywall.workers import Entering, Workers

if TYPE_CHECKING:
    from partywall.engine import Engine

__all__ = [
    "AsyncAgents",
    "AsyncAuditLog",
    "AsyncEngine",
    "AsyncIsolation",
    "AsyncQuotas",
    "AsyncReservation",
    "AsyncScopedQuery",
    "AsyncTenants",
    "AsyncUsage",
]


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

    async def insert(self, table: str, data: Mapping[str, Any]) -> Row:
        """Add one row; returns it whole, with its id and defaults."""
        return await self._workers.run(self, self._sync.insert, table, data)

    async def insert_many(self, table: str, rows: Iterable[Mapping[str, Any]]) -> list[Row]:
        """Add all the rows or none; returns them whole."""
        return await self._workers.run(self, self._sync.insert_many, table, rows)

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


class AsyncTenants:
    """The awaitable twin of ``Tenants``."""

    def __init__(self, sync: Tenants, workers: Workers) -> None:
        self._sync = sync
        self._workers = workers

    async def create(
        self,
        *,
        name: str,
        slug: str,
        plan: str,
        owner: Owner | Mapping[str, Any],
        status: Status | str = Status.ACTIVE,
        settings: Settings | Mapping[str, Any] | None = None,
        quotas: Mapping[str, Any] | None = None,
        billing: Mapping[str, Any] | None = None,
        isolation: Strategy | str | None = None,
        rate_limits: Mapping[str, Any] | None = None,
        domains: Sequence[str] = (),
    ) -> Tenant:
        """Make a tenant: its file, its place in a store, its records. All of it or nothing."""
        return await self._workers.run(
            self,
            self._sync.create,
            name=name,
            slug=slug,
            plan=plan,
            owner=owner,
            status=status,
            settings=settings,
            quotas=quotas,
            billing=billing,
            isolation=isolation,
            rate_limits=rate_limits,
            domains=domains,
        )

    async def update_settings(self, tenant_id: str, settings: Mapping[str, Any]) -> Tenant:
        """Set the named settings and leave the others; None removes one."""
        return await self._workers.run(self, self._sync.update_settings, tenant_id, settings)

    async def change_plan(self, tenant_id: str, plan: str) -> Tenant:
        """Put the tenant on another plan; its limits and features change at once, its data stays where it is."""
        return await self._workers.run(self, self._sync.change_plan, tenant_id, plan)

    async def rename(self, tenant_id: str, *, name: str | None = None, slug: str | None = None) -> Tenant:
        """Give the tenant another name, slug or both; its id, and all that is stored under it, stays."""
        return await self._workers.run(self, self._sync.rename, tenant_id, name=name, slug=slug)

    async def suspend(self, tenant_id: str, *, reason: str) -> Suspension:
        """Take the tenant out of service: refused at once, agents stopped, transactions rolled back."""
        return await self._workers.run(self, self._sync.suspend, tenant_id, reason=reason)

    async def resume(self, tenant_id: str) -> Tenant:
        """Put a suspended or pending tenant in service: lifts what was imposed, then what its file says."""
        return await self._workers.run(self, self._sync.resume, tenant_id)

    async def delete(self, tenant_id: str) -> Suspension:
        """Delete the tenant softly: out of service at once, its data kept until ``tenant.purge_at``."""
        return await self._workers.run(self, self._sync.delete, tenant_id)

    async def restore(self, tenant_id: str) -> Tenant:
        """Undo a deletion before the purge; the tenant is as it was, suspended if it was suspended."""
        return await self._workers.run(self, self._sync.restore, tenant_id)

    async def purge(self, tenant_id: str, *, before_due: bool = False) -> None:
        """Destroy all that is left of a deleted tenant, down to its bytes on disk; only audit records remain."""
        return await self._workers.run(self, self._sync.purge, tenant_id, before_due=before_due)

    async def purge_due(self) -> Sequence[TenantId]:
        """Purge every deleted tenant whose retention is over, and those whose purge was begun; returns their ids."""
        return await self._workers.run(
            self,
            self._sync.purge_due,
        )


class AsyncQuotas:
    """The awaitable twin of ``Quotas``."""

    def __init__(self, sync: Quotas, workers: Workers) -> None:
        self._sync = sync
        self._workers = workers

    async def check(self, tenant_id: str) -> QuotaReport:
        """Where the tenant stands against each of its quotas; refused for a tenant that is not in service."""
        return await self._workers.run(self, self._sync.check, tenant_id)

    async def consume(self, tenant_id: str, *, idempotency_key: str | None = None, **amounts: int) -> QuotaReport:
        """Count amounts of several quotas, such as ``tokens=800, projects=1``: all of them or none."""
        return await self._workers.run(self, self._sync.consume, tenant_id, idempotency_key=idempotency_key, **amounts)

    def reserve(
        self, tenant_id: str, *, lease: float = 300.0, idempotency_key: str | None = None, **amounts: int
    ) -> Entering[AsyncReservation]:
        """Hold amounts of several quotas, such as ``tokens=8_000``: all of them or none.

        Awaited for the handle, or entered at once: ``async with engine.aio.quotas.reserve(...) as held``.
        """
        held = partial(self._sync.reserve, tenant_id, lease=lease, idempotency_key=idempotency_key, **amounts)

        async def make() -> AsyncReservation:
            return AsyncReservation(await self._workers.make(self, held), self._workers)

        return Entering(make)


class AsyncReservation:
    """The awaitable twin of ``Reservation``."""

    def __init__(self, sync: Reservation, workers: Workers) -> None:
        self._sync = sync
        self._workers = workers

    async def commit(self, **actual: int) -> Settlement:
        """Count what was used in the end, such as ``tokens=6_312``; a metric that is not named as reserved."""
        return await self._workers.run(self, self._sync.commit, **actual)

    async def release(self) -> None:
        """Give all of it back; no error when that was done before."""
        return await self._workers.run(
            self,
            self._sync.release,
        )

    async def extend(self, lease: float = 300.0) -> None:
        """Let the lease end so many seconds from now."""
        return await self._workers.run(self, self._sync.extend, lease)

    @property
    def id(self) -> str:
        """``res_`` and 32 hexadecimal digits."""
        return self._sync.id

    @property
    def tenant_id(self) -> TenantId:
        """Whose quotas are held."""
        return self._sync.tenant_id

    @property
    def amounts(self) -> Mapping[str, int]:
        """What is held, by metric."""
        return self._sync.amounts

    async def __aenter__(self) -> AsyncReservation:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._workers.finish(self, self._sync.__exit__)


class AsyncUsage:
    """The awaitable twin of ``Usage``."""

    def __init__(self, sync: Usage, workers: Workers) -> None:
        self._sync = sync
        self._workers = workers

    async def increment(
        self,
        tenant_id: str,
        metric: str,
        amount: int = 1,
        *,
        idempotency_key: str | None = None,
        at: datetime | None = None,
        reason: str | None = None,
    ) -> int:
        """Count what happened and return the new total; a negative amount gives back."""
        return await self._workers.run(
            self, self._sync.increment, tenant_id, metric, amount, idempotency_key=idempotency_key, at=at, reason=reason
        )

    async def totals(self, tenant_id: str, period: str | None = None) -> Mapping[str, int]:
        """All five metrics: tokens of the current calendar month in UTC or the named one, the others as they are."""
        return await self._workers.run(self, self._sync.totals, tenant_id, period)

    async def reserved(self, tenant_id: str, period: str | None = None) -> Mapping[str, int]:
        """What reservations hold beside the totals, of every counted metric; as ``totals``."""
        return await self._workers.run(self, self._sync.reserved, tenant_id, period)

    async def history(self, tenant_id: str, metric: str | None = None) -> list[PeriodTotal]:
        """Period, metric and total of each month in which something was counted, oldest first; as ``totals``."""
        return await self._workers.run(self, self._sync.history, tenant_id, metric)

    async def verify(self, tenant_id: str | None = None) -> Sequence[UsageDifference]:
        """Rebuild the counters from the log and the reservations; returns where they differ."""
        return await self._workers.run(self, self._sync.verify, tenant_id)


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

    async def pending_moves(self) -> list[PendingMove]:
        """The tenants whose plan or file wishes for another strategy or region than their data has."""
        return await self._workers.run(
            self,
            self._sync.pending_moves,
        )


class AsyncAgents:
    """The awaitable twin of ``Agents``."""

    def __init__(self, sync: Agents, workers: Workers) -> None:
        self._sync = sync
        self._workers = workers

    async def spawn(
        self,
        tenant_id: str,
        work: Work,
        *,
        name: str | None = None,
        wait: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
    ) -> Agent:
        """Run a coroutine or a command for the tenant, which must be in service."""
        return await self._sync.spawn_async(tenant_id, work, name=name, wait=wait, env=env, cwd=cwd)

    async def stop(self, agent_id: str, *, grace: float = 5.0) -> StopReport:
        """Tell an agent to stop, and wait up to ``grace`` seconds; nothing is done for one that is gone."""
        return await self._workers.run(self, self._sync.stop, agent_id, grace=grace)

    async def stop_tenant(self, tenant_id: str, *, grace: float = 5.0) -> StopReport:
        """Tell every agent of the tenant to stop, and wait up to ``grace`` seconds."""
        return await self._workers.run(self, self._sync.stop_tenant, tenant_id, grace=grace)


class AsyncAuditLog:
    """The awaitable twin of ``AuditLog``."""

    def __init__(self, sync: AuditLog, workers: Workers) -> None:
        self._sync = sync
        self._workers = workers

    async def records(
        self, tenant_id: str | None = None, *, after: int = 0, limit: int = 100, newest: bool = False
    ) -> Sequence[AuditRecord]:
        """At most ``limit`` records with a higher sequence number than ``after``; ``newest`` takes the last ones."""
        return await self._workers.run(self, self._sync.records, tenant_id, after=after, limit=limit, newest=newest)


class AsyncEngine:
    """The awaitable face of an engine: ``engine.aio``."""

    def __init__(self, engine: Engine, workers: Workers) -> None:
        self._engine = engine
        self._workers = workers
        self.tenants = AsyncTenants(engine.tenants, workers)
        self.quotas = AsyncQuotas(engine.quotas, workers)
        self.usage = AsyncUsage(engine.usage, workers)
        self.isolation = AsyncIsolation(engine.isolation, workers)
        self.agents = AsyncAgents(engine.agents, workers)
        self.audit = AsyncAuditLog(engine.audit, workers)

    async def query(self, tenant_id: str | None = None) -> AsyncScopedQuery:
        """A handle to the rows of the named tenant, or of the tenant context's."""
        return AsyncScopedQuery(self._engine.query(tenant_id), self._workers)
