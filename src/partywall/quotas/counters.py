"""The counters in the ledger: totals, what is reserved beside them, and the log that they are made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from partywall.errors import InvalidArgument
from partywall.ledger import Transaction, UsageCounter, UsageEntry
from partywall.model import METRICS
from partywall.names import TenantId

__all__ = [
    "AGENTS",
    "COUNTED",
    "MONTHLY",
    "MOST",
    "Standing",
    "add",
    "add_at_most",
    "hold",
    "legal_amount",
    "legal_metric",
    "legal_period",
    "let_go",
    "period_of",
    "standing",
]

AGENTS: Final = "agents"
"""The metric that is never counted up: it is the number that run now."""
COUNTED: Final = tuple(metric for metric in METRICS if metric != AGENTS)
"""The metrics that have a total in the ledger."""
MONTHLY: Final = frozenset({"tokens"})
"""The metrics that start anew with each calendar month in UTC."""

MOST: Final = 2**63 - 1
"""The most that the ledger counts of a metric."""

_LARGEST: Final = 2**53
_MONTH: Final = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True)
class Standing:
    """What a tenant has of each counted metric, and what its reservations hold beside it."""

    counted: Mapping[str, int]
    reserved: Mapping[str, int]

    def taken(self, metric: str) -> int:
        """What is not left of a quota."""
        return self.counted[metric] + self.reserved[metric]


def legal_metric(metric: str) -> str:
    """The metric itself, or InvalidArgument that lists those that can be counted."""
    if metric == AGENTS:
        raise InvalidArgument("'agents' is not counted by hand: it is the number of agents that run now")
    if metric not in COUNTED:
        raise InvalidArgument(f"unknown metric {ascii(metric)[:80]}; there are {', '.join(COUNTED)}")
    return metric


def legal_amount(amount: object) -> int:
    """The amount itself, or InvalidArgument unless it is an int of at most 2^53 either way."""
    if type(amount) is not int or not -_LARGEST <= amount <= _LARGEST:
        raise InvalidArgument("an amount must be a whole number of at most 2^53")
    return amount


def legal_period(period: object) -> str:
    """The period itself, or InvalidArgument unless it is a month such as ``2026-11``."""
    if not isinstance(period, str) or _MONTH.fullmatch(period) is None:
        raise InvalidArgument("a period must be a month such as '2026-11'")
    return period


def period_of(metric: str, month: str) -> str:
    """The period of the metric's counter: the month, or ``""`` for what does not start anew."""
    return month if metric in MONTHLY else ""


def standing(tx: Transaction, tenant_id: TenantId, month: str) -> Standing:
    """Every counted metric: of the month for what is monthly, the present one for the others."""
    found = {(counter.period, counter.metric): counter for counter in tx.usage_counters(tenant_id, "", month)}
    counted, reserved = dict.fromkeys(COUNTED, 0), dict.fromkeys(COUNTED, 0)
    for metric in COUNTED:
        counter = found.get((period_of(metric, month), metric))
        if counter is not None:
            counted[metric], reserved[metric] = counter.total, counter.reserved
    return Standing(counted, reserved)


def add(tx: Transaction, entry: UsageEntry) -> tuple[int, int]:
    """Count and log; returns the total before and after.

    InvalidArgument, with nothing counted, where the total would fall below zero, or where what is counted and
    reserved would no longer fit the ledger together.
    """
    found = _counter(tx, entry.tenant_id, period_of(entry.metric, entry.period), entry.metric)
    after = found.total + entry.amount
    if after < 0:
        raise InvalidArgument(f"more {entry.metric} would be given back than there are; usage is never below zero")
    if entry.amount > 0:
        _require_countable(entry.metric, after + found.reserved)
    return _log(tx, entry, found.total)


def add_at_most(tx: Transaction, entry: UsageEntry) -> tuple[int, int]:
    """Count and log as much of the entry as the ledger can count, which is all but for absurd totals; as ``add``."""
    before = _counter(tx, entry.tenant_id, period_of(entry.metric, entry.period), entry.metric).total
    return _log(tx, replace(entry, amount=max(-before, min(entry.amount, MOST - before))), before)


def hold(tx: Transaction, tenant_id: TenantId, month: str, amounts: Mapping[str, int]) -> None:
    """Reserve the amounts beside the totals; InvalidArgument where both would no longer fit the ledger together."""
    for metric, amount in amounts.items():
        period = period_of(metric, month)
        found = _counter(tx, tenant_id, period, metric)
        if amount:
            _require_countable(metric, found.total + found.reserved + amount)
        tx.set_reserved(tenant_id, period, metric, found.reserved + amount)


def let_go(tx: Transaction, tenant_id: TenantId, month: str, amounts: Mapping[str, int]) -> Mapping[str, int]:
    """Reserve the amounts no longer; returns how much of them, by metric, a damaged counter did not know of."""
    unknown: dict[str, int] = {}
    for metric, amount in amounts.items():
        period = period_of(metric, month)
        reserved = _counter(tx, tenant_id, period, metric).reserved
        tx.set_reserved(tenant_id, period, metric, max(0, reserved - amount))
        if amount > reserved:
            unknown[metric] = amount - reserved
    return unknown


def _counter(tx: Transaction, tenant_id: TenantId, period: str, metric: str) -> UsageCounter:
    counters = tx.usage_counters(tenant_id, period)
    return next((each for each in counters if each.metric == metric), UsageCounter(period, metric, 0, 0))


def _require_countable(metric: str, taken: int) -> None:
    if taken > MOST:
        raise InvalidArgument(
            f"more {metric} would be counted and reserved than the ledger can count, which is 2^63 - 1"
        )


def _log(tx: Transaction, entry: UsageEntry, before: int) -> tuple[int, int]:
    after = before + entry.amount
    tx.set_usage(entry.tenant_id, period_of(entry.metric, entry.period), entry.metric, after)
    tx.append_usage(entry)
    return before, after
