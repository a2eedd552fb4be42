"""Commands that change something: done by the engine that owns the folder, or by one opened for the purpose."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any, Final

from partywall.audit import acting_as
from partywall.cli.failures import Failed, Failure, failure_from
from partywall.clock import SystemClock
from partywall.errors import DataFolderInUse, LedgerError
from partywall.folder import DataFolder
from partywall.ledger import Ledger, Operation, OperationState, Transaction, open_ledger

__all__ = ["actor", "change"]

_WAIT: Final = 30.0
"""Seconds that a running engine has to finish a command."""
_LOOK: Final = 0.05
"""Seconds between two looks at what became of it."""
_GONE: Final = {"code": "withdrawn", "message": "the engine stopped before it took the command up"}


def actor() -> str:
    """Who runs this command, for the audit log: the account of the process, whatever its environment says."""
    try:
        login = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        login = f"uid-{os.getuid()}"
    return f"cli:{login}"


def change(folder: DataFolder, name: str, arguments: Mapping[str, Any], *, wait: float = _WAIT) -> Any:
    """Do one command of the engine and return its result, plain JSON; raises what made it fail."""
    deadline = time.monotonic() + wait
    folder.require()
    while True:
        if folder.owner() is None:
            try:
                return _do(folder, name, arguments)
            except DataFolderInUse:
                # An engine opened the folder in between: it is the one to ask.
                if time.monotonic() > deadline:
                    raise
        operation = _ask(folder, name, arguments, deadline)
        if operation is not None:
            return _outcome(operation)


def _do(folder: DataFolder, name: str, arguments: Mapping[str, Any]) -> Any:
    from partywall.engine import open as open_engine  # noqa: PLC0415  # most commands do without the engine

    with open_engine(folder.root, watch=False) as engine, acting_as(actor()):
        return engine.commands.run(name, arguments)


def _ask(folder: DataFolder, name: str, arguments: Mapping[str, Any], deadline: float) -> Operation | None:
    """The finished operation; None when the engine stopped before it began, so that nothing was done."""
    from partywall.tenants import queue_command  # noqa: PLC0415  # as above

    clock = SystemClock()
    with closing(open_ledger(folder.ledger, made_before=folder.opened_before)) as ledger:
        operation_id = queue_command(ledger, clock, name, arguments, actor=actor())
        try:
            return _follow(folder, ledger, operation_id, deadline)
        except KeyboardInterrupt:
            _withdrawn(ledger, operation_id)
            raise


def _follow(folder: DataFolder, ledger: Ledger, operation_id: str, deadline: float) -> Operation | None:
    while True:
        operation = _look(ledger, operation_id)
        if operation.state in (OperationState.DONE, OperationState.FAILED):
            return operation
        gone = folder.owner() is None
        if not gone and time.monotonic() <= deadline:
            time.sleep(_LOOK)
            continue
        if not _withdrawn(ledger, operation_id):
            operation = _look(ledger, operation_id)
            if operation.state is OperationState.RUNNING:
                raise _unfinished(operation_id, gone=gone, withdrawn=False)
            return operation
        if gone:
            return None
        raise _unfinished(operation_id, gone=False, withdrawn=True)


def _look(ledger: Ledger, operation_id: str) -> Operation:
    operation = ledger.read(lambda tx: tx.operation(operation_id))
    if operation is None:
        raise LedgerError(f"operation {operation_id} is not in the ledger any more")
    return operation


def _withdrawn(ledger: Ledger, operation_id: str) -> bool:
    """Take the command back unless an engine has begun it; whether that succeeded."""

    def withdraw(tx: Transaction) -> bool:
        operation = tx.operation(operation_id)
        if operation is None or operation.state is not OperationState.QUEUED:
            return False
        tx.put_operation(
            replace(operation, state=OperationState.FAILED, finished_at=SystemClock().now(), arguments={}, error=_GONE)
        )
        return True

    return ledger.write(withdraw)


def _unfinished(operation_id: str, *, gone: bool, withdrawn: bool) -> Failed:
    if gone:
        message = f"the engine stopped during operation {operation_id}; its next start finishes or undoes it"
    elif withdrawn:
        message = f"the running engine did not take operation {operation_id} up in time; it was withdrawn"
    else:
        message = f"operation {operation_id} is not finished yet; the running engine goes on with it"
    return Failed(Failure("timeout", message, LedgerError.exit_code))


def _outcome(operation: Operation) -> Any:
    if operation.state is OperationState.FAILED:
        raise Failed(failure_from(operation.error or {}))
    return operation.result
