"""Calls by a signal handler or finalizer amid another call on the same thread, which holds the limiter's lock."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import pytest

from partywall.errors import TenantSuspended
from partywall.limits import Limiter
from partywall.model import Status

ACME, REQUESTS, TOKENS, UPLOADS, EXPORTS = "ten_acme", "api_requests", "tokens", "uploads", "exports"
KEYS = (REQUESTS, TOKENS, UPLOADS, EXPORTS, "x")


class Interruptedly(Exception):
    """What a handler raises, as a timeout does."""


def ask(limiter: Limiter, action: str, cost: int = 1) -> bool:
    return limiter.check(ACME, action, cost, "ann").allowed


def take_both(limiter: Limiter) -> bool:
    return limiter.check_all(ACME, {REQUESTS: 1, TOKENS: 2, "x": 1}, user_id="ann").allowed


CALLS: dict[str, Callable[[Limiter], Any]] = {
    "one": lambda limiter: ask(limiter, REQUESTS),
    "two": lambda limiter: ask(limiter, REQUESTS, 2),
    "several": take_both,
    "refund": lambda limiter: limiter.refund(ACME, REQUESTS, 2, "ann").remaining,
    "user": lambda limiter: ask(limiter, UPLOADS, 2),
    "user_and_tenant": lambda limiter: ask(limiter, EXPORTS),
    "made_up": lambda limiter: ask(limiter, "y"),
    "another": lambda limiter: ask(limiter, "z"),
    "peek": lambda limiter: limiter.peek(ACME, REQUESTS, 2).remaining,
    "status": lambda limiter: limiter.status(ACME, REQUESTS).remaining,
    "sweep": lambda limiter: limiter.sweep() * 0,
}


class Step:
    """Does something else before the ``number``-th instruction that a call takes within the limiter."""

    def __init__(self, number: int = -1, meanwhile: Callable[[], Any] | None = None, again: int = 0) -> None:
        self.number, self.meanwhile, self.again = number, meanwhile, again
        self.answer: Any = None
        self.seen: list[tuple[Any, int]] = []

    def trace(self, frame: Any, event: str, argument: Any) -> Any:
        if "/partywall/limits/" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            self.seen.append((frame.f_code, frame.f_lasti))
            if len(self.seen) in (self.number, self.number + self.again) and self.meanwhile:
                sys.settrace(None)
                self.answer = self.meanwhile()
                sys.settrace(self.trace)
        return self.trace if self.number < 0 or len(self.seen) < self.number + self.again else None

    def amid(self, call: Callable[[], Any]) -> Any:
        before = sys.gettrace()
        sys.settrace(self.trace)
        try:
            return call()
        finally:
            sys.settrace(before)


def steps(call: Callable[[], Any]) -> list[int]:
    """The numbers of a call's instructions; of those in a loop the first two rounds."""
    dry = Step()
    dry.amid(call)
    times: Counter[tuple[Any, int]] = Counter()
    numbers = []
    for number, place in enumerate(dry.seen, 1):
        times[place] += 1
        if times[place] <= 2:
            numbers.append(number)
    assert len(numbers) > 20
    return numbers


@pytest.fixture(scope="module")
def prepared(limited_to, rate) -> Callable[..., tuple[Limiter, Any, Any]]:
    """A limiter of its own, its keys new or known, or known and idle since."""

    @cache
    def plan(algorithm: str, requests: int) -> dict[str, Any]:
        return {
            REQUESTS: rate(requests, 60, algorithm),
            TOKENS: rate(2 * requests, 60, algorithm),
            UPLOADS: rate(requests, 60, algorithm, per="user"),
            EXPORTS: rate(requests, 60, algorithm, perUser={"maxRequests": 2, "windowMs": 60_000}),
            "default": rate(4, 60, algorithm, perUser={"maxRequests": 3, "windowMs": 60_000}),
        }

    def make(algorithm: str, warm: str, requests: int = 4) -> tuple[Limiter, Any, Any]:
        limits = plan(algorithm, requests)
        limiter, clock, directory = limited_to(limits[REQUESTS])
        directory.set_plan("free", **limits)
        if warm != "new":
            for action in KEYS:
                ask(limiter, action)
            clock.advance(600 if warm == "idle" else 0.5)
        return limiter, clock, directory

    return make


