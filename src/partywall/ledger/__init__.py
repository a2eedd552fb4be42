"""The durable store under usage, quotas, lifecycle, placements, operations and audit."""

from partywall.ledger.contract import (
    AgentProcess,
    AuditRecord,
    Ledger,
    LifecycleRecord,
    Operation,
    OperationState,
    ReservationRecord,
    ReservationState,
    RowTally,
    Transaction,
    UsageCounter,
    UsageEntry,
    UsageEvent,
)
from partywall.ledger.sqlite import Durability, SqliteLedger, open_ledger

__all__ = [
    "AgentProcess",
    "AuditRecord",
    "Durability",
    "Ledger",
    "LifecycleRecord",
    "Operation",
    "OperationState",
    "ReservationRecord",
    "ReservationState",
    "RowTally",
    "SqliteLedger",
    "Transaction",
    "UsageCounter",
    "UsageEntry",
    "UsageEvent",
    "open_ledger",
]
