"""What the ledger keeps of usage, reservations and counted rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from partywall.names import TenantId

__all__ = ["ReservationRecord", "ReservationState", "RowTally", "UsageCounter", "UsageEntry", "UsageEvent"]


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """One acknowledged change of usage that carried an idempotency key."""

    tenant_id: TenantId
    key: str
    fingerprint: str
    """Digest of what was asked for: the same key with another body is a conflict."""
    period: str
    at: float
    result: Mapping[str, int]
    """The totals that were answered, by metric."""


@dataclass(frozen=True, slots=True)
class UsageEntry:
    """One line of the log of usage, which is only ever added to: what the totals are made of."""

    tenant_id: TenantId
    period: str
    """The calendar month in UTC that it is counted in, for every metric."""
    metric: str
    amount: int
    at: float
    """When it happened; when it was written down is ``recorded_at``."""
    recorded_at: float
    kind: str
    """``counted``, ``consumed``, ``committed``, ``expired``, ``corrected``, ``rows`` for rows that came or went, or
    ``opening`` for a total of before.
    """
    reason: str | None = None
    source: str | None = None
    """The id of the reservation that was settled."""


@dataclass(frozen=True, slots=True)
class UsageCounter:
    """One total, and what is held beside it by reservations."""

    period: str
    metric: str
    total: int
    reserved: int


class ReservationState(StrEnum):
    """Where a reservation stands; what is not RESERVED never changes again."""

    RESERVED = "reserved"
    COMMITTED = "committed"
    RELEASED = "released"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class ReservationRecord:
    """A part of a tenant's quotas that is held until it is settled or its lease ends."""

    id: str
    tenant_id: TenantId
    owner: str
    """The engine that made it: what an engine leaves behind, the next one settles."""
    period: str
    """The month whose quotas it holds, and in which it is counted whenever it is committed."""
    amounts: Mapping[str, int]
    state: ReservationState
    created_at: float
    expires_at: float
    charge_on_expiry: bool
    cap_overrun: bool
    key: str | None = None
    settled_at: float | None = None
    counted: Mapping[str, int] = field(default_factory=dict)
    """What was counted when it was settled."""


@dataclass(frozen=True, slots=True)
class RowTally:
    """How many rows of the tables that a quota counts are in a tenant's total, and what is being done to them."""

    tenant_id: TenantId
    metric: str
    tables: tuple[str, ...]
    """The tables whose rows were counted, by name."""
    rows: int
    held: int = 0
    """What the writer at work holds of the quota for rows that it adds."""
    open: bool = False
    """Whether rows may have come or gone that ``rows`` does not know of yet."""
