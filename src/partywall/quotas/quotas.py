"""Quotas: the most a tenant may have, checked and counted in one ledger transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from partywall.clock import Clock, month_of
from partywall.errors import InvalidArgument, QuotaExceeded
from partywall.ledger import Ledger, Transaction
from partywall.model import QuotaLimits
from partywall.names import TenantId
from partywall.quotas.counters import add, legal_amount, legal_metric, totals
from partywall.quotas.idempotency import legal_key, once, previous_month
from partywall.quotas.report import QuotaReport, report_of
from partywall.quotas.tenants import Tenants, require_in_service
from partywall.quotas.usage import Gauge, Usage

__all__ = ["Quotas"]

_Standing: TypeAlias = tuple[TenantId, Mapping[str, int], QuotaLimits]


class Quotas:
    """The quotas of every tenant: plan and file say how much, the ledger how much is used."""

    def __init__(self, ledger: Ledger, tenants: Tenants, clock: Clock, usage: Usage | None = None) -> None:
        self._ledger = ledger
        self._tenants = tenants
        self._clock = clock
        self._usage = usage or Usage(ledger, tenants, clock)

    def add_gauge(self, metric: str, gauge: Gauge) -> None:
        """Read a metric that is not counted, such as ``agents``, from where it is known."""
        self._usage.add_gauge(metric, gauge)

    def check(self, tenant_id: str) -> QuotaReport:
        """Where the tenant stands against each of its quotas; refused for a tenant that is not in service."""

        def work(tx: Transaction) -> _Standing:
            known = require_in_service(self._tenants, tx, tenant_id)
            limits = self._tenants.grants(known).quotas
            return known, totals(tx, known, month_of(self._clock.now())), limits

        return self._report(*self._ledger.read(work))

    def consume(self, tenant_id: str, *, idempotency_key: str | None = None, **amounts: int) -> QuotaReport:
        """Count amounts of several quotas, such as ``tokens=800, projects=1``: all of them or none.

        Returns where the tenant stands afterwards; the same call under the same key counts once and is
        given the first totals again. Raises QuotaExceeded when one would pass its limit, InvalidArgument
        (unknown metric, a negative amount or no whole number), TenantConflict (the key stood for another
        call), the refusals of a tenant that is not in service, LedgerError. Nothing is counted then.
        """
        if not amounts:
            raise InvalidArgument("name what is consumed, such as tokens=800")
        legal = {legal_metric(metric): _positive(metric, amount) for metric, amount in amounts.items()}
        body = {"call": "consume", "amounts": legal}
        key = legal_key(idempotency_key)

        def work(tx: Transaction) -> _Standing:
            known = require_in_service(self._tenants, tx, tenant_id)
            limits = self._tenants.grants(known).quotas
            now = self._clock.now()

            def count() -> Mapping[str, int]:
                month = month_of(now)
                _require_room(totals(tx, known, month), legal, limits)
                return add(tx, known, month, legal)

            return known, once(tx, known, key, body, now=now, count=count), limits

        return self._report(*self._ledger.write(work))

    def forget_old_events(self) -> int:
        """Forget the idempotency keys from before the previous calendar month in UTC; returns how many."""
        before = previous_month(self._clock.now())
        return self._ledger.write(lambda tx: tx.forget_usage_events(before))

    def _report(self, tenant_id: TenantId, counted: Mapping[str, int], limits: QuotaLimits) -> QuotaReport:
        return report_of(self._usage.complete(tenant_id, counted), limits)


def _positive(metric: str, amount: int) -> int:
    if legal_amount(amount) < 0:
        raise InvalidArgument(f"consume takes no negative amount of {metric}; give back with usage.increment")
    return amount


def _require_room(current: Mapping[str, int], amounts: Mapping[str, int], limits: QuotaLimits) -> None:
    for metric, limit in limits:
        requested = amounts.get(metric, 0)
        if limit is not None and requested > 0 and current[metric] + requested > limit:
            raise QuotaExceeded(
                f"quota '{metric}' has room for {max(0, limit - current[metric])} more and {requested} were asked for; "
                "change the plan or give something back",
                quota=metric,
                current=current[metric],
                limit=limit,
                requested=requested,
            )
