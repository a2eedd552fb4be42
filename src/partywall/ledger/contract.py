"""What the rooms above ask of the ledger, whatever store holds it.

All changes happen inside ``Ledger.write``: the function that is passed in sees one consistent state,
all that it does is committed together or not at all, and when ``write`` returns it is on disk. The
function may run again after a conflict, so it must do nothing but use the transaction it is given.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from partywall.backend import Placement
from partywall.ledger.accounts import (
    ReservationRecord,
    ReservationState,
    RowTally,
    UsageCounter,
    UsageEntry,
    UsageEvent,
)
from partywall.model import Status
from partywall.names import Slug, TenantId

__all__ = [
    "AgentProcess",
    "AuditRecord",
    "Ledger",
    "LifecycleRecord",
    "Operation",
    "OperationState",
    "ReservationRecord",
    "ReservationState",
    "RowTally",
    "Transaction",
    "UsageCounter",
    "UsageEntry",
    "UsageEvent",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LifecycleRecord:
    """What the engine itself imposed on a tenant; moments are seconds since the epoch."""

    tenant_id: TenantId
    slug: Slug
    status: Status
    """ACTIVE imposes nothing."""
    reason: str | None = None
    suspended_at: float | None = None
    deleted_at: float | None = None
    purge_at: float | None = None
    purged_at: float | None = None
    """Set once nothing of the tenant is left; the id is never used again."""


class OperationState(StrEnum):
    """How far an operation has come."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Operation:
    """A step of a tenant's life that must be finished or undone, or a command queued for the running engine."""

    id: str
    kind: str
    tenant_id: TenantId | None
    arguments: Mapping[str, Any]
    """Plain JSON."""
    state: OperationState
    actor: str
    created_at: float
    finished_at: float | None = None
    progress: str = ""
    result: Any = None
    error: Mapping[str, Any] | None = None
    """``code`` and ``message`` of what made it fail."""
    queued: bool = False
    """Whether it came from another process, rather than being the journal of a call."""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One change: who did what to whom, when, and what became of it."""

    at: float
    actor: str
    """``file``, ``engine``, ``api``, ``user:<id>`` or ``cli:<login>``."""
    action: str
    """Such as ``tenant.suspended``."""
    tenant_id: TenantId | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    """Plain JSON; for edits ``changes``: path to ``[before, after]``."""
    sequence: int = 0
    """The record's place in the ledger, from 1; given when it is committed."""


@dataclass(frozen=True, slots=True)
class AgentProcess:
    """A command that runs for a tenant, so that the next engine can stop it if this one is killed."""

    agent_id: str
    tenant_id: TenantId
    pid: int
    started: str
    """The operating system's own start mark of the process, against reused pids."""


