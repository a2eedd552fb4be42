"""Where a tenant stands against its quotas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from partywall.model import METRICS, QuotaLimits

__all__ = ["QuotaReport", "QuotaStatus", "report_of"]


@dataclass(frozen=True, slots=True)
class QuotaStatus:
    """One quota, in whole units (storage in bytes)."""

    current: int
    limit: int | None
    """None is unlimited."""

    @property
    def exceeded(self) -> bool:
        """Whether nothing more fits: the current usage has reached the limit."""
        return self.limit is not None and self.current >= self.limit

    @property
    def remaining(self) -> int | None:
        """How much more fits, never below zero; None when unlimited."""
        return None if self.limit is None else max(0, self.limit - self.current)


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


def report_of(current: Mapping[str, int], limits: QuotaLimits) -> QuotaReport:
    """The totals against the limits."""
    return QuotaReport(**{metric: QuotaStatus(current[metric], limit) for metric, limit in limits})
