"""What the log of usage says: totals by month, and whether the counters agree with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from partywall.ledger import Transaction
from partywall.names import TenantId
from partywall.quotas.counters import COUNTED, MONTHLY, period_of

__all__ = ["PeriodTotal", "UsageDifference", "differences", "totals_by_month"]


class PeriodTotal(NamedTuple):
    """A metric in one calendar month in UTC."""

    period: str
    metric: str
    total: int
    """What was used in the month of a monthly metric; of the others what there was at its end, or is now."""


@dataclass(frozen=True, slots=True)
class UsageDifference:
    """A counter that is not what its log or its reservations come to."""

    tenant_id: TenantId
    period: str
    """Empty for what does not start anew with each month."""
    metric: str
    what: Literal["total", "reserved", "unreadable"]
    counter: int
    rebuilt: int


def totals_by_month(logged: Mapping[tuple[str, str], int]) -> list[PeriodTotal]:
    """The totals of each month in which something was counted, oldest first."""
    running: dict[str, int] = defaultdict(int)
    found = []
    # A line of a metric that this release does not know may be of another one: it is left to who asks for differences.
    known = [key for key in logged if key[1] in COUNTED]
    for period, metric in sorted(known, key=lambda key: (key[0], COUNTED.index(key[1]))):
        amount = logged[period, metric]
        running[metric] += amount
        found.append(PeriodTotal(period, metric, amount if metric in MONTHLY else running[metric]))
    return found


def differences(tx: Transaction, tenant_id: TenantId) -> Iterator[UsageDifference]:
    """Every counter of the tenant that its log or its reservations do not come to."""
    counters = {(counter.period, counter.metric): counter for counter in tx.usage_counters(tenant_id)}
    totals: dict[tuple[str, str], int] = defaultdict(int)
    for (month, metric), amount in tx.logged_usage(tenant_id).items():
        totals[period_of(metric, month), metric] += amount
    reserved = _reserved(tx, tenant_id)
    for period, metric in sorted({*counters, *totals, *reserved}):
        counter = counters.get((period, metric))
        total, held = (counter.total, counter.reserved) if counter else (0, 0)
        if total != totals.get((period, metric), 0):
            yield UsageDifference(tenant_id, period, metric, "total", total, totals.get((period, metric), 0))
        if held != reserved.get((period, metric), 0):
            yield UsageDifference(tenant_id, period, metric, "reserved", held, reserved.get((period, metric), 0))


def _reserved(tx: Transaction, tenant_id: TenantId) -> Mapping[tuple[str, str], int]:
    reserved: dict[tuple[str, str], int] = defaultdict(int)
    for reservation in tx.held_reservations(tenant_id, limit=2**31):
        for metric, amount in reservation.amounts.items():
            reserved[period_of(metric, reservation.period), metric] += amount
    for tally in tx.row_tallies(tenant_id):
        reserved["", tally.metric] += tally.held
    return reserved
