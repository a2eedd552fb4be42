"""Where a tenant stands against its quotas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from partywall.model import METRICS, Grants

__all__ = ["QuotaReport", "QuotaStatus", "report_of"]


@dataclass(frozen=True, slots=True)
class QuotaStatus:
    """One quota, in whole units (storage in bytes)."""

    current: int
    limit: int | None
    """None is unlimited."""
    reserved: int = 0
    """What reservations hold beside ``current``; it is not there for others."""
    soft: bool = False
    """Whether it refuses nothing, and is only reported as exceeded."""

    @property
    def exceeded(self) -> bool:
        """Whether nothing more fits: what is counted and reserved has reached the limit."""
        return self.limit is not None and self.current + self.reserved >= self.limit

    @property
    def remaining(self) -> int | None:
        """How much more fits, never below zero; None when unlimited."""
        return None if self.limit is None else max(0, self.limit - self.current - self.reserved)


@dataclass(frozen=True, slots=True)
class QuotaReport:
    """Every quota of one tenant."""

    users: QuotaStatus
    projects: QuotaStatus
    tokens: QuotaStatus
    """Of the current calendar month in UTC."""
    storage: QuotaStatus
    agents: QuotaStatus

    def __iter__(self) -> Iterator[tuple[str, QuotaStatus]]:
        return ((metric, getattr(self, metric)) for metric in METRICS)


def report_of(current: Mapping[str, int], reserved: Mapping[str, int], grants: Grants) -> QuotaReport:
    """What is counted and reserved against what is granted."""
    statuses = {
        metric: QuotaStatus(current[metric], limit, reserved.get(metric, 0), metric in grants.soft)
        for metric, limit in grants.quotas
    }
    return QuotaReport(**statuses)
