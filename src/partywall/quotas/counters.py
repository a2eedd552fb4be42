"""The counters in the ledger: one total for each metric and period, whole numbers only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from partywall.errors import InvalidArgument
from partywall.ledger import Transaction
from partywall.model import METRICS
from partywall.names import TenantId

__all__ = ["AGENTS", "COUNTED", "add", "legal_amount", "legal_metric", "legal_period", "totals"]

AGENTS: Final = "agents"
"""The metric that is never counted up: it is the number that run now."""
COUNTED: Final = tuple(metric for metric in METRICS if metric != AGENTS)
"""The metrics that have a total in the ledger."""
MONTHLY: Final = frozenset({"tokens"})
"""The metrics that start anew with each calendar month in UTC."""

_LARGEST: Final = 2**53
_MONTH: Final = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")


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


def totals(tx: Transaction, tenant_id: TenantId, month: str) -> dict[str, int]:
    """Every counted metric's total: the month's for what is monthly, the present one for the others."""
    present, monthly = tx.usage(tenant_id, ""), tx.usage(tenant_id, month)
    return {metric: (monthly if metric in MONTHLY else present).get(metric, 0) for metric in COUNTED}


def add(tx: Transaction, tenant_id: TenantId, month: str, amounts: Mapping[str, int]) -> dict[str, int]:
    """Count the amounts and return all totals; InvalidArgument, with nothing counted, for one below zero."""
    after = totals(tx, tenant_id, month)
    for metric, amount in amounts.items():
        after[metric] += amount
        if after[metric] < 0:
            raise InvalidArgument(f"more {metric} would be given back than there are; usage is never below zero")
        tx.set_usage(tenant_id, month if metric in MONTHLY else "", metric, after[metric])
    return after
