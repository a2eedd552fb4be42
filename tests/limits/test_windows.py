from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ACME, BETA, REQUESTS = "ten_acme", "ten_beta", "api_requests"
ALGORITHMS = ("sliding_window", "fixed_window", "gcra", "gcra/3")


def agree(limiter, clock, limit, reference, steps, start) -> None:
    """Takes the steps, each seconds to pass and a cost, with limiter and reference, and compares every answer."""
    plain = reference(limit)
    for seconds, cost in steps:
        clock.advance(seconds)
        now = int((clock.monotonic() - start) * 1_000_000_000)
        left = plain.left(now)
        exact = limiter.status(ACME, REQUESTS)
        decision = limiter.check(ACME, REQUESTS, cost)
        assert exact.remaining == max(0, left)
        assert decision.allowed == plain.admit(now, cost), (now, cost, left)
        assert exact.allowed == (left >= 1)
        if decision.allowed:
            assert decision.remaining <= plain.left(now)
        else:
            assert decision.remaining == max(0, left)


def random_steps(rng, count, window):
    for _ in range(count):
        pause = rng.choice(
            [0, 0, 0, rng.uniform(0, window / 20), rng.uniform(0, window / 2), rng.uniform(0, 3 * window)]
        )
        yield pause, rng.choice([1, 1, 1, 1, 1, 1, 2, 3])


def take_random_steps(limited_to, rate, reference, algorithm, count, seed) -> None:
    rng = random.Random(seed)
    for _ in range(20):
        start = rng.choice([0.0, rng.uniform(0, 1e5), rng.uniform(1e6, 1e9)])
        limit = rate(rng.choice([3, 7, 10, 100, 3000]), rng.choice([0.05, 1, 60, 3600]), algorithm)
        limiter, clock, _ = limited_to(limit, start)
        steps = random_steps(rng, count // 20, limit.window_ms / 1000)
        agree(limiter, clock, limit, reference, ((pause, min(cost, limit.at_once)) for pause, cost in steps), start)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_answer_is_that_of_the_plain_algorithm(limited_to, rate, reference, algorithm) -> None:
    take_random_steps(limited_to, rate, reference, algorithm, 20_000, seed=1)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_answer_is_that_of_the_plain_algorithm_over_many_steps(limited_to, rate, reference, algorithm) -> None:
    for seed in range(2, 32):
        take_random_steps(limited_to, rate, reference, algorithm, 20_000, seed)


@settings(max_examples=150, deadline=None)
@given(
    requests=st.integers(1, 12),
    window_ms=st.integers(1, 5_000),
    algorithm=st.sampled_from(ALGORITHMS),
    start=st.floats(0, 1e8),
    steps=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 12)), max_size=60),
)
def test_no_sequence_of_calls_is_answered_otherwise_than_by_the_plain_algorithm(
    limited_to, rate, reference, requests, window_ms, algorithm, start, steps
) -> None:
    limit = rate(requests, window_ms / 1000, algorithm)
    limiter, clock, _ = limited_to(limit, start)
    taken = [(part * 2.5 * window_ms / 1000, min(cost, limit.at_once)) for part, cost in steps]
    agree(limiter, clock, limit, reference, taken, start)


def test_where_iterators_cannot_be_shared_every_answer_is_counted_under_the_lock(
    limited_to, rate, reference, monkeypatch
) -> None:
    monkeypatch.setattr("sys._is_gil_enabled", lambda: False, raising=False)
    limit = rate(7, 1)
    limiter, clock, _ = limited_to(limit)
    agree(limiter, clock, limit, reference, random_steps(random.Random(3), 2_000, 1), clock.monotonic())
    handle = limiter.bind(ACME, REQUESTS)
    handle.check()
    assert [len(list(cell)) for cells in limiter._cells.values() for cell in cells.values()] == [0]


@pytest.mark.parametrize("requests", [1024, 1025, 5000])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_limit_larger_than_one_table_counts_down_without_a_gap(limited_to, rate, algorithm, requests) -> None:
    limit = rate(requests, 60, algorithm)
    limiter, _, _ = limited_to(limit)
    remaining = [limiter.check(ACME, REQUESTS).remaining for _ in range(limit.at_once)]
    assert remaining == list(range(limit.at_once - 1, -1, -1))
    assert not limiter.check(ACME, REQUESTS)


