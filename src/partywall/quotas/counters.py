"""The counters in the ledger: totals, what is reserved beside them, and the log that they are made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from partywall.errors import InvalidArgument
from partywall.ledger import Transaction, UsageEntry
from partywall.model import METRICS
from partywall.names import TenantId

__all__ = [
    "AGENTS",
    "COUNTED",
    "MONTHLY",
    "Standing",
    "add",
    "hold",
    "legal_amount",
    "legal_metric",
    "legal_period",
    "period_of",
    "standing",
]

AGENTS: Final = "agents"
"""The metric that is never counted up: it is the number that run now."""
COUNTED: Final = tuple(metric for metric in METRICS if metric != AGENTS)
"""The metrics that have a total in the ledger."""
MONTHLY: Final = frozenset({"tokens"})
"""The metrics that start anew with each calendar month in UTC."""

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
    """Count and log; returns the total before and after. InvalidArgument, with nothing counted, below zero."""
    period = period_of(entry.metric, entry.period)
    before = tx.usage(entry.tenant_id, period).get(entry.metric, 0)
    after = before + entry.amount
    if after < 0:
        raise InvalidArgument(f"more {entry.metric} would be given back than there are; usage is never below zero")
    tx.set_usage(entry.tenant_id, period, entry.metric, after)
    tx.append_usage(entry)
    return before, after


def hold(tx: Transaction, tenant_id: TenantId, month: str, amounts: Mapping[str, int]) -> None:
    """Reserve the amounts beside the totals; negative ones are let go."""
    periods = {period_of(metric, month) for metric in amounts}
    reserved = {(each.period, each.metric): each.reserved for each in tx.usage_counters(tenant_id, *periods)}
    for metric, amount in amounts.items():
        period = period_of(metric, month)
        tx.set_reserved(tenant_id, period, metric, reserved.get((period, metric), 0) + amount)
