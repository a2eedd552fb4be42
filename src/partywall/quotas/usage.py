"""Usage: what happened, counted whether or not it fits a quota."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeAlias

from partywall.audit import AuditLog
from partywall.clock import Clock, month_of
from partywall.errors import InvalidArgument, PartywallError
from partywall.ledger import Ledger, Transaction
from partywall.model import METRICS
from partywall.names import TenantId, parse_tenant_id
from partywall.quotas.counters import COUNTED, MOST, Standing, legal_amount, legal_metric, legal_period, standing
from partywall.quotas.counting import Counting
from partywall.quotas.history import PeriodTotal, UsageDifference, differences, totals_by_month
from partywall.quotas.idempotency import Request, legal_key
from partywall.quotas.tenants import Tenants, require_in_service, require_known, require_there

__all__ = ["Gauge", "Usage"]

Gauge: TypeAlias = Callable[[TenantId], int]
"""How much of a metric a tenant has at this moment."""

_log: Final = logging.getLogger("partywall.quotas")
_LATE: Final = 35 * 86_400.0
"""Seconds that an event may be late."""
_EARLY: Final = 300.0
"""Seconds that the clock of whoever saw an event may be ahead."""


class Usage:
    """The usage of every tenant, in the ledger. Thread-safe; what was acknowledged survives."""

    def __init__(self, ledger: Ledger, tenants: Tenants, clock: Clock) -> None:
        self._ledger = ledger
        self._tenants = tenants
        self._clock = clock
        self._audit = AuditLog(ledger, clock)
        self._counting = Counting(tenants, self._audit, clock)
        self._gauges: dict[str, Gauge] = {}

    def add_gauge(self, metric: str, gauge: Gauge) -> None:
        """Read a metric that is not counted, such as ``agents``, from where it is known."""
        if metric not in METRICS or metric in COUNTED:
            raise InvalidArgument(f"{ascii(metric)[:80]} is no metric that is read from a gauge")
        self._gauges[metric] = gauge

    def increment(
        self,
        tenant_id: str,
        metric: str,
        amount: int = 1,
        *,
        idempotency_key: str | None = None,
        at: datetime | None = None,
        reason: str | None = None,
    ) -> int:
        """Count what happened and return the new total; a negative amount gives back.

        ``at`` is when it happened, if not now: up to 35 days ago, with a time zone. With a ``reason`` it is a
        correction, which is audited and accepted for a tenant of any status; what is taken off an earlier month
        needs one. With a key, the same call counts once and is given the first answer again. Raises
        InvalidArgument (unknown metric, no whole number, a total below zero, a moment out of reach),
        TenantConflict (the key stood for another call), the refusals of a tenant that is not in service,
        LedgerError. Nothing is counted then.
        """
        body: dict[str, object] = {"call": "increment", "metric": legal_metric(metric), "amount": legal_amount(amount)}
        moment, why = _seconds(at), _legal_reason(reason)
        body |= {name: value for name, value in (("at", moment), ("reason", why)) if value is not None}
        request = Request(legal_key(idempotency_key), body)
        require = require_in_service if why is None else require_there

        def work(tx: Transaction) -> int:
            known = require(self._tenants, tx, tenant_id)
            now = self._clock.now()

            def count() -> Mapping[str, int]:
                self._require_reach(now, moment, amount, why)
                return self._count(tx, known, {metric: amount}, moment, why)

            return request.once(tx, known, now, count)[metric]

        return self._ledger.write(work)

    def totals(self, tenant_id: str, period: str | None = None) -> Mapping[str, int]:
        """All five metrics: tokens of the current calendar month in UTC or the named one, the others as they are.

        Answers for suspended and deleted tenants too, since they are still billed. Raises InvalidArgument,
        TenantNotFound, LedgerError.
        """
        known, found = self._standing(tenant_id, period)
        return self.complete(known, found.counted)

    def reserved(self, tenant_id: str, period: str | None = None) -> Mapping[str, int]:
        """What reservations hold beside the totals, of every counted metric; as ``totals``."""
        return self._standing(tenant_id, period)[1].reserved

    def history(self, tenant_id: str, metric: str | None = None) -> list[PeriodTotal]:
        """Period, metric and total of each month in which something was counted, oldest first; as ``totals``."""
        known = require_known(self._tenants, tenant_id)
        wanted = COUNTED if metric is None else (legal_metric(metric),)
        found = totals_by_month(self._ledger.read(lambda tx: tx.logged_usage(known)))
        return [total for total in found if total.metric in wanted]

    def verify(self, tenant_id: str | None = None) -> Sequence[UsageDifference]:
        """Rebuild the counters from the log and the reservations; returns where they differ.

        Without a tenant every one in the ledger is looked at; one whose records cannot be read is a difference too,
        an ``unreadable`` one. Raises InvalidArgument, LedgerError.
        """
        if tenant_id is not None:
            return self._differences(parse_tenant_id(tenant_id))
        tenants = self._ledger.read(lambda tx: tx.tenants_with_usage())
        return [difference for known in tenants for difference in self._differences(known)]

    def repair(self, tenant_id: str | None = None) -> Sequence[UsageDifference]:
        """Set the counters to what the log and the reservations come to; returns where they differed, audited.

        What is ``unreadable`` is left alone. Without a tenant every one in the ledger is looked at. Raises
        InvalidArgument, LedgerError.
        """
        found: list[UsageDifference] = []
        broken = [difference for difference in self.verify(tenant_id) if difference.what != "unreadable"]
        for known in dict.fromkeys(difference.tenant_id for difference in broken):
            found += self._ledger.write(partial(self._repair, known))
        return found

    def complete(self, tenant_id: TenantId, counted: Mapping[str, int]) -> dict[str, int]:
        """The counted totals and what the gauges say now; 0 for a metric without its gauge."""
        read = {metric: gauge(tenant_id) for metric, gauge in self._gauges.items()}
        return {metric: counted.get(metric, read.get(metric, 0)) for metric in METRICS}

    def _differences(self, tenant_id: TenantId) -> list[UsageDifference]:
        try:
            return self._ledger.read(lambda tx: list(differences(tx, tenant_id)))
        except (PartywallError, ValueError, TypeError, AttributeError):
            _log.exception("the usage of %s cannot be read", tenant_id)
            return [UsageDifference(tenant_id, "", "", "unreadable", 0, 0)]

    def _repair(self, tenant_id: TenantId, tx: Transaction) -> list[UsageDifference]:
        found = list(differences(tx, tenant_id))
        for each in found:
            write = tx.set_usage if each.what == "total" else tx.set_reserved
            write(tenant_id, each.period, each.metric, min(max(0, each.rebuilt), MOST))
        if found:
            told = [{name: value for name, value in asdict(each).items() if name != "tenant_id"} for each in found]
            self._audit.record(tx, "usage.repaired", tenant_id=tenant_id, details={"counters": told})
        return found

    def _standing(self, tenant_id: str, period: str | None) -> tuple[TenantId, Standing]:
        known = require_known(self._tenants, tenant_id)
        month = month_of(self._clock.now()) if period is None else legal_period(period)
        return known, self._ledger.read(lambda tx: standing(tx, known, month))

    def _require_reach(self, now: float, at: float | None, amount: int, reason: str | None) -> None:
        if at is None:
            return
        if not now - _LATE <= at <= now + _EARLY:
            raise InvalidArgument("an event may be at most 35 days late and 5 minutes early")
        if amount < 0 and reason is None and month_of(at) != month_of(now):
            raise InvalidArgument("what is taken off an earlier month needs a reason")

    def _count(
        self, tx: Transaction, tenant_id: TenantId, amounts: Mapping[str, int], at: float | None, reason: str | None
    ) -> Mapping[str, int]:
        kind = "counted" if reason is None else "corrected"
        totals = self._counting.count(tx, tenant_id, amounts, kind=kind, at=at, reason=reason)
        if reason is not None:
            month = month_of(self._clock.now() if at is None else at)
            details: dict[str, Any] = {"amounts": dict(amounts), "period": month, "reason": reason}
            self._audit.record(tx, "usage.corrected", tenant_id=tenant_id, details=details)
        return totals


def _seconds(at: object) -> float | None:
    if at is None:
        return None
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise InvalidArgument("the moment of an event must be a datetime with a time zone")
    return at.timestamp()


def _legal_reason(reason: object) -> str | None:
    if reason is None:
        return None
    if not isinstance(reason, str) or not 0 < len(reason) <= 200 or not reason.isprintable():
        raise InvalidArgument("a reason must be 1 to 200 printable characters")
    return reason
