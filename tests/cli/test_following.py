from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest

import partywall
from partywall.cli.changing import change
from partywall.cli.failures import Failed
from partywall.errors import ConfigError
from partywall.folder import DataFolder
from partywall.ledger import Ledger, Operation, OperationState, open_ledger

WAIT = 30.0


@contextmanager
def owned(folder: DataFolder) -> Iterator[tuple[DataFolder, Ledger]]:
    """An engine's outside without its inside: the folder is owned, and nobody does what is queued."""
    holder = DataFolder(folder.root)
    holder.own()
    try:
        with closing(open_ledger(folder.ledger)) as ledger:
            yield holder, ledger
    finally:
        holder.release()


def await_queued(ledger: Ledger) -> Operation:
    waiting = threading.Event()
    for _ in range(int(WAIT * 100)):
        queued = ledger.read(lambda tx: tx.operations(OperationState.QUEUED))
        if queued:
            return queued[0]
        waiting.wait(0.01)
    raise AssertionError("nothing was queued")


@contextmanager
def asking(folder: DataFolder, acme: str, *, wait: float = WAIT) -> Iterator[list[Any]]:
    """A command that runs meanwhile; what it returned or raised stands in the list after the block."""
    outcome: list[Any] = []

    def ask() -> None:
        try:
            outcome.append(change(folder, "tenants.suspend", {"tenant_id": acme, "reason": "unpaid"}, wait=wait))
        except BaseException as error:  # noqa: BLE001  # the outcome under test
            outcome.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    yield outcome
    thread.join(WAIT)
    assert not thread.is_alive()


def test_a_command_that_no_engine_takes_up_is_withdrawn_and_names_its_operation(folder: DataFolder, acme: str) -> None:
    with owned(folder) as (_, ledger):
        with pytest.raises(Failed, match=r"did not take operation op_[0-9a-f]+ up in time; it was withdrawn") as caught:
            change(folder, "tenants.suspend", {"tenant_id": acme, "reason": "unpaid"}, wait=0.1)
        assert (caught.value.failure.code, caught.value.failure.exit_code) == ("timeout", 11)
        (operation,) = ledger.read(lambda tx: tx.operations())
        assert operation.id in str(caught.value)
        assert operation.state is OperationState.FAILED
    with partywall.open(folder.root, watch=False) as engine:
        assert engine.commands.run_queued() == 0
        assert engine.tenants.get(acme).status == "active"


def test_a_command_that_takes_too_long_goes_on_and_the_operation_is_named(folder: DataFolder, acme: str) -> None:
    with owned(folder) as (_, ledger):
        with asking(folder, acme, wait=1.0) as outcome:
            queued = await_queued(ledger)
            ledger.write(lambda tx: tx.put_operation(replace(queued, state=OperationState.RUNNING)))
        assert isinstance(outcome[0], Failed)
        assert str(outcome[0]) == f"operation {queued.id} is not finished yet; the running engine goes on with it"


def test_an_engine_that_stops_before_it_began_leaves_the_command_to_be_done_here(folder: DataFolder, acme: str) -> None:
    with owned(folder) as (holder, ledger), asking(folder, acme) as outcome:
        await_queued(ledger)
        holder.release()
    assert outcome == [{"tenant_id": acme, "stopped": (), "not_stopped": (), "purge_at": None}]
    with partywall.open(folder.root, watch=False) as engine:
        assert engine.commands.run_queued() == 0
        assert engine.tenants.get(acme).status == "suspended"


def test_an_engine_that_stops_in_the_middle_is_told_as_such(folder: DataFolder, acme: str) -> None:
    with owned(folder) as (holder, ledger), asking(folder, acme) as outcome:
        queued = await_queued(ledger)
        ledger.write(lambda tx: tx.put_operation(replace(queued, state=OperationState.RUNNING)))
        holder.release()
    assert isinstance(outcome[0], Failed)
    assert f"the engine stopped during operation {queued.id}" in str(outcome[0])


def test_an_engine_that_opens_between_the_question_and_the_opening_is_asked(
    folder: DataFolder, acme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with partywall.open(folder.root, watch=False) as engine:
        asked = iter([None])
        owner = DataFolder.owner
        monkeypatch.setattr(DataFolder, "owner", lambda self: next(asked, owner(self)))
        change(folder, "tenants.suspend", {"tenant_id": acme, "reason": "unpaid"})
        assert engine.tenants.get(acme).status == "suspended"


def test_an_engine_that_has_done_it_and_stopped_is_believed(folder: DataFolder, acme: str) -> None:
    with owned(folder) as (holder, ledger), asking(folder, acme) as outcome:
        queued = await_queued(ledger)
        done = replace(queued, state=OperationState.DONE, result={"tenant_id": acme})
        ledger.write(lambda tx: tx.put_operation(done))
        holder.release()
    assert outcome == [{"tenant_id": acme}]


def test_a_folder_that_is_none_is_not_made_by_a_change(folder: DataFolder, acme: str) -> None:
    nowhere = DataFolder(folder.root / "nowhere")
    with pytest.raises(ConfigError, match="partywall init"):
        change(nowhere, "tenants.purge_due", {})
    assert not nowhere.root.exists()


def test_ctrl_c_takes_back_what_no_engine_has_begun(
    folder: DataFolder, acme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    with owned(folder) as (_, ledger):
        monkeypatch.setattr("partywall.cli.changing.time.sleep", interrupted)
        with pytest.raises(KeyboardInterrupt):
            change(folder, "tenants.suspend", {"tenant_id": acme, "reason": "unpaid"})
        monkeypatch.undo()
        (operation,) = ledger.read(lambda tx: tx.operations())
        assert operation.state is OperationState.FAILED


def test_asking_who_owns_a_folder_keeps_no_engine_from_opening_it(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.var.mkdir()
    asking = os.open(folder.var / "engine.lock", os.O_RDONLY | os.O_CREAT)
    fcntl.flock(asking, fcntl.LOCK_SH)
    monkeypatch.setattr("partywall.folder.time.sleep", lambda _seconds: fcntl.flock(asking, fcntl.LOCK_UN))
    try:
        folder.own()
        assert DataFolder(folder.root).owner() == os.getpid()
    finally:
        folder.release()
        os.close(asking)
