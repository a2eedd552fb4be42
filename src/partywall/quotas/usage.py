"""Usage: what happened, counted whether or not it fits a quota."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from partywall.clock import Clock, month_of
from partywall.errors import InvalidArgument
from partywall.ledger import Ledger, Transaction
from partywall.model import METRICS
from partywall.names import TenantId
from partywall.quotas.counters import COUNTED, add, legal_amount, legal_metric, legal_period, totals
from partywall.quotas.idempotency import legal_key, once
from partywall.quotas.tenants import Tenants, require_in_service, require_known

__all__ = ["Gauge", "Usage"]

Gauge: TypeAlias = Callable[[TenantId], int]
"""How much of a metric a tenant has at this moment."""


class Usage:
    """The usage of every tenant, in the ledger. Thread-safe; what was acknowledged survives."""

    def __init__(self, ledger: Ledger, tenants: Tenants, clock: Clock) -> None:
        self._ledger = ledger
        self._tenants = tenants
        self._clock = clock
        self._gauges: dict[str, Gauge] = {}

    def add_gauge(self, metric: str, gauge: Gauge) -> None:
        """Read a metric that is not counted, such as ``agents``, from where it is known."""
        if metric not in METRICS or metric in COUNTED:
            raise InvalidArgument(f"{ascii(metric)[:80]} is no metric that is read from a gauge")
        self._gauges[metric] = gauge

    def increment(self, tenant_id: str, metric: str, amount: int = 1, *, idempotency_key: str | None = None) -> int:
        """Count what happened and return the new total; a negative amount gives back.

        With a key, the same call counts once and is given the first answer again. Raises InvalidArgument
        (unknown metric, no whole number, a total below zero), TenantConflict (the key stood for another
        call), the refusals of a tenant that is not in service, LedgerError. Nothing is counted then.
        """
        body = {"call": "increment", "metric": legal_metric(metric), "amount": legal_amount(amount)}
        key = legal_key(idempotency_key)

        def work(tx: Transaction) -> int:
            known = require_in_service(self._tenants, tx, tenant_id)
            now = self._clock.now()

            def count() -> Mapping[str, int]:
                return {metric: add(tx, known, month_of(now), {metric: amount})[metric]}

            return once(tx, known, key, body, now=now, count=count)[metric]

        return self._ledger.write(work)

    def totals(self, tenant_id: str, period: str | None = None) -> Mapping[str, int]:
        """All five metrics: tokens of the current calendar month in UTC or the named one, the others as they are.

        Answers for suspended and deleted tenants too, since they are still billed. Raises InvalidArgument,
        TenantNotFound, LedgerError.
        """
        known = require_known(self._tenants, tenant_id)
        month = month_of(self._clock.now()) if period is None else legal_period(period)
        return self.complete(known, self._ledger.read(lambda tx: totals(tx, known, month)))

    def complete(self, tenant_id: TenantId, counted: Mapping[str, int]) -> dict[str, int]:
        """The counted totals and what the gauges say now; 0 for a metric without its gauge."""
        read = {metric: gauge(tenant_id) for metric, gauge in self._gauges.items()}
        return {metric: counted.get(metric, read.get(metric, 0)) for metric in METRICS}
