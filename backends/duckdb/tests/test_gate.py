# tests need no docstrings
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from partywall.errors import BackendError
from partywall_duckdb.gate import Busy, Gate


def test_readers_pass_while_writes_are_stopped() -> None:
    gate = Gate()
    with gate.writes_stopped(1.0):
        gate.enter(writing=False, patience=0.0)
        with pytest.raises(BackendError):
            gate.enter(writing=True, patience=0.0)
        gate.leave(writing=False)
    gate.enter(writing=True, patience=0.0)


def test_nobody_passes_while_all_is_stopped() -> None:
    gate = Gate()
    with gate.writes_stopped(1.0), gate.all_stopped(1.0):
        for writing in (False, True):
            with pytest.raises(BackendError):
                gate.enter(writing=writing, patience=0.0)
    gate.enter(writing=False, patience=0.0)


@pytest.mark.parametrize("patience", [0.0, 0.05])
def test_housekeeping_gives_up_on_those_who_stay_inside(patience: float) -> None:
    gate = Gate()
    gate.enter(writing=True, patience=0.0)
    with pytest.raises(Busy), gate.writes_stopped(patience):
        raise AssertionError
    gate.enter(writing=True, patience=0.0)
    gate.leave(writing=True)
    gate.leave(writing=True)
    gate.enter(writing=False, patience=0.0)
    with gate.writes_stopped(patience), pytest.raises(Busy), gate.all_stopped(patience):
        raise AssertionError


def test_an_error_in_housekeeping_opens_the_gate_again() -> None:
    gate = Gate()
    with pytest.raises(ValueError, match="x"), gate.writes_stopped(0.0), gate.all_stopped(0.0):
        raise ValueError("x")
    gate.enter(writing=True, patience=0.0)


def test_those_who_wait_go_in_when_housekeeping_ends() -> None:
    gate = Gate()
    with ThreadPoolExecutor(2) as threads:
        with gate.writes_stopped(1.0):
            waiting = [threads.submit(gate.enter, writing=True, patience=30.0) for _ in range(2)]
        for each in waiting:
            each.result(10)
    with pytest.raises(Busy), gate.writes_stopped(0.0):
        raise AssertionError
