from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from partywall.errors import TenantSuspended
from partywall.model import Status

ACME, REQUESTS = "ten_acme", "api_requests"
ALGORITHMS = ("sliding_window", "fixed_window", "gcra")
RACERS = 8
WAIT = 60.0


@contextmanager
def switching_all_the_time() -> Iterator[None]:
    """Threads change places about every microsecond."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def each_step(frame: Any, event: str, argument: Any) -> Any:
    frame.f_trace_opcodes = True
    return each_step


@contextmanager
def traced() -> Iterator[None]:
    """Threads may change places at every single instruction, as under a debugger."""
    before, others = sys.gettrace(), threading.gettrace()
    with switching_all_the_time():
        threading.settrace(each_step)
        sys.settrace(each_step)
        try:
            yield
        finally:
            sys.settrace(before)
            threading.settrace(others)  # type: ignore[arg-type]  # None is what takes it away


def race(*works: Callable[[], Any]) -> list[Any]:
    """Runs each in a thread of its own, all from the same moment; returns what they returned."""
    start = threading.Barrier(len(works))
    outcomes: list[Any] = [None] * len(works)

    def run(index: int) -> None:
        start.wait(WAIT)
        try:
            outcomes[index] = works[index]()
        except BaseException as error:  # noqa: BLE001  # shown by the assertion on the outcome
            outcomes[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
        assert not thread.is_alive()
    return outcomes


def caller(check: Callable[[], Any], calls: int) -> Callable[[], int]:
    return lambda: sum(check().allowed for _ in range(calls))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("disturbed", "rounds", "calls"), [(switching_all_the_time, 20, 300), (traced, 3, 120)])
def test_l1_racers_never_pass_the_limit_and_never_lose_a_permit(
    limited_to, rate, algorithm, disturbed, rounds, calls
) -> None:
    limiter, clock, _ = limited_to(rate(500, 1, algorithm))
    handle = limiter.bind(ACME, REQUESTS)
    checks = [handle.check, lambda: limiter.check(ACME, REQUESTS)] * (RACERS // 2)
    for _ in range(rounds):
        with disturbed():
            assert sum(race(*(caller(check, calls) for check in checks))) == 500
        clock.advance(2)


def test_l1_with_one_permit_left_one_racer_wins(limited_to, rate) -> None:
    limiter, clock, _ = limited_to(rate(1, 1))
    for _ in range(50):
        with switching_all_the_time():
            assert sum(race(*[caller(lambda: limiter.check(ACME, REQUESTS), 1)] * RACERS)) == 1
        clock.advance(2)


def test_racers_with_different_costs_never_pass_the_limit(limited_to, rate) -> None:
    limiter, clock, _ = limited_to(rate(500, 1))

    def spend(cost: int) -> int:
        return sum(cost * limiter.check(ACME, REQUESTS, cost).allowed for _ in range(200))

    for _ in range(20):
        with switching_all_the_time():
            spent = sum(race(*(lambda cost=cost: spend(cost) for cost in (1, 1, 1, 2, 3, 5))))
        assert spent == 500
        clock.advance(2)


@pytest.mark.parametrize(("disturbed", "rounds"), [(switching_all_the_time, 150), (traced, 15)])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_window_that_rolls_over_under_racers_admits_no_more_than_each_window_allows(
    limited_to, rate, algorithm, disturbed, rounds
) -> None:
    limiter, clock, _ = limited_to(rate(50, 1, algorithm))
    for _ in range(rounds):
        clock.advance(0.99)
        racers = [caller(lambda: limiter.check(ACME, REQUESTS), 20)] * (RACERS - 1)
        with disturbed():
            *admitted, _ = race(*racers, lambda: clock.advance(0.0100001))
        after = sum(limiter.check(ACME, REQUESTS).allowed for _ in range(60))
        most = 100 if algorithm == "fixed_window" else 51
        assert 50 <= sum(admitted) + after <= most
        clock.advance(2)


def test_a_reader_that_was_held_up_takes_no_permit_of_a_window_that_was_counted(limited_to, rate) -> None:
    limiter, clock, _ = limited_to(rate(10, 1, "fixed_window"))
    assert limiter.check(ACME, REQUESTS)
    held_up = limiter._cells[REQUESTS][ACME]
    clock.advance(1)
    assert sum(limiter.check(ACME, REQUESTS).allowed for _ in range(20)) == 10
    assert list(held_up) == []


@pytest.mark.parametrize("disturbed", [switching_all_the_time, traced])
def test_after_a_suspension_returned_no_racer_is_admitted(limited_to, rate, disturbed) -> None:
    for _ in range(10):
        limiter, _, directory = limited_to(rate(1_000_000))
        handle = limiter.bind(ACME, REQUESTS)
        suspended = threading.Event()

        def run(check: Callable[[], Any], suspended: threading.Event = suspended) -> int:
            late = 0
            for _ in range(5_000):
                known = suspended.is_set()
                try:
                    check()
                    late += known
                except TenantSuspended:
                    return late
            return late

        def suspend(directory: Any = directory, suspended: threading.Event = suspended) -> int:
            directory.set_status(ACME, Status.SUSPENDED)
            suspended.set()
            return 0

        checks = [handle.check, lambda limiter=limiter: limiter.check(ACME, REQUESTS)] * 2
        with disturbed():
            assert race(*(lambda check=check: run(check) for check in checks), suspend) == [0] * 5


def test_edits_under_racers_neither_pass_the_limit_nor_lose_a_permit(limited_to, rate) -> None:
    limiter, clock, directory = limited_to(rate(400, 1))

    def edit() -> int:
        for _ in range(30):
            directory.set_plan("free", api_requests=rate(400, 1))
        return 0

    for _ in range(10):
        with switching_all_the_time():
            assert sum(race(*[caller(lambda: limiter.check(ACME, REQUESTS), 300)] * 4, edit)) == 400
        clock.advance(2)


def test_sweeping_under_racers_forgets_no_usage(limited_to, rate) -> None:
    limiter, clock, _ = limited_to(rate(400, 1))

    def sweep() -> int:
        for _ in range(50):
            limiter.sweep()
        return 0

    for _ in range(10):
        with switching_all_the_time():
            assert sum(race(*[caller(lambda: limiter.check(ACME, REQUESTS), 300)] * 4, sweep)) == 400
        clock.advance(2)


def test_a_check_from_within_a_check_does_not_stop_the_thread(limited_to, rate, monkeypatch) -> None:
    limiter, _, directory = limited_to(rate(10))
    grants = directory.grants

    def interrupted(tenant_id: str) -> Any:
        monkeypatch.setattr(directory, "grants", grants)
        limiter.check("ten_beta", REQUESTS)
        return grants(tenant_id)

    monkeypatch.setattr(directory, "grants", interrupted)
    checked = threading.Thread(target=limiter.check, args=(ACME, REQUESTS), daemon=True)
    checked.start()
    checked.join(WAIT)
    assert not checked.is_alive()


@pytest.mark.parametrize("costs", [{REQUESTS: 1}, {REQUESTS: 2}, {REQUESTS: 1, "exports": 1}])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_call_by_a_signal_handler_amid_another_is_counted_and_costs_no_permit(
    limited_to, rate, monkeypatch, algorithm, costs
) -> None:
    limiter, _, directory = limited_to(rate(50, 60, algorithm))
    directory.set_plan("free", api_requests=rate(50, 60, algorithm), exports=rate(50, 60, algorithm))
    tables = type(limiter._accounts._tables)
    holding = tables.holding

    def interrupted(self: Any, *arguments: Any) -> Any:
        monkeypatch.setattr(tables, "holding", holding)
        assert limiter.check(ACME, REQUESTS)
        return holding(self, *arguments)

    taken = 0
    for _ in range(5):
        monkeypatch.setattr(tables, "holding", interrupted)
        for _ in range(3):
            assert limiter.check_all(ACME, costs) if len(costs) > 1 else limiter.check(ACME, REQUESTS, costs[REQUESTS])
        taken += 3 * costs[REQUESTS] + (tables.holding is holding)
        assert limiter.status(ACME, REQUESTS).remaining == 50 - taken
        limiter._cells[REQUESTS][ACME].drain()
    monkeypatch.setattr(tables, "holding", interrupted)
    assert limiter.refund(ACME, REQUESTS).remaining == 50 - taken


@pytest.mark.parametrize("warm", [0, 1, 20])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_suspension_by_a_signal_handler_amid_a_check_is_in_force_from_then_on(
    limited_to, rate, monkeypatch, algorithm, warm
) -> None:
    limiter, _, directory = limited_to(rate(50, 60, algorithm))
    tables = type(limiter._accounts._tables)
    holding = tables.holding

    def interrupted(self: Any, *arguments: Any) -> Any:
        directory.set_status(ACME, Status.SUSPENDED)
        return holding(self, *arguments)

    for _ in range(warm):
        limiter.check(ACME, REQUESTS)
    if warm:
        limiter._cells[REQUESTS][ACME].drain()
    with monkeypatch.context() as patched:
        patched.setattr(tables, "holding", interrupted)
        with pytest.raises(TenantSuspended):
            limiter.check(ACME, REQUESTS)
    with pytest.raises(TenantSuspended):
        limiter.check(ACME, REQUESTS)
