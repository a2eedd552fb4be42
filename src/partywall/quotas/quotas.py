"""Quotas: the most a tenant may have, checked, held and counted in one ledger transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from partywall.audit import AuditLog
from partywall.clock import Clock, month_of
from partywall.errors import InvalidArgument
from partywall.ledger import Ledger, Transaction
from partywall.model import Grants, Table
from partywall.names import TableName, TenantId
from partywall.quotas.admission import require_room
from partywall.quotas.counters import AGENTS, Standing, legal_amount, legal_metric, standing
from partywall.quotas.counting import Counting
from partywall.quotas.holds import Hold, Holds
from partywall.quotas.idempotency import Request, legal_key, previous_month
from partywall.quotas.places import Places
from partywall.quotas.report import QuotaReport, report_of
from partywall.quotas.reservation import Reservation
from partywall.quotas.reservations import Reservations, Sweep, legal_lease
from partywall.quotas.rows import CountedRows
from partywall.quotas.tenants import Tenants, require_in_service
from partywall.quotas.usage import Usage

__all__ = ["Quotas"]

_Found: TypeAlias = tuple[TenantId, Standing, Grants]


class Quotas:
    """The quotas of every tenant: plan and file say how much, the ledger how much is used and held."""

    def __init__(self, ledger: Ledger, tenants: Tenants, clock: Clock, usage: Usage | None = None) -> None:
        self._ledger = ledger
        self._tenants = tenants
        self._clock = clock
        self._usage = usage or Usage(ledger, tenants, clock)
        audit = AuditLog(ledger, clock)
        self._counting = Counting(tenants, audit, clock)
        self._reservations = Reservations(ledger, tenants, clock, self._counting, audit)
        self.places = Places(tenants)
        """The places of the concurrency quota, which agents and holds share."""
        self._holds = Holds(self.places, tenants, clock)
        self._usage.add_gauge(AGENTS, self.places.count)

    def check(self, tenant_id: str) -> QuotaReport:
        """Where the tenant stands against each of its quotas; refused for a tenant that is not in service."""
        self._holds.expire()

        def work(tx: Transaction) -> tuple[_Found, bool]:
            known = require_in_service(self._tenants, tx, tenant_id)
            return self._found(tx, known), self._reservations.lapsed(tx, known)

        found, lapsed = self._ledger.read(work)
        if lapsed:
            self._reservations.expire(found[0])
            found, _ = self._ledger.read(work)
        return self._report(*found)

    def consume(self, tenant_id: str, *, idempotency_key: str | None = None, **amounts: int) -> QuotaReport:
        """Count amounts of several quotas, such as ``tokens=800, projects=1``: all of them or none.

        Returns where the tenant stands afterwards; the same call under the same key counts once and is
        given the first totals again. Raises QuotaExceeded when one would pass its limit, InvalidArgument
        (unknown metric, a negative amount or no whole number), TenantConflict (the key stood for another
        call), the refusals of a tenant that is not in service, LedgerError. Nothing is counted then.
        """
        legal = _legal("consume", amounts)
        request = Request(legal_key(idempotency_key), {"call": "consume", "amounts": legal})

        def work(tx: Transaction, sweep: Sweep) -> _Found:
            known = require_in_service(self._tenants, tx, tenant_id)
            sweep(tx, known)
            _, before, grants = self._found(tx, known)

            def count() -> Mapping[str, int]:
                require_room(before, legal, grants)
                self._counting.count(tx, known, legal, kind="consumed")
                return self._found(tx, known)[1].counted

            counted = request.once(tx, known, self._clock.now(), count)
            return known, Standing(counted, before.reserved), grants

        return self._report(*self._reservations.swept(work))

    def reserve(
        self, tenant_id: str, *, lease: float = 300.0, idempotency_key: str | None = None, **amounts: int
    ) -> Reservation:
        """Hold amounts of several quotas, such as ``tokens=8_000``: all of them or none.

        The handle is committed with what was used in the end, or released; its ``with`` block releases what was
        not committed. After ``lease`` seconds (at most a day) it ends by itself, and at once when this process
        dies: it is given back then, or counted in full, as the plan's ``reservations.onExpiry`` says. The same
        call under the same key is the same reservation, until it is given back. Raises as ``consume``.
        """
        legal, seconds = _legal("reserve", amounts), legal_lease(lease)
        request = Request(legal_key(idempotency_key), {"call": "reserve", "amounts": legal})

        def work(tx: Transaction, sweep: Sweep) -> Reservation:
            known = require_in_service(self._tenants, tx, tenant_id)
            sweep(tx, known)
            repeated = self._reservations.repeated(tx, known, request)
            if repeated is not None:
                return Reservation(self._reservations, repeated, first=False)
            _, before, grants = self._found(tx, known)
            require_room(before, legal, grants)
            record = self._reservations.make(tx, known, legal, seconds, request)
            return Reservation(self._reservations, record, first=True)

        return self._reservations.swept(work)

    def hold(self, tenant_id: str, *, lease: float | None = None, wait: float | None = None, **amounts: int) -> Hold:
        """Hold places of a concurrency quota, such as ``agents=1``, for what the embedder runs itself.

        They count as agents that run, until the handle is released, its ``with`` block ends, or this process dies;
        with a ``lease`` also after so many seconds (at most a day) unless it is extended. Raises QuotaExceeded when
        they are not free, nor became free within ``wait`` seconds, InvalidArgument, the refusals of a tenant that is
        not in service.
        """
        return self._holds.take(tenant_id, amounts, lease, wait)

    async def hold_async(
        self, tenant_id: str, *, lease: float | None = None, wait: float | None = None, **amounts: int
    ) -> Hold:
        """The awaitable twin of ``hold``; waiting for a place holds no thread, and may be cancelled."""
        return await self._holds.take_async(tenant_id, amounts, lease, wait)

    def counted_rows(self, tables: Mapping[TableName, Table]) -> CountedRows:
        """Who counts the rows of those tables that declare a quota."""
        return CountedRows(self._ledger, self._tenants, self._clock, self._counting, self._reservations, tables)

    def expire_leases(self) -> int:
        """Settle every reservation, and end every hold, whose lease has ended; returns how many."""
        return self._reservations.expire() + self._holds.expire()

    def recover(self) -> int:
        """Settle the reservations of engines that are gone, whatever their lease; returns how many."""
        return self._reservations.recover()

    def forget_old_events(self) -> int:
        """Forget idempotency keys, and settled reservations, from before the previous month; returns how many keys."""
        before = previous_month(self._clock.now())

        def work(tx: Transaction) -> int:
            tx.forget_reservations(before)
            # A month longer: an event of the last days of that month may still come, 35 days late.
            tx.forget_thresholds(month_of(previous_month(before)))
            return tx.forget_usage_events(before)

        return self._ledger.write(work)

    def _found(self, tx: Transaction, tenant_id: TenantId) -> _Found:
        return tenant_id, standing(tx, tenant_id, month_of(self._clock.now())), self._tenants.grants(tenant_id)

    def _report(self, tenant_id: TenantId, found: Standing, grants: Grants) -> QuotaReport:
        return report_of(self._usage.complete(tenant_id, found.counted), found.reserved, grants)


def _legal(call: str, amounts: Mapping[str, int]) -> dict[str, int]:
    if not amounts:
        raise InvalidArgument(f"name what to {call}, such as tokens=800")
    for metric, amount in amounts.items():
        legal_metric(metric)
        if legal_amount(amount) < 0:
            raise InvalidArgument(f"{call} takes no negative amount of {metric}; give back with usage.increment")
    return dict(amounts)
