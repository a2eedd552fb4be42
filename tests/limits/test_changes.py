from __future__ import annotations

import random

import pytest

from partywall.errors import InvalidArgument, TenantSuspended
from partywall.model import Status

ACME, BETA, REQUESTS = "ten_acme", "ten_beta", "api_requests"
ALGORITHMS = ("sliding_window", "fixed_window", "gcra")


def admitted(limiter, calls: int, tenant: str = ACME, **more) -> int:
    return sum(limiter.check(tenant, REQUESTS, **more).allowed for _ in range(calls))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_raised_limit_carries_usage_over_and_admits_at_once(limited_to, rate, algorithm) -> None:
    limiter, _, directory = limited_to(rate(10, 60, algorithm))
    handle = limiter.bind(ACME, REQUESTS)
    assert admitted(limiter, 20) == 10
    assert not handle.check()
    assert not handle.check()
    directory.set_plan("free", api_requests=rate(25, 60, algorithm))
    assert handle.check().limit == 25
    assert admitted(limiter, 40) == 14


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_lowered_limit_carries_usage_over_and_reaches_a_warm_window(limited_to, rate, algorithm) -> None:
    limiter, _, directory = limited_to(rate(100, 60, algorithm))
    assert admitted(limiter, 5) == 5
    directory.set_plan("free", api_requests=rate(8, 60, algorithm))
    assert limiter.check(ACME, REQUESTS).limit == 8
    assert admitted(limiter, 20) == 2


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_lowered_limit_locks_nobody_out_for_longer_than_its_own_full_use(limited_to, rate, algorithm) -> None:
    limiter, clock, directory = limited_to(rate(1000, 60, algorithm))
    assert admitted(limiter, 1000) == 1000
    directory.set_plan("free", api_requests=rate(10, 60, algorithm))
    refused = limiter.check(ACME, REQUESTS)
    twin, _, _ = limited_to(rate(10, 60, algorithm))
    assert admitted(twin, 10) == 10
    assert refused.retry_after == pytest.approx(twin.check(ACME, REQUESTS).retry_after)
    clock.advance(refused.retry_after)
    assert limiter.check(ACME, REQUESTS)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_limit_lowered_and_raised_again_grants_no_fresh_window(limited_to, rate, algorithm) -> None:
    limiter, _, directory = limited_to(rate(100, 60, algorithm))
    assert admitted(limiter, 90) == 90
    for requests in (10, 0, 100):
        directory.set_plan("free", api_requests=rate(requests, 60, algorithm))
        limiter.check(ACME, REQUESTS)
    assert limiter.status(ACME, REQUESTS).remaining == 9


@pytest.mark.parametrize("seconds", [1, 59.999, 61, 3600])
def test_another_window_length_neither_forgets_what_was_used_nor_locks_out(limited_to, rate, seconds) -> None:
    limiter, clock, directory = limited_to(rate(10, 60))
    clock.advance(30)
    assert admitted(limiter, 8) == 8
    directory.set_plan("free", api_requests=rate(10, seconds))
    assert admitted(limiter, 20) == 2
    wait = limiter.check(ACME, REQUESTS).retry_after
    assert 0 < wait <= 2 * seconds
    clock.advance(wait)
    assert limiter.check(ACME, REQUESTS)


def test_another_window_length_carries_what_still_weighs_of_the_window_before(limited_to, rate) -> None:
    limiter, clock, directory = limited_to(rate(10, 60))
    assert admitted(limiter, 10) == 10
    clock.advance(90)
    assert limiter.status(ACME, REQUESTS).remaining == 5
    directory.set_plan("free", api_requests=rate(10, 3600))
    assert limiter.status(ACME, REQUESTS).remaining == 5
    assert admitted(limiter, 20) == 5


