"""The awaitable twins of ``Quotas``, ``Reservation``, ``Usage``; written by tools/generate_aio.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

from partywall.names import TenantId
from partywall.quotas import Hold
from partywall.quotas.history import PeriodTotal, UsageDifference
from partywall.quotas.quotas import Quotas
from partywall.quotas.report import QuotaReport
from partywall.quotas.reservation import Reservation, Settlement
from partywall.quotas.usage import Usage
from partywall.workers import Entering, Workers

__all__ = ["AsyncQuotas", "AsyncReservation", "AsyncUsage"]


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

    def hold(
        self, tenant_id: str, *, lease: float | None = None, wait: float | None = None, **amounts: int
    ) -> Entering[Hold]:
        """Hold places of a concurrency quota, such as ``agents=1``; waiting for them holds no thread.

        Awaited for the handle, or entered at once: ``async with engine.aio.quotas.hold(...)``.
        """
        return Entering(partial(self._sync.hold_async, tenant_id, lease=lease, wait=wait, **amounts))


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

    async def repair(self, tenant_id: str | None = None) -> Sequence[UsageDifference]:
        """Set the counters to what the log and the reservations come to; returns where they differed, audited."""
        return await self._workers.run(self, self._sync.repair, tenant_id)