def state(limiter: Limiter, clock: Any) -> list[Any]:
    """What every key has left, as it says itself and as it then grants, and how many keys stay when all are idle."""
    left = [limiter.status(ACME, action, user_id="ann").remaining for action in KEYS]
    granted = [sum(ask(limiter, action) for _ in range(9)) for action in (REQUESTS, EXPORTS)]
    shelves = limiter._shelves
    indexed = sum(map(len, shelves.by_action.values()))
    indexed += sum(len(users) for actions in shelves.by_user.values() for users in actions.values())
    assert indexed == len(shelves)
    clock.advance(600)
    limiter.sweep()
    return [left, granted, limiter.sweep(), shelves._unnamed]


def amid_every_step(prepared, algorithm, warm, outer, inner) -> None:
    orders = []
    for swapped in (False, True):
        limiter, clock, _ = prepared(algorithm, warm)
        answers = [CALLS[name](limiter) for name in ((inner, outer) if swapped else (outer, inner))]
        orders.append([answers[::-1] if swapped else answers, state(limiter, clock)])
    limiter, _, _ = prepared(algorithm, warm)
    for number in steps(lambda limiter=limiter: CALLS[outer](limiter)):
        limiter, clock, _ = prepared(algorithm, warm)
        step = Step(number, lambda limiter=limiter: CALLS[inner](limiter))
        answer = step.amid(lambda limiter=limiter: CALLS[outer](limiter))
        assert [[answer, step.answer], state(limiter, clock)] in orders, step.seen[-1]


@pytest.mark.parametrize(
    ("outer", "inner", "warm"),
    [
        ("two", "two", "known"),
        ("two", "one", "idle"),
        ("several", "several", "new"),
        ("several", "two", "known"),
        ("refund", "two", "known"),
        ("user", "user", "new"),
        ("user_and_tenant", "user_and_tenant", "known"),
        ("made_up", "another", "known"),
        ("status", "one", "known"),
        ("sweep", "several", "idle"),
        ("sweep", "sweep", "idle"),
    ],
)
def test_a_call_amid_any_step_of_another_is_as_if_one_came_after_the_other(prepared, outer, inner, warm) -> None:
    amid_every_step(prepared, "sliding_window", warm, outer, inner)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("warm", ["new", "known", "idle"])
@pytest.mark.parametrize("algorithm", ["sliding_window", "gcra/2"])
@pytest.mark.parametrize("outer", CALLS)
def test_any_call_amid_any_step_of_any_other_is_as_if_one_came_after_the_other(
    prepared, outer, algorithm, warm
) -> None:
    for inner in CALLS if algorithm == "sliding_window" else ("two", "several"):
        amid_every_step(prepared, algorithm, warm, outer, inner)


@pytest.mark.parametrize(
    ("outer", "warm"),
    [
        ("two", "known"),
        ("two", "idle"),
        ("several", "new"),
        ("refund", "known"),
        ("user_and_tenant", "new"),
        ("sweep", "idle"),
    ],
)
def test_a_handler_that_raises_at_any_step_leaves_a_call_counted_or_not_and_no_permit_lost(
    prepared, outer, warm
) -> None:
    def interrupt() -> None:
        raise Interruptedly

    outcomes = []
    for counted in (False, True):
        limiter, clock, _ = prepared("sliding_window", warm)
        if counted:
            CALLS[outer](limiter)
        outcomes.append(state(limiter, clock))
    limiter, _, _ = prepared("sliding_window", warm)
    for number in steps(lambda limiter=limiter: CALLS[outer](limiter)):
        limiter, clock, _ = prepared("sliding_window", warm)
        step = Step(number, interrupt)
        with suppress(Interruptedly):
            step.amid(lambda limiter=limiter: CALLS[outer](limiter))
        assert state(limiter, clock) in outcomes, step.seen[-1]


