from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

ACME, REQUESTS = "ten_acme", "api_requests"
ALGORITHMS = ("sliding_window", "fixed_window", "gcra", "gcra/2")
RACERS, CALLS, WAIT = 4, 6, 60.0


class Racers:
    """Threads that wait for each race, so that thousands of races cost no thread each."""

    def __init__(self) -> None:
        self.start, self.finish = threading.Barrier(RACERS + 1), threading.Barrier(RACERS + 1)
        self.work: Callable[[int], Any] | None = None
        self.outcomes: list[Any] = [None] * RACERS
        self.threads = [threading.Thread(target=self._run, args=(index,)) for index in range(RACERS)]
        for thread in self.threads:
            thread.start()

    def _run(self, index: int) -> None:
        while True:
            self.start.wait(WAIT)
            if self.work is None:
                return
            try:
                self.outcomes[index] = self.work(index)
            except BaseException as error:  # noqa: BLE001  # shown by the sum of the outcomes
                self.outcomes[index] = error
            self.finish.wait(WAIT)

    def race(self, work: Callable[[int], int], meanwhile: Callable[[], None]) -> int:
        self.work = work
        self.start.wait(WAIT)
        meanwhile()
        self.finish.wait(WAIT)
        return sum(self.outcomes)

    def close(self) -> None:
        self.work = None
        self.start.wait(WAIT)
        for thread in self.threads:
            thread.join(WAIT)


@pytest.fixture
def racers() -> Iterator[Racers]:
    before = sys.getswitchinterval()
    racers = Racers()
    sys.setswitchinterval(1e-6)
    try:
        yield racers
    finally:
        sys.setswitchinterval(before)
        racers.close()


def most_of(reference, limit, moments: list[tuple[int, int]]) -> int:
    """What the sequential algorithm admits of so many calls at each moment, one after another."""
    plain = reference(limit)
    return sum(plain.admit(now, 1) for now, calls in moments for _ in range(calls))


def run_races(racers, limited_to, rate, reference, algorithm: str, count: int) -> None:
    """Each race: racers, some on a handle, call while the clock moves; every call after it is counted too."""
    rng = random.Random(count)
    calls = RACERS * CALLS
    for _ in range(count):
        limit = rate(rng.choice([1, 2, 5, 10, 20]), 1, algorithm)
        limiter, clock, _ = limited_to(limit)
        start, handle = clock.monotonic(), limiter.bind(ACME, REQUESTS)
        clock.advance(rng.random())
        warm = rng.randint(0, 3)
        taken = sum(limiter.check(ACME, REQUESTS).allowed for _ in range(warm))
        step = rng.choice([0.0, 0.0, 0.05, rng.random(), 1.5])
        before = int((clock.monotonic() - start) * 1_000_000_000)

        def work(index: int, limiter: Any = limiter, handle: Any = handle) -> int:
            check = handle.check if index % 2 else lambda: limiter.check(ACME, REQUESTS)
            return sum(check().allowed for _ in range(CALLS))

        taken += racers.race(work, lambda clock=clock, step=step: clock.advance(step))
        taken += sum(limiter.check(ACME, REQUESTS).allowed for _ in range(calls))
        after = int((clock.monotonic() - start) * 1_000_000_000)
        # Taken before the clock moved or after it: nothing in between can add up to more, or to less.
        most = most_of(reference, limit, [(before, warm + calls), (after, calls)])
        least = most_of(reference, limit, [(before, warm), (after, 2 * calls)])
        assert least <= taken <= most, (algorithm, limit, step)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_l1_no_race_admits_more_than_the_sequential_algorithm(racers, limited_to, rate, reference, algorithm) -> None:
    run_races(racers, limited_to, rate, reference, algorithm, 150)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_l1_no_race_admits_more_where_iterators_cannot_be_shared(
    racers, limited_to, rate, reference, algorithm, monkeypatch
) -> None:
    monkeypatch.setattr("sys._is_gil_enabled", lambda: False, raising=False)
    run_races(racers, limited_to, rate, reference, algorithm, 50)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_l1_no_race_of_ten_thousand_admits_more_than_the_sequential_algorithm(
    racers, limited_to, rate, reference, algorithm
) -> None:
    run_races(racers, limited_to, rate, reference, algorithm, 10_000)


@pytest.mark.parametrize("locked", [False, True])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_l1_racers_for_a_combination_take_in_both_limits_or_in_neither(
    racers, limited_to, rate, algorithm, locked, monkeypatch
) -> None:
    if locked:
        monkeypatch.setattr("sys._is_gil_enabled", lambda: False, raising=False)
    for _ in range(40):
        limit = rate(13, 60, algorithm)
        limiter, _, directory = limited_to(limit)
        directory.set_plan("free", api_requests=limit, tokens_out=rate(60), exports=rate(100, per="user"))
        costs = {REQUESTS: 1, "tokens_out": 5, "exports": 2}

        def work(index: int, limiter: Any = limiter, costs: Any = costs) -> int:
            admitted = 0
            for _ in range(CALLS):
                admitted += limiter.check_all(ACME, costs, user_id=f"u{index % 2}").allowed
                # On the path without the lock too, and given back: nothing is left of it in the end.
                if limiter.check(ACME, "tokens_out"):
                    limiter.refund(ACME, "tokens_out")
            return admitted

        admitted = racers.race(work, lambda: None)
        used = {user: 100 - limiter.status(ACME, "exports", user_id=user).remaining for user in ("u0", "u1")}
        assert admitted <= min(12, limit.at_once)
        assert limiter.status(ACME, REQUESTS).remaining == limit.at_once - admitted
        assert limiter.status(ACME, "tokens_out").remaining == 60 - 5 * admitted
        assert sum(used.values()) == 2 * admitted