def test_the_algorithm_can_change_under_a_window_in_use(limited_to, rate) -> None:
    limiter, clock, directory = limited_to(rate(10, 60, "fixed_window"))
    assert admitted(limiter, 10) == 10
    clock.advance(60)
    directory.set_plan("free", api_requests=rate(10, 60, "sliding_window"))
    assert admitted(limiter, 10) == 0
    clock.advance(30)
    assert admitted(limiter, 10) == 5
    directory.set_plan("free", api_requests=rate(10, 60, "fixed_window"))
    assert admitted(limiter, 10) == 5


def test_a_tenant_moved_to_another_plan_takes_its_usage_along(limited_to, rate) -> None:
    limiter, _, directory = limited_to(rate(10))
    directory.set_plan("pro", api_requests=rate(50))
    assert admitted(limiter, 7) == 7
    assert admitted(limiter, 7, BETA) == 7
    directory.set_tenant(ACME, "pro")
    assert admitted(limiter, 100) == 43
    assert admitted(limiter, 100, BETA) == 3


def test_an_action_removed_from_the_plan_is_an_error_at_once(limited_to, rate) -> None:
    limiter, _, directory = limited_to(rate(10))
    handle = limiter.bind(ACME, REQUESTS)
    assert handle.check()
    directory.set_plan("free", agent_spawns=rate(1))
    for check in (handle.check, lambda: limiter.check(ACME, REQUESTS)):
        with pytest.raises(InvalidArgument, match="it names agent_spawns"):
            check()
    directory.set_plan("free", api_requests=rate(10))
    assert admitted(limiter, 20) == 9


def test_a_limit_can_become_one_for_each_user_and_back(limited_to, rate) -> None:
    limiter, _, directory = limited_to(rate(10))
    assert admitted(limiter, 4) == 4
    directory.set_plan("free", api_requests=rate(3, per="user"))
    with pytest.raises(InvalidArgument, match="user_id"):
        limiter.check(ACME, REQUESTS)
    assert admitted(limiter, 5, user_id="ann") == 3
    directory.set_plan("free", api_requests=rate(10))
    assert admitted(limiter, 20) == 6
    assert admitted(limiter, 20, user_id="ann") == 0


def test_an_edit_reaches_the_warm_windows_of_users(limited_to, rate) -> None:
    limiter, _, directory = limited_to(rate(10, per="user"))
    assert admitted(limiter, 4, user_id="ann") == 4
    directory.set_plan("free", api_requests=rate(6, per="user"))
    assert admitted(limiter, 20, user_id="ann") == 2
    directory.set_status(ACME, Status.SUSPENDED)
    with pytest.raises(TenantSuspended):
        limiter.check(ACME, REQUESTS, user_id="ann")


def test_resuming_a_tenant_keeps_its_usage(limited_to, rate) -> None:
    limiter, clock, directory = limited_to(rate(10))
    assert admitted(limiter, 6) == 6
    directory.set_status(ACME, Status.SUSPENDED)
    clock.advance(20)
    with pytest.raises(TenantSuspended):
        limiter.check(ACME, REQUESTS)
    directory.set_status(ACME, Status.ACTIVE)
    assert admitted(limiter, 20) == 4


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_edits_that_change_nothing_change_no_answer(limited_to, rate, reference, algorithm) -> None:
    rng = random.Random(9)
    limit = rate(20, 1, algorithm)
    limiter, clock, directory = limited_to(limit)
    plain, start = reference(limit), clock.monotonic()
    for _ in range(3_000):
        clock.advance(rng.choice([0, 0.01, rng.random()]))
        if rng.random() < 0.3:
            directory.set_plan("free", api_requests=rate(20, 1, algorithm))
        if rng.random() < 0.1:
            directory.set_status(ACME, Status.SUSPENDED)
            directory.set_status(ACME, Status.ACTIVE)
        cost = rng.choice([1, 1, 2])
        now = int((clock.monotonic() - start) * 1_000_000_000)
        assert limiter.check(ACME, REQUESTS, cost).allowed == plain.admit(now, cost)