def out_of_service(limiter: Limiter) -> bool:
    for action in KEYS:
        with pytest.raises(TenantSuspended):
            ask(limiter, action)
    return True


@pytest.mark.parametrize(
    ("outer", "warm"), [("one", "new"), ("two", "known"), ("several", "new"), ("refund", "known"), ("user", "known")]
)
def test_a_suspension_at_any_step_of_a_call_lets_no_later_call_pass(prepared, outer, warm) -> None:
    limiter, _, _ = prepared("sliding_window", warm)
    for number in steps(lambda limiter=limiter: CALLS[outer](limiter)):
        limiter, _, directory = prepared("sliding_window", warm)
        step = Step(number, lambda directory=directory: directory.set_status(ACME, Status.SUSPENDED))
        with suppress(TenantSuspended):
            step.amid(lambda limiter=limiter: CALLS[outer](limiter))
        assert out_of_service(limiter), step.seen[-1]


@pytest.mark.parametrize("inner", ["two", "several", "user"])
def test_a_call_at_any_step_of_a_suspension_does_not_keep_the_tenant_in_service(prepared, inner) -> None:
    def call(limiter: Limiter) -> None:
        with suppress(TenantSuspended):
            CALLS[inner](limiter)

    _, _, directory = prepared("sliding_window", "known", 50)
    for number in steps(lambda directory=directory: directory.set_status(ACME, Status.SUSPENDED)):
        limiter, _, directory = prepared("sliding_window", "known", 50)
        step = Step(number, lambda limiter=limiter: call(limiter))
        step.amid(lambda directory=directory: directory.set_status(ACME, Status.SUSPENDED))
        assert out_of_service(limiter), step.seen[-1]


def in_place(seen: list[tuple[Any, int]]) -> list[int]:
    """The numbers of the instructions that put a change in place."""
    return [number for number, (code, _) in enumerate(seen, 1) if code.co_filename.endswith("shelves.py")]


@pytest.mark.parametrize("outer", ["two", "several"])
def test_two_calls_one_after_the_other_amid_a_third_are_both_counted(prepared, outer) -> None:
    limiter, _, _ = prepared("sliding_window", "known", 100)
    dry = Step()
    dry.amid(lambda limiter=limiter: CALLS[outer](limiter))
    numbers = in_place(dry.seen)
    assert len(numbers) > 60
    for number in numbers[:: 1 if outer == "two" else 3]:
        for again in (1, 2, 3, 4, 6, 9, 13):
            limiter, _, _ = prepared("sliding_window", "known", 100)
            before, made = limiter.status(ACME, REQUESTS).remaining, []
            step = Step(number, lambda limiter=limiter, made=made: made.append(ask(limiter, REQUESTS, 2)), again)
            step.amid(lambda limiter=limiter: CALLS[outer](limiter))
            taken = (2 if outer == "two" else 1) + 2 * len(made)
            assert limiter.status(ACME, REQUESTS).remaining == before - taken, (number, again, made)


@pytest.mark.parametrize("costs", [{REQUESTS: 2}, {REQUESTS: 2, TOKENS: 1}])
def test_a_signal_handler_that_calls_all_the_time_never_passes_the_limit_and_loses_no_permit(prepared, costs) -> None:
    box: list[Limiter] = []
    inner: list[bool] = []

    def handler(number: int, frame: Any) -> None:
        inner.extend(limiter.allow(ACME, REQUESTS, 2) for limiter in box)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        for _ in range(40):
            limiter, _, _ = prepared("sliding_window", "new", 2000)
            inner.clear()
            box.append(limiter)
            signal.setitimer(signal.ITIMER_REAL, 2e-4, 2e-4)
            if len(costs) > 1:
                outer = [limiter.check_all(ACME, costs).allowed for _ in range(600)]
            else:
                outer = [limiter.allow(ACME, REQUESTS, 2) for _ in range(600)]
            signal.setitimer(signal.ITIMER_REAL, 0)
            box.clear()
            rest = sum(limiter.allow(ACME, REQUESTS) for _ in range(2100))
            assert 2 * sum(outer) + 2 * sum(inner) + rest == 2000
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
