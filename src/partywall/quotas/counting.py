"""Counting in a transaction: the total, its line in the log, and the thresholds that it crosses."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from partywall.audit import AuditLog
from partywall.clock import Clock, month_of
from partywall.errors import PartywallError
from partywall.ledger import AuditRecord, Transaction, UsageEntry
from partywall.model import QuotaLimits
from partywall.names import TenantId
from partywall.quotas.counters import add, add_at_most, let_go
from partywall.quotas.tenants import Tenants

__all__ = ["Counting", "Crossing", "crossing_of"]

_THRESHOLDS: Final = (80, 100)
"""Percent of a limit at which its tenant is told of."""
_ACTION: Final = "quota.threshold"
_DAMAGED: Final = "usage.damaged"
_log: Final = logging.getLogger("partywall.quotas")


@dataclass(frozen=True, slots=True)
class Crossing:
    """A tenant's usage reached a share of its limit."""

    tenant_id: TenantId
    metric: str
    percent: int
    current: int
    limit: int


def crossing_of(record: AuditRecord) -> Crossing | None:
    """The crossing that an audit record tells of; None for every other record."""
    if record.action != _ACTION or record.tenant_id is None or not record.details:
        return None
    return Crossing(
        record.tenant_id, **{name: record.details[name] for name in ("metric", "percent", "current", "limit")}
    )


class Counting:
    """Counts for every room function here; knows the limits, refuses nothing on their account."""

    def __init__(self, tenants: Tenants, audit: AuditLog, clock: Clock) -> None:
        self._tenants = tenants
        self._audit = audit
        self._clock = clock

    def count(
        self,
        tx: Transaction,
        tenant_id: TenantId,
        amounts: Mapping[str, int],
        *,
        kind: str,
        month: str | None = None,
        at: float | None = None,
        reason: str | None = None,
        source: str | None = None,
        settling: bool = False,
    ) -> dict[str, int]:
        """Count the amounts, in the month or else in that of the moment; returns the totals of those metrics.

        What is ``settling`` was granted before and is refused by nothing: of an amount that the ledger cannot count
        it counts what fits, and says so.
        """
        now = self._clock.now()
        moment = now if at is None else at
        period = month or month_of(moment)
        limits = self._limits(tenant_id)
        totals: dict[str, int] = {}
        for metric, amount in amounts.items():
            entry = UsageEntry(tenant_id, period, metric, amount, moment, now, kind, reason, source)
            before, totals[metric] = (add_at_most if settling else add)(tx, entry)
            uncounted = amount - (totals[metric] - before)
            if uncounted:
                self._tell_damage(tx, tenant_id, period, source, uncounted={metric: uncounted})
            limit = getattr(limits, metric) if limits is not None else None
            if limit is not None:
                self._tell(tx, entry, totals[metric], limit)
        return totals

    def let_go(
        self, tx: Transaction, tenant_id: TenantId, month: str, amounts: Mapping[str, int], source: str | None = None
    ) -> None:
        """Reserve the amounts no longer, whatever the counter says; a counter that is damaged is told of."""
        unknown = let_go(tx, tenant_id, month, amounts)
        if unknown:
            self._tell_damage(tx, tenant_id, month, source, not_reserved=unknown)

    def _tell_damage(
        self, tx: Transaction, tenant_id: TenantId, month: str, source: str | None, **what: Mapping[str, int]
    ) -> None:
        details: dict[str, Any] = {**what, "period": month, "source": source}
        _log.error("the counters of %s are damaged, see usage.verify and usage.repair: %s", tenant_id, details)
        self._audit.record(tx, _DAMAGED, tenant_id=tenant_id, actor="engine", details=details)

    def _limits(self, tenant_id: TenantId) -> QuotaLimits | None:
        try:
            return self._tenants.grants(tenant_id).quotas
        except PartywallError:
            # The tenant's file is gone, or the engine is closing: what was spent is counted all the same.
            return None

    def _tell(self, tx: Transaction, entry: UsageEntry, after: int, limit: int) -> None:
        # Not only where this count reached the share: the limit may have been lowered to what was there before.
        for percent in _THRESHOLDS:
            reached = after > 0 and after * 100 >= limit * percent
            if reached and tx.mark_threshold(entry.tenant_id, entry.period, entry.metric, percent, limit):
                details = {"metric": entry.metric, "percent": percent, "current": after, "limit": limit}
                details["period"] = entry.period
                self._audit.record(tx, _ACTION, tenant_id=entry.tenant_id, actor="engine", details=details)