class Transaction(ABC):
    """One consistent state of the ledger, and the changes made to it."""

    @abstractmethod
    def lifecycle(self, tenant_id: TenantId) -> LifecycleRecord | None:
        """The tenant's record."""

    @abstractmethod
    def lifecycles(self) -> Sequence[LifecycleRecord]:
        """Every record, tombstones included."""

    @abstractmethod
    def put_lifecycle(self, record: LifecycleRecord) -> None:
        """Write the tenant's record."""

    @abstractmethod
    def placement(self, tenant_id: TenantId) -> Placement | None:
        """Where the tenant's data lives; None before it is provisioned."""

    @abstractmethod
    def placements(self) -> Sequence[Placement]:
        """Every placement."""

    @abstractmethod
    def put_placement(self, placement: Placement) -> None:
        """Record where the tenant's data lives from now on."""

    @abstractmethod
    def usage(self, tenant_id: TenantId, period: str) -> Mapping[str, int]:
        """Totals by metric in a period: a month such as ``2026-11``, or ``""`` for what is not monthly."""

    @abstractmethod
    def set_usage(self, tenant_id: TenantId, period: str, metric: str, total: int) -> None:
        """Write one total."""

    @abstractmethod
    def usage_counters(self, tenant_id: TenantId, *periods: str) -> Sequence[UsageCounter]:
        """The tenant's totals and what is reserved beside them, in these periods or in all."""

    @abstractmethod
    def set_reserved(self, tenant_id: TenantId, period: str, metric: str, reserved: int) -> None:
        """Write how much reservations hold."""

    @abstractmethod
    def append_usage(self, entry: UsageEntry) -> None:
        """Add a line to the log of usage."""

    @abstractmethod
    def logged_usage(self, tenant_id: TenantId) -> Mapping[tuple[str, str], int]:
        """The sums of the tenant's log, by month and metric."""

    @abstractmethod
    def tenants_with_usage(self) -> Sequence[TenantId]:
        """Every tenant that has a total or a line in the log."""

    @abstractmethod
    def reservation(self, reservation_id: str) -> ReservationRecord | None:
        """One reservation, whatever its state."""

    @abstractmethod
    def reservation_of_key(self, tenant_id: TenantId, key: str) -> ReservationRecord | None:
        """The tenant's newest reservation that was made under an idempotency key."""

    @abstractmethod
    def held_reservations(
        self,
        tenant_id: TenantId | None = None,
        *,
        expired_by: float | None = None,
        not_of: str | None = None,
        limit: int = 1000,
    ) -> Sequence[ReservationRecord]:
        """Reservations that are RESERVED: a tenant's, those whose lease ended by a moment, those of other owners."""

    @abstractmethod
    def put_reservation(self, reservation: ReservationRecord) -> None:
        """Write a new reservation."""

    @abstractmethod
    def extend_reservation(self, reservation_id: str, expires_at: float) -> bool:
        """Move the end of the lease if the reservation is still RESERVED; whether it was."""

    @abstractmethod
    def settle_reservation(
        self, reservation_id: str, state: ReservationState, settled_at: float, counted: Mapping[str, int]
    ) -> bool:
        """Move the reservation on if it is still RESERVED; whether it was."""

    @abstractmethod
    def forget_reservations(self, before: float) -> int:
        """Drop the reservations that were settled before a moment; returns how many."""

    @abstractmethod
    def row_tallies(self, tenant_id: TenantId | None = None) -> Sequence[RowTally]:
        """The tallies of counted rows, a tenant's or everybody's."""

    @abstractmethod
    def put_row_tally(self, tally: RowTally) -> None:
        """Write a tally."""

    @abstractmethod
    def forget_row_tally(self, tenant_id: TenantId, metric: str) -> None:
        """Drop a tally: rows of the metric are not counted any more."""

    @abstractmethod
    def mark_threshold(self, tenant_id: TenantId, period: str, metric: str, percent: int, limit: int) -> bool:
        """Remember that the tenant was told of a threshold in a period; whether it is new."""

    @abstractmethod
    def forget_thresholds(self, before_period: str) -> int:
        """Drop what was remembered of thresholds in earlier periods; returns how many."""

    @abstractmethod
    def usage_event(self, tenant_id: TenantId, key: str) -> UsageEvent | None:
        """The event that was acknowledged under an idempotency key."""

    @abstractmethod
    def put_usage_event(self, event: UsageEvent) -> None:
        """Remember an acknowledged event."""

    @abstractmethod
    def forget_usage_events(self, before: float) -> int:
        """Drop the events acknowledged before a moment; returns how many."""

    @abstractmethod
    def forget_tenant(self, tenant_id: TenantId) -> None:
        """Drop all but the tenant's lifecycle and audit records: usage and its log, reservations, placement, agents.

        Of its operations those that failed go, because the reason may be told in the tenant's own words.
        """

    @abstractmethod
    def operation(self, operation_id: str) -> Operation | None:
        """One operation."""

    @abstractmethod
    def operations(self, *states: OperationState) -> Sequence[Operation]:
        """The operations in any of these states, oldest first; every one when no state is named."""

    @abstractmethod
    def put_operation(self, operation: Operation) -> None:
        """Write an operation."""

    @abstractmethod
    def agents(self) -> Sequence[AgentProcess]:
        """Every command that was started and not seen to end."""

    @abstractmethod
    def put_agent(self, agent: AgentProcess) -> None:
        """Remember a started command."""

    @abstractmethod
    def forget_agent(self, agent_id: str) -> None:
        """Drop a command that has ended."""

    @abstractmethod
    def append_audit(self, record: AuditRecord) -> AuditRecord:
        """Write a record; returns it with its sequence number."""

    @abstractmethod
    def redact_audit(self, tenant_id: TenantId) -> int:
        """Empty the details of the tenant's records: who did what and when stays. Returns how many."""

    @abstractmethod
    def audit(
        self, *, tenant_id: TenantId | None = None, after: int = 0, limit: int = 100, newest: bool = False
    ) -> Sequence[AuditRecord]:
        """Records with a higher sequence number, oldest first; ``newest`` takes the last ones instead."""


class Ledger(ABC):
    """The durable store under usage, quotas, lifecycle, placements, operations and audit."""

    @abstractmethod
    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run a function in a transaction and commit it durably.

        Raises what the function raises, having written nothing, or LedgerError when the store fails.
        """

    @abstractmethod
    def write_soon(self, work: Callable[[Transaction], object]) -> None:
        """Have a function run in a transaction soon, before the ledger closes, and wait for nothing.

        May be called within another function's transaction, as a finalizer does that the garbage collector runs
        there. What the function raises is logged. Raises LedgerError when the ledger is closed.
        """

    @abstractmethod
    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run a function on one consistent state; it must not write."""

    @abstractmethod
    def changed(self) -> bool:
        """Whether another process wrote since the last call; cheap enough to ask many times a second."""

    @abstractmethod
    def on_audit(self, listener: Callable[[AuditRecord], None]) -> None:
        """Call the listener with each record after its commit; what it raises is logged."""

    @abstractmethod
    def sync(self) -> None:
        """Put on disk what was acknowledged before, where commits don't wait for that. Raises LedgerError."""

    @abstractmethod
    def scrub(self) -> None:
        """Make sure that no bytes of forgotten rows are left in the store's files or logs."""

    @abstractmethod
    def close(self) -> None:
        """Commit what is under way and let go of the store."""
