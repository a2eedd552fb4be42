"""The journal: a step of a tenant's life that is begun is finished or undone, also across a kill.

An operation is committed to the ledger before anything is touched. What a crash interrupts is still
``running`` at the next start, and is taken up there by the function that would have gone on with it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from partywall.audit import AuditLog
from partywall.clock import Clock
from partywall.errors import PartywallError, TenantConflict
from partywall.ledger import Ledger, LifecycleRecord, Operation, OperationState, Transaction
from partywall.names import TenantId

__all__ = ["Journal", "error_document", "new_operation_id"]


def new_operation_id() -> str:
    """A fresh operation id."""
    return f"op_{secrets.token_hex(8)}"


def error_document(error: Exception) -> dict[str, str]:
    """What the ledger keeps of an error: its code, text and diff when it is ours, its type otherwise."""
    if isinstance(error, TenantConflict) and error.diff is not None:
        return {"code": error.code, "message": str(error), "diff": error.diff}
    if isinstance(error, PartywallError):
        return {"code": error.code, "message": str(error)}
    return {"code": "error", "message": f"unexpected {type(error).__name__}"}


@dataclass(frozen=True, slots=True)
class Journal:
    """Writes operations, lifecycle records and their audit records in one ledger transaction each."""

    ledger: Ledger
    audit: AuditLog
    clock: Clock

    def begin(
        self,
        kind: str,
        tenant_id: TenantId,
        arguments: Mapping[str, Any],
        *,
        also: Callable[[Transaction], None] = lambda _: None,
    ) -> Operation:
        """Commit the intent; ``also`` runs in the same transaction and may refuse by raising."""
        operation = Operation(
            id=new_operation_id(),
            kind=kind,
            tenant_id=tenant_id,
            arguments=arguments,
            state=OperationState.RUNNING,
            actor=self.audit.actor(),
            created_at=self.clock.now(),
        )

        def write(tx: Transaction) -> None:
            also(tx)
            tx.put_operation(operation)

        self.ledger.write(write)
        return operation

    def advance(
        self,
        operation: Operation,
        progress: str,
        arguments: Mapping[str, Any],
        *,
        also: Callable[[Transaction], None] = lambda _: None,
    ) -> Operation:
        """Commit how far the operation is, with further arguments; returns it as it is then."""
        advanced = replace(operation, progress=progress, arguments={**operation.arguments, **arguments})

        def write(tx: Transaction) -> None:
            also(tx)
            tx.put_operation(advanced)

        self.ledger.write(write)
        return advanced

    def finish(
        self,
        operation: Operation,
        action: str,
        details: Mapping[str, Any],
        *,
        also: Callable[[Transaction], None] = lambda _: None,
    ) -> None:
        """Commit that the operation is done, with its audit record."""
        done = replace(operation, state=OperationState.DONE, finished_at=self.clock.now(), arguments={})

        def write(tx: Transaction) -> None:
            also(tx)
            tx.put_operation(done)
            self.audit.record(tx, action, tenant_id=operation.tenant_id, actor=operation.actor, details=details)

        self.ledger.write(write)

    def fail(
        self, operation: Operation, error: Exception, *, also: Callable[[Transaction], None] = lambda _: None
    ) -> None:
        """Commit that the operation was undone, and why."""
        undone = replace(
            operation,
            state=OperationState.FAILED,
            finished_at=self.clock.now(),
            arguments={},
            error=error_document(error),
        )

        def write(tx: Transaction) -> None:
            also(tx)
            tx.put_operation(undone)

        self.ledger.write(write)

    def impose(self, record: LifecycleRecord, action: str, details: Mapping[str, Any]) -> None:
        """Commit a lifecycle record with its audit record."""

        def write(tx: Transaction) -> None:
            tx.put_lifecycle(record)
            self.audit.record(tx, action, tenant_id=record.tenant_id, details=details)

        self.ledger.write(write)

    def unfinished(self) -> list[Operation]:
        """What a crash left behind, oldest first; commands of other processes are not among it."""
        running = self.ledger.read(lambda tx: tx.operations(OperationState.RUNNING))
        return [operation for operation in running if not operation.queued]

    @contextmanager
    def undoing(self, undo: Callable[[Exception], None]) -> Iterator[None]:
        """Run ``undo`` if the block fails; its own failure leaves the operation for the next start."""
        try:
            yield
        except Exception as error:
            undo(error)
            raise
