"""The ledger's transaction over one SQLite connection."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from partywall.backend import Placement
from partywall.errors import InvalidArgument
from partywall.ledger._accounts import Accounts
from partywall.ledger._statements import dump, moment, upsert
from partywall.ledger.contract import (
    AgentProcess,
    AuditRecord,
    LifecycleRecord,
    Operation,
    OperationState,
)
from partywall.model import Status, Strategy
from partywall.names import Region, Slug, TenantId

__all__ = ["SqliteTransaction"]

_LIFECYCLE = "tenant_id, slug, status, reason, suspended_at, deleted_at, purge_at, purged_at"
_PLACEMENT = "tenant_id, strategy, backend, region, location"
_OPERATION = "id, kind, tenant_id, arguments, state, actor, created_at, finished_at, progress, result, error, queued"
_AGENT = "agent_id, tenant_id, pid, started"
_FORGOTTEN = ("usage", "usage_log", "usage_event", "reservation", "row_tally", "threshold", "placement", "agent")
_AUDIT = "at, actor, action, tenant_id, details, sequence"


_PUT_LIFECYCLE = upsert("lifecycle", _LIFECYCLE, "tenant_id")
_PUT_PLACEMENT = upsert("placement", _PLACEMENT, "tenant_id")
_PUT_OPERATION = upsert("operation", _OPERATION, "id")
_PUT_AGENT = upsert("agent", _AGENT, "agent_id")


def _lifecycle(row: Sequence[Any]) -> LifecycleRecord:
    return LifecycleRecord(TenantId(row[0]), Slug(row[1]), Status(row[2]), *row[3:])


def _placement(row: Sequence[Any]) -> Placement:
    region = None if row[3] is None else Region(row[3])
    return Placement(TenantId(row[0]), Strategy(row[1]), row[2], region, row[4])


def _operation(row: Sequence[Any]) -> Operation:
    return Operation(
        id=row[0],
        kind=row[1],
        tenant_id=row[2],
        arguments=json.loads(row[3]),
        state=OperationState(row[4]),
        actor=row[5],
        created_at=row[6],
        finished_at=row[7],
        progress=row[8],
        result=json.loads(row[9]),
        error=None if row[10] is None else json.loads(row[10]),
        queued=bool(row[11]),
    )


def _agent(row: Sequence[Any]) -> AgentProcess:
    return AgentProcess(row[0], TenantId(row[1]), row[2], row[3])


def _audit(row: Sequence[Any]) -> AuditRecord:
    return AuditRecord(row[0], row[1], row[2], row[3], json.loads(row[4]), row[5])


class SqliteTransaction(Accounts):
    """One consistent state; dead once its function has returned or a statement of it has failed."""

    def lifecycle(self, tenant_id: TenantId) -> LifecycleRecord | None:
        """The tenant's record."""
        self._require_alive()
        known = self._batch.lifecycles
        if tenant_id not in known:
            row = self._one(f"SELECT {_LIFECYCLE} FROM lifecycle WHERE tenant_id = ?", tenant_id)  # noqa: S608  # constant
            known[tenant_id] = None if row is None else _lifecycle(row)
        return known[tenant_id]

    def lifecycles(self) -> Sequence[LifecycleRecord]:
        """Every record, tombstones included."""
        return [_lifecycle(row) for row in self._all(f"SELECT {_LIFECYCLE} FROM lifecycle ORDER BY tenant_id")]  # noqa: S608  # constant

    def put_lifecycle(self, record: LifecycleRecord) -> None:
        """Write the tenant's record."""
        given = (record.suspended_at, record.deleted_at, record.purge_at, record.purged_at)
        moments = [moment(each, "a moment of a tenant's life") for each in given]
        self._batch.lifecycles.pop(record.tenant_id, None)
        self._write(_PUT_LIFECYCLE, record.tenant_id, record.slug, str(record.status), record.reason, *moments)

    def placement(self, tenant_id: TenantId) -> Placement | None:
        """Where the tenant's data lives; None before it is provisioned."""
        row = self._one(f"SELECT {_PLACEMENT} FROM placement WHERE tenant_id = ?", tenant_id)  # noqa: S608  # constant
        return None if row is None else _placement(row)

    def placements(self) -> Sequence[Placement]:
        """Every placement."""
        return [_placement(row) for row in self._all(f"SELECT {_PLACEMENT} FROM placement ORDER BY tenant_id")]  # noqa: S608  # constant

    def put_placement(self, placement: Placement) -> None:
        """Record where the tenant's data lives from now on."""
        strategy = str(placement.strategy)
        self._write(
            _PUT_PLACEMENT, placement.tenant_id, strategy, placement.backend, placement.region, placement.location
        )

    def forget_tenant(self, tenant_id: TenantId) -> None:
        """Drop all but the tenant's lifecycle and audit records."""
        self.flush()
        self._batch.counters.clear()
        for table in _FORGOTTEN:
            self._write(f"DELETE FROM {table} WHERE tenant_id = ?", tenant_id)  # noqa: S608  # constants
        # Why an operation failed may be told in the tenant's own words.
        self._write("DELETE FROM operation WHERE tenant_id = ? AND state = ?", tenant_id, str(OperationState.FAILED))

    def operation(self, operation_id: str) -> Operation | None:
        """One operation."""
        row = self._one(f"SELECT {_OPERATION} FROM operation WHERE id = ?", operation_id)  # noqa: S608  # constant
        return None if row is None else _operation(row)

    def operations(self, *states: OperationState) -> Sequence[Operation]:
        """The operations in any of these states, oldest first; every one when no state is named."""
        wanted = [str(state) for state in states or OperationState]
        marks = ", ".join("?" * len(wanted))
        order = "ORDER BY created_at, place"
        rows = self._all(f"SELECT {_OPERATION} FROM operation WHERE state IN ({marks}) {order}", *wanted)  # noqa: S608  # question marks
        return [_operation(row) for row in rows]

    def put_operation(self, operation: Operation) -> None:
        """Write an operation."""
        self._write(
            _PUT_OPERATION,
            operation.id,
            operation.kind,
            operation.tenant_id,
            dump(dict(operation.arguments), "the arguments of an operation"),
            str(operation.state),
            operation.actor,
            moment(operation.created_at, "the moment of an operation"),
            moment(operation.finished_at, "the moment of an operation"),
            operation.progress,
            dump(operation.result, "the result of an operation"),
            None if operation.error is None else dump(dict(operation.error), "the error of an operation"),
            int(operation.queued),
        )

    def agents(self) -> Sequence[AgentProcess]:
        """Every command that was started and not seen to end."""
        return [_agent(row) for row in self._all(f"SELECT {_AGENT} FROM agent ORDER BY agent_id")]  # noqa: S608  # constant

    def put_agent(self, agent: AgentProcess) -> None:
        """Remember a started command."""
        self._write(_PUT_AGENT, agent.agent_id, agent.tenant_id, agent.pid, agent.started)

    def forget_agent(self, agent_id: str) -> None:
        """Drop a command that has ended."""
        self._write("DELETE FROM agent WHERE agent_id = ?", agent_id)

    def append_audit(self, record: AuditRecord) -> AuditRecord:
        """Write a record; returns it with its sequence number."""
        cursor = self._write(
            "INSERT INTO audit (at, actor, action, tenant_id, details) VALUES (?, ?, ?, ?, ?)",
            moment(record.at, "the moment of an audit record"),
            record.actor,
            record.action,
            record.tenant_id,
            dump(dict(record.details), "the details of an audit record"),
        )
        written = replace(record, sequence=cursor.lastrowid or 0)
        self.records.append(written)
        return written

    def redact_audit(self, tenant_id: TenantId) -> int:
        """Empty the details of the tenant's records."""
        emptied = "UPDATE audit SET details = '{}' WHERE tenant_id = ? AND details <> '{}'"
        return self._write(emptied, tenant_id).rowcount

    def audit(
        self, *, tenant_id: TenantId | None = None, after: int = 0, limit: int = 100, newest: bool = False
    ) -> Sequence[AuditRecord]:
        """Records with a higher sequence number, oldest first; ``newest`` takes the last ones instead."""
        if limit < 0:
            raise InvalidArgument("the number of audit records asked for must not be negative")
        whose, values = ("", []) if tenant_id is None else ("tenant_id = ? AND ", [tenant_id])
        order = "DESC" if newest else "ASC"
        rows = self._all(
            f"SELECT {_AUDIT} FROM audit WHERE {whose}sequence > ? ORDER BY sequence {order} LIMIT ?",  # noqa: S608  # constants
            *values,
            after,
            limit,
        )
        return [_audit(row) for row in (reversed(rows) if newest else rows)]