def test_decisions_of_large_limits_do_not_pile_up(limited_to, rate) -> None:
    limiter, _, _ = limited_to(rate(10_000_000))
    for _ in range(400):
        limiter.check(ACME, REQUESTS, 5_000)
    held = sum(map(len, limiter._accounts._tables._chunks.values()))
    assert held == limiter._accounts._tables._held <= 1 << 18
    assert limiter.check(ACME, REQUESTS).remaining == 8_000_000 - 1


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_retry_after_is_never_too_early_and_never_later_than_needed(limited_to, rate, algorithm) -> None:
    rng = random.Random(5)
    for _ in range(300):
        start, requests = rng.choice([0.0, 3e5 * rng.random(), 1e9 * rng.random()]), rng.randint(1, 50)
        limit = rate(requests, rng.choice([0.001, 0.3, 60, 86_400]), algorithm)
        limiter, clock, _ = limited_to(limit, start)
        refusals = 0
        while refusals < 10:
            cost = rng.choice([1, 1, rng.randint(1, limit.at_once)])
            decision = limiter.check(ACME, REQUESTS, cost)
            if decision.allowed:
                continue
            refusals += 1
            wait = decision.retry_after
            at = clock.monotonic() + wait
            clock.advance(wait * 0.999 * rng.random())
            # The clock's own steps may be wider than the wait.
            assert clock.monotonic() >= at or not limiter.check(ACME, REQUESTS, cost)
            clock.advance(decision.retry_after)
            assert decision.retry_after == 0.0
            assert limiter.check(ACME, REQUESTS, cost)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_after_reset_after_the_whole_limit_is_there_again(limited_to, rate, algorithm) -> None:
    rng = random.Random(6)
    for _ in range(200):
        requests = rng.randint(2, 30)
        limit = rate(requests, 60, algorithm)
        limiter, clock, _ = limited_to(limit, 1e6 * rng.random())
        clock.advance(rng.uniform(0, 200))
        decisions = [limiter.check(ACME, REQUESTS) for _ in range(rng.randint(1, requests + 2))]
        # Windows end at the same moment for every call in them; what comes back evenly, comes after the last.
        decision = decisions[-1] if "gcra" in algorithm else rng.choice(decisions)
        assert decision.reset_after <= 120
        clock.advance(decision.reset_after)
        assert limiter.status(ACME, REQUESTS).remaining == limit.at_once
        assert limiter.check(ACME, REQUESTS, limit.at_once)


def test_reset_after_read_in_a_later_window_is_late_but_never_early(limited_to, rate) -> None:
    limiter, clock, _ = limited_to(rate(10, 60))
    decision = limiter.check(ACME, REQUESTS)
    clock.advance(90)
    assert decision.reset_after >= limiter.status(ACME, REQUESTS).reset_after == pytest.approx(30)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_l9_a_stepped_wall_clock_changes_nothing(limited_to, rate, algorithm) -> None:
    limit = rate(10, 60, algorithm)
    limiter, clock, _ = limited_to(limit)
    for step in (3600, -7200, 1e9):
        assert sum(limiter.check(ACME, REQUESTS).allowed for _ in range(20)) == limit.at_once
        before = limiter.check(ACME, REQUESTS).retry_after
        clock.step_wall(step)
        refused = limiter.check(ACME, REQUESTS)
        assert not refused
        assert refused.retry_after == before
        clock.advance(180)


def burst_across_an_edge(limited_to, rate, algorithm) -> list[float]:
    limiter, clock, _ = limited_to(rate(100, 60, algorithm), 0.0)
    admitted = []
    clock.advance(59.9)
    for _ in range(600):
        admitted += [clock.monotonic()] * sum(limiter.check(ACME, REQUESTS).allowed for _ in range(110))
        clock.advance(0.1)
    return admitted


def test_l10_a_burst_across_the_edge_earns_no_more_than_the_part_of_the_window_that_has_passed(
    limited_to, rate
) -> None:
    admitted = burst_across_an_edge(limited_to, rate, "sliding_window")
    assert sum(at < 60 for at in admitted) == 100
    for tenths in range(1, 600):
        since = tenths / 10
        assert sum(60 <= at < 60 + since for at in admitted) <= 100 * since / 60 + 1
    assert sum(at < 62 for at in admitted) <= 104


def test_l10_a_burst_under_gcra_earns_no_more_than_came_back_since(limited_to, rate) -> None:
    admitted = burst_across_an_edge(limited_to, rate, "gcra/10")
    assert sum(at < 60 for at in admitted) == 10
    for tenths in range(1, 600):
        assert sum(at < 60 + tenths / 10 for at in admitted) <= 10 + 100 * (tenths / 10 + 0.1) / 60


def test_l10_a_fixed_window_admits_twice_the_limit_across_the_edge_as_documented(limited_to, rate) -> None:
    admitted = burst_across_an_edge(limited_to, rate, "fixed_window")
    assert sum(at < 60.5 for at in admitted) == 200
    assert sum(60 <= at < 119 for at in admitted) == 100


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_limit_of_nothing_refuses_everything_for_a_window(limited_to, rate, algorithm) -> None:
    limiter, clock, _ = limited_to(rate(0, 60, algorithm))
    for _ in range(5):
        decision = limiter.check(ACME, REQUESTS)
        assert (decision.allowed, decision.limit, decision.remaining) == (False, 0, 0)
        assert decision.retry_after == pytest.approx(60)
        clock.advance(17)
    assert not limiter.check(ACME, REQUESTS, cost=5)
    assert limiter.status(ACME, REQUESTS).retry_after == pytest.approx(60)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_l13_refusals_of_one_tenant_starve_nobody_and_cost_it_nothing(limited_to, rate, algorithm) -> None:
    limit = rate(10, 60, algorithm)
    limiter, clock, _ = limited_to(limit)
    assert sum(limiter.check(ACME, REQUESTS).allowed for _ in range(20)) == limit.at_once
    wait = limiter.status(ACME, REQUESTS).retry_after
    assert not any(limiter.check(ACME, REQUESTS) for _ in range(5_000))
    assert sum(limiter.check(BETA, REQUESTS).allowed for _ in range(20)) == limit.at_once
    assert limiter.status(ACME, REQUESTS).retry_after == wait
    clock.advance(wait)
    assert limiter.check(ACME, REQUESTS)
