"""The ledger's transaction over one SQLite connection."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from partywall.backend import Placement
from partywall.errors import InvalidArgument, LedgerError
from partywall.ledger._connection import failure
from partywall.ledger.contract import (
    AgentProcess,
    AuditRecord,
    LifecycleRecord,
    Operation,
    OperationState,
    Transaction,
    UsageEvent,
)
from partywall.model import Status, Strategy
from partywall.names import Region, Slug, TenantId

__all__ = ["SqliteTransaction"]

_LIFECYCLE = "tenant_id, slug, status, reason, suspended_at, deleted_at, purge_at, purged_at"
_PLACEMENT = "tenant_id, strategy, backend, region, location"
_EVENT = "tenant_id, key, fingerprint, period, at, result"
_OPERATION = "id, kind, tenant_id, arguments, state, actor, created_at, finished_at, progress, result, error, queued"
_AGENT = "agent_id, tenant_id, pid, started"
_AUDIT = "at, actor, action, tenant_id, details, sequence"


def _upsert(table: str, columns: str, keys: str) -> str:
    names = columns.split(", ")
    changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys.split(", "))
    marks = ", ".join("?" * len(names))
    return f"INSERT INTO {table} ({columns}) VALUES ({marks}) ON CONFLICT ({keys}) DO UPDATE SET {changes}"  # noqa: S608  # constants of this module


_PUT_LIFECYCLE = _upsert("lifecycle", _LIFECYCLE, "tenant_id")
_PUT_PLACEMENT = _upsert("placement", _PLACEMENT, "tenant_id")
_PUT_USAGE = _upsert("usage", "tenant_id, period, metric, total", "tenant_id, period, metric")
_PUT_EVENT = _upsert("usage_event", _EVENT, "tenant_id, key")
_PUT_OPERATION = _upsert("operation", _OPERATION, "id")
_PUT_AGENT = _upsert("agent", _AGENT, "agent_id")


def _dump(value: Any, what: str) -> str:
    try:
        # ASCII: a control character or a lone surrogate becomes an escape, so a document is always one line.
        return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        raise InvalidArgument(f"{what} must be plain JSON: objects, lists, texts, finite numbers, booleans") from None


def _moment(value: float | None, what: str) -> float | None:
    if value is not None and (type(value) not in (int, float) or not math.isfinite(value)):
        raise InvalidArgument(f"{what} must be seconds since the epoch")
    return value


def _lifecycle(row: Sequence[Any]) -> LifecycleRecord:
    return LifecycleRecord(TenantId(row[0]), Slug(row[1]), Status(row[2]), *row[3:])


def _placement(row: Sequence[Any]) -> Placement:
    region = None if row[3] is None else Region(row[3])
    return Placement(TenantId(row[0]), Strategy(row[1]), row[2], region, row[4])


def _event(row: Sequence[Any]) -> UsageEvent:
    return UsageEvent(TenantId(row[0]), row[1], row[2], row[3], row[4], json.loads(row[5]))


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


class SqliteTransaction(Transaction):
    """One consistent state; dead once its function has returned or a statement of it has failed."""

    def __init__(self, connection: sqlite3.Connection, *, writable: bool) -> None:
        self._connection = connection
        self._writable = writable
        self._ended = False
        self.failure: LedgerError | None = None
        """What the store did wrong; the work is undone even if it caught this."""
        self.records: list[AuditRecord] = []
        """The audit records that were appended, in order."""

    def end(self) -> None:
        """Refuse whatever is asked of the transaction from now on."""
        self._ended = True

    def _execute(self, statement: str, values: Sequence[Any]) -> sqlite3.Cursor:
        if self._ended:
            raise LedgerError("the ledger's transaction is over; use it only within the function that was given it")
        if self.failure is not None:
            # SQLite may have rolled back on its own, and a statement would then commit by itself.
            raise self.failure
        try:
            return self._connection.execute(statement, values)
        except (OverflowError, UnicodeEncodeError):
            raise InvalidArgument("the ledger holds 64-bit integers and well-formed texts only") from None
        except sqlite3.Error as error:
            self.failure = failure(error)
            raise self.failure from error

    def _all(self, statement: str, *values: Any) -> list[Any]:
        cursor = self._execute(statement, values)
        try:
            return cursor.fetchall()
        except sqlite3.Error as error:
            self.failure = failure(error)
            raise self.failure from error

    def _one(self, statement: str, *values: Any) -> Any:
        rows = self._all(statement, *values)
        return rows[0] if rows else None

    def _write(self, statement: str, *values: Any) -> sqlite3.Cursor:
        if not self._writable:
            raise LedgerError("a read of the ledger must not write; use Ledger.write")
        return self._execute(statement, values)

    def lifecycle(self, tenant_id: TenantId) -> LifecycleRecord | None:
        """The tenant's record."""
        row = self._one(f"SELECT {_LIFECYCLE} FROM lifecycle WHERE tenant_id = ?", tenant_id)  # noqa: S608  # constant
        return None if row is None else _lifecycle(row)

    def lifecycles(self) -> Sequence[LifecycleRecord]:
        """Every record, tombstones included."""
        return [_lifecycle(row) for row in self._all(f"SELECT {_LIFECYCLE} FROM lifecycle ORDER BY tenant_id")]  # noqa: S608  # constant

    def put_lifecycle(self, record: LifecycleRecord) -> None:
        """Write the tenant's record."""
        given = (record.suspended_at, record.deleted_at, record.purge_at, record.purged_at)
        moments = [_moment(moment, "a moment of a tenant's life") for moment in given]
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

    def usage(self, tenant_id: TenantId, period: str) -> Mapping[str, int]:
        """Totals by metric in a period."""
        return dict(self._all("SELECT metric, total FROM usage WHERE tenant_id = ? AND period = ?", tenant_id, period))

    def set_usage(self, tenant_id: TenantId, period: str, metric: str, total: int) -> None:
        """Write one total; InvalidArgument unless it is an integer from 0 to 2^63 - 1."""
        if type(total) is not int or not 0 <= total < 2**63:
            raise InvalidArgument(f"the total of {metric} must be a whole number from 0 to 2^63 - 1")
        self._write(_PUT_USAGE, tenant_id, period, metric, total)

    def usage_event(self, tenant_id: TenantId, key: str) -> UsageEvent | None:
        """The event that was acknowledged under an idempotency key."""
        row = self._one(f"SELECT {_EVENT} FROM usage_event WHERE tenant_id = ? AND key = ?", tenant_id, key)  # noqa: S608  # constant
        return None if row is None else _event(row)

    def put_usage_event(self, event: UsageEvent) -> None:
        """Remember an acknowledged event."""
        at = _moment(event.at, "the moment of a usage event")
        result = _dump(dict(event.result), "the result of a usage event")
        self._write(_PUT_EVENT, event.tenant_id, event.key, event.fingerprint, event.period, at, result)

    def forget_usage_events(self, before: float) -> int:
        """Drop the events acknowledged before a moment; returns how many."""
        return self._write("DELETE FROM usage_event WHERE at < ?", _moment(before, "the moment")).rowcount

    def forget_tenant(self, tenant_id: TenantId) -> None:
        """Drop the tenant's usage, events, placement and agents; its lifecycle and audit records stay."""
        for table in ("usage", "usage_event", "placement", "agent"):
            self._write(f"DELETE FROM {table} WHERE tenant_id = ?", tenant_id)  # noqa: S608  # a constant of the line above

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
            _dump(dict(operation.arguments), "the arguments of an operation"),
            str(operation.state),
            operation.actor,
            _moment(operation.created_at, "the moment of an operation"),
            _moment(operation.finished_at, "the moment of an operation"),
            operation.progress,
            _dump(operation.result, "the result of an operation"),
            None if operation.error is None else _dump(dict(operation.error), "the error of an operation"),
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
            _moment(record.at, "the moment of an audit record"),
            record.actor,
            record.action,
            record.tenant_id,
            _dump(dict(record.details), "the details of an audit record"),
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
