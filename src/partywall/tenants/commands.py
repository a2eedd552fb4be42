"""Commands from other processes: queued in the ledger by the command line, done by the engine that owns the folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any, Final

from partywall.audit import acting_as
from partywall.backend import Placement
from partywall.clock import Clock
from partywall.errors import InvalidArgument
from partywall.isolation import Batch, Isolation, Move
from partywall.journal import error_document, new_operation_id
from partywall.ledger import Ledger, Operation, OperationState, Transaction
from partywall.model import Tenant
from partywall.quotas import Usage
from partywall.tenants.tenants import Suspension, Tenants

__all__ = ["Commands", "queue_command"]

_log: Final = logging.getLogger("partywall.commands")
_EXPIRES: Final = 60.0
"""Seconds after which a queued command is refused: whoever asked has given up waiting."""
_LONG: Final = frozenset({"isolation.move", "isolation.move_pending", "isolation.check_stores", "usage.repair"})
"""What has a thread of its own: a suspension must not wait for somebody's rows to be copied, or stores to be read."""


def queue_command(ledger: Ledger, clock: Clock, name: str, arguments: Mapping[str, Any], *, actor: str) -> str:
    """Queue a command for the engine that owns the folder; returns the operation's id, to follow it by."""
    operation = Operation(
        id=new_operation_id(),
        kind=name,
        tenant_id=None,
        arguments=arguments,
        state=OperationState.QUEUED,
        actor=actor,
        created_at=clock.now(),
        queued=True,
    )
    ledger.write(lambda tx: tx.put_operation(operation))
    return operation.id


class Commands:
    """What the command line may ask of a running engine, by name."""

    def __init__(self, ledger: Ledger, clock: Clock, tenants: Tenants, isolation: Isolation, usage: Usage) -> None:
        self._ledger = ledger
        self._clock = clock
        self._long = ThreadPoolExecutor(1, thread_name_prefix="partywall-commands")
        self._known: dict[str, Callable[..., Any]] = {
            "tenants.create": tenants.create,
            "tenants.update_settings": tenants.update_settings,
            "tenants.change_plan": tenants.change_plan,
            "tenants.rename": tenants.rename,
            "tenants.suspend": tenants.suspend,
            "tenants.resume": tenants.resume,
            "tenants.delete": tenants.delete,
            "tenants.restore": tenants.restore,
            "tenants.purge": tenants.purge,
            "tenants.purge_due": tenants.purge_due,
            "isolation.move": isolation.move,
            "isolation.move_pending": isolation.move_pending,
            "usage.repair": lambda **whose: [asdict(difference) for difference in usage.repair(**whose)],
            "isolation.check_stores": lambda: [asdict(problem) for problem in isolation.check_stores()],
        }

    def run(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Do one command; returns plain JSON."""
        function = self._known.get(name)
        if function is None:
            raise InvalidArgument(f"unknown command '{name}'; known are {', '.join(self._known)}")
        return _plain(function(**arguments))

    def run_queued(self) -> int:
        """Do what other processes queued since the last call; returns how many commands that were."""
        queued = self._ledger.read(lambda tx: tx.operations(OperationState.QUEUED))
        for operation in queued:
            self._run_one(operation)
        return len(queued)

    def recover(self) -> None:
        """Close the commands that a killed engine had begun; what they did is finished by the journal."""
        running = self._ledger.read(lambda tx: tx.operations(OperationState.RUNNING))
        for operation in running:
            if operation.queued:
                self._close(operation, error={"code": "interrupted", "message": "the engine was stopped meanwhile"})

    def close(self) -> None:
        """Wait for the command that is under way; those that wait behind it are closed at the next start."""
        self._long.shutdown(wait=True, cancel_futures=True)

    def _run_one(self, operation: Operation) -> None:
        if self._clock.now() - operation.created_at > _EXPIRES:
            self._close(operation, error={"code": "expired", "message": "no engine took it up in time"})
        elif self._begun(operation):
            if operation.kind in _LONG:
                self._long.submit(self._carry_out, operation)
            else:
                self._carry_out(operation)

    def _carry_out(self, operation: Operation) -> None:
        try:
            with acting_as(operation.actor):
                result = self.run(operation.kind, operation.arguments)
        except Exception as error:  # noqa: BLE001  # answered to whoever asked, whatever it is
            self._close(operation, error=error_document(error))
        else:
            self._close(operation, result=result)

    def _begun(self, operation: Operation) -> bool:
        def begin(tx: Transaction) -> bool:
            current = tx.operation(operation.id)
            if current is None or current.state is not OperationState.QUEUED:
                return False  # whoever asked took it back
            tx.put_operation(replace(operation, state=OperationState.RUNNING))
            return True

        return self._ledger.write(begin)

    def _close(self, operation: Operation, *, result: Any = None, error: Mapping[str, Any] | None = None) -> None:
        state = OperationState.DONE if error is None else OperationState.FAILED
        about = operation.arguments.get("tenant_id") if error is not None and "diff" in error else None
        closed = replace(
            operation,
            tenant_id=about,  # a diff holds the tenant's words: it is forgotten with the tenant
            state=state,
            finished_at=self._clock.now(),
            arguments={},
            result=result,
            error=error,
        )
        self._ledger.write(lambda tx: tx.put_operation(closed))


def _plain(value: Any) -> Any:
    match value:
        case Tenant():
            return {"tenant_id": value.id}
        case Suspension():
            purge_at = value.tenant.purge_at
            return {
                "tenant_id": value.tenant.id,
                "stopped": value.stopped,
                "not_stopped": value.not_stopped,
                "purge_at": purge_at.isoformat() if purge_at else None,
            }
        case Move():
            return {
                "tenant_id": value.tenant_id,
                "from": _place(value.source),
                "to": _place(value.target),
                "rows": value.rows,
                "destroyed": value.destroyed,
            }
        case Batch():
            failed = {tenant_id: error_document(error) for tenant_id, error in value.failed.items()}
            return {"moved": [_plain(move) for move in value.moved], "failed": failed}
        case _:
            return value


def _place(placement: Placement) -> dict[str, str | None]:
    return {"strategy": placement.strategy, "backend": placement.backend, "region": placement.region}
