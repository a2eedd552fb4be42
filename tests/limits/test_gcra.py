from __future__ import annotations

import pytest
from pydantic import ValidationError

from partywall.model import RateLimit

ACME, REQUESTS = "ten_acme", "api_requests"


def declared(**fields) -> RateLimit:
    return RateLimit.model_validate({"maxRequests": 60, "windowMs": 60_000, **fields})


def test_permits_come_back_one_by_one_and_a_burst_is_the_most_at_once(limited_to) -> None:
    limiter, clock, _ = limited_to(declared(algorithm="gcra", burst=5))
    assert sum(limiter.allow(ACME, REQUESTS) for _ in range(20)) == 5
    for _ in range(10):
        assert limiter.check(ACME, REQUESTS).retry_after == pytest.approx(1)
        clock.advance(1.0)
        assert [limiter.allow(ACME, REQUESTS) for _ in range(3)] == [True, False, False]
    clock.advance(3600)
    assert sum(limiter.allow(ACME, REQUESTS) for _ in range(20)) == 5


def test_without_a_burst_all_requests_may_come_at_once(limited_to) -> None:
    limiter, _, _ = limited_to(declared(algorithm="gcra"))
    assert sum(limiter.allow(ACME, REQUESTS) for _ in range(100)) == 60


def test_no_fraction_of_a_permit_is_lost_however_long_it_runs(limited_to) -> None:
    limiter, clock, _ = limited_to(declared(maxRequests=7, windowMs=1000, algorithm="gcra", burst=1), 0.0)
    start = clock.monotonic()
    admitted = 0
    while clock.monotonic() - start < 1000:
        admitted += limiter.allow(ACME, REQUESTS)
        clock.advance(0.0101)
    # One each 142.86 ms at the earliest; asked each 10.1 ms, a permit waits for half of that on average.
    assert 6_500 < admitted <= 7_001


def test_a_decision_of_gcra_says_its_burst_and_when_it_is_whole_again(limited_to, clock) -> None:
    limiter, clock, _ = limited_to(declared(algorithm="gcra", burst=5))
    decision = limiter.check(ACME, REQUESTS, 3)
    assert (decision.limit, decision.remaining, decision.reset_after) == (5, 2, pytest.approx(3))
    refused = limiter.check(ACME, REQUESTS, 4)
    assert (refused.remaining, refused.retry_after, refused.reset_after) == (2, pytest.approx(2), pytest.approx(3))
    clock.advance(1.5)
    assert limiter.status(ACME, REQUESTS).reset_after == pytest.approx(1.5)
    assert limiter.status(ACME, REQUESTS).remaining == 3


def test_use_beyond_a_lowered_burst_holds_nobody_up_and_is_remembered_until_all_is_back(limited_to) -> None:
    limiter, clock, directory = limited_to(declared(algorithm="gcra"))
    assert limiter.check(ACME, REQUESTS, 60)
    directory.set_plan("free", api_requests=declared(algorithm="gcra", burst=5))
    assert limiter.check(ACME, REQUESTS).retry_after == pytest.approx(1)
    clock.advance(2)
    directory.set_plan("free", api_requests=declared(algorithm="gcra"))
    assert limiter.status(ACME, REQUESTS).remaining == 2
    directory.set_plan("free", api_requests=declared(algorithm="gcra", burst=5))
    assert limiter.status(ACME, REQUESTS).remaining == 2
    clock.advance(3)
    assert limiter.check(ACME, REQUESTS, 5)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("gcra", "sliding_window"),
        ("gcra", "fixed_window"),
        ("sliding_window", "gcra"),
        ("fixed_window", "gcra"),
        ("gcra", "gcra/2"),
        ("gcra/2", "gcra"),
    ],
)
def test_from_one_algorithm_to_another_usage_is_neither_forgotten_nor_charged_anew(
    limited_to, rate, before, after
) -> None:
    limiter, clock, directory = limited_to(rate(60, 60, before))
    clock.advance(30)
    most = limiter.status(ACME, REQUESTS).limit
    assert limiter.check(ACME, REQUESTS, most - 4)
    limit = rate(60, 60, after)
    directory.set_plan("free", api_requests=limit)
    assert limiter.status(ACME, REQUESTS).remaining == max(0, limit.at_once - (most - 4))
    wait = limiter.check(ACME, REQUESTS, 5).retry_after
    assert wait <= 60
    clock.advance(wait)
    assert limiter.check(ACME, REQUESTS, 5)


def test_idle_keys_of_gcra_are_swept_within_a_window_and_no_usage_is_forgotten(limited_to) -> None:
    limiter, clock, directory = limited_to(declared(algorithm="gcra"))
    for number in range(200):
        directory.set_tenant(f"ten_{number:05d}", "free")
        limiter.check(f"ten_{number:05d}", REQUESTS)
    assert limiter.check(ACME, REQUESTS, 60)
    clock.advance(59)
    limiter.sweep()
    assert limiter.status(ACME, REQUESTS).remaining == 59
    clock.advance(1)
    assert limiter.sweep() == 0


@pytest.mark.parametrize("algorithm", ["sliding_window", "fixed_window"])
def test_a_burst_beside_a_window_is_refused_with_a_reason(algorithm) -> None:
    with pytest.raises(ValidationError, match="burst has a meaning only beside 'algorithm: gcra'"):
        declared(algorithm=algorithm, burst=5)
    with pytest.raises(ValidationError, match="burst has a meaning only beside 'algorithm: gcra'"):
        declared(burst=5)


@pytest.mark.parametrize("burst", [0, -1, 61, 2.5, True, 2**63])
def test_a_burst_that_is_not_from_one_to_the_requests_is_refused(burst) -> None:
    with pytest.raises(ValidationError, match="burst"):
        declared(algorithm="gcra", burst=burst)


def test_a_limit_for_each_user_beside_one_for_each_user_is_refused() -> None:
    with pytest.raises(ValidationError, match="perUser stands beside the tenant's limit"):
        declared(per="user", perUser={"maxRequests": 1, "windowMs": 1})
    nested = declared(perUser={"maxRequests": 5, "windowMs": 1, "algorithm": "gcra", "burst": 2})
    assert nested.per_user is not None
    assert nested.per_user.at_once == 2
