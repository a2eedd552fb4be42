from __future__ import annotations

import math
import random

import pytest

from partywall.errors import InvalidArgument, TenantSuspended
from partywall.model import Status

ACME, BETA, REQUESTS = "ten_acme", "ten_beta", "api_requests"
ALGORITHMS = ("sliding_window", "fixed_window", "gcra", "gcra/2")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_peek_says_what_check_says_and_counts_nothing(limited_to, rate, algorithm) -> None:
    rng = random.Random(3)
    limiter, clock, _ = limited_to(rate(8, 1, algorithm))
    for _ in range(2_000):
        clock.advance(rng.choice([0, 0, 0.05, rng.random()]))
        cost = rng.choice([1, 1, 2, 4])
        before = limiter.status(ACME, REQUESTS).remaining
        foreseen = limiter.peek(ACME, REQUESTS, cost)
        assert limiter.status(ACME, REQUESTS).remaining == before
        decision = limiter.check(ACME, REQUESTS, cost)
        assert (foreseen.allowed, foreseen.retry_after) == (decision.allowed, decision.retry_after)
        # An answer made ready says what is left at least.
        assert foreseen.remaining == limiter.status(ACME, REQUESTS).remaining >= decision.remaining


def test_peek_keeps_no_key(limiter) -> None:
    assert limiter.peek(ACME, REQUESTS, 5).remaining == 95
    assert limiter.sweep() == 0


def test_allow_is_what_check_decides(limiter, spend) -> None:
    assert limiter.allow(ACME, "agent_spawns", 9) is True
    assert limiter.allow(ACME, "agent_spawns", 2) is False
    assert limiter.allow(ACME, "agent_spawns") is True
    assert limiter.allow(ACME, "agent_spawns") is False


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_refund_makes_room_for_as_many_calls_as_were_not_carried_out(limited_to, rate, algorithm) -> None:
    limit = rate(20, 60, algorithm)
    limiter, _, _ = limited_to(limit)
    assert sum(limiter.allow(ACME, REQUESTS) for _ in range(50)) == limit.at_once
    after = limiter.refund(ACME, REQUESTS, 3)
    assert (after.allowed, after.remaining) == (True, 3)
    assert sum(limiter.allow(ACME, REQUESTS) for _ in range(50)) == 3


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_refund_never_passes_the_limit(limited_to, rate, algorithm) -> None:
    limit = rate(20, 60, algorithm)
    limiter, clock, _ = limited_to(limit)
    assert limiter.refund(ACME, REQUESTS, 5).remaining == limit.at_once
    assert limiter.sweep() == 0
    for cost in (1, 1_000_000):
        limiter.check(ACME, REQUESTS)
        assert limiter.refund(ACME, REQUESTS, cost).remaining == limit.at_once
        clock.advance(0.001)
        assert limiter.refund(ACME, REQUESTS, cost).remaining == limit.at_once
    assert sum(limiter.allow(ACME, REQUESTS) for _ in range(50)) == limit.at_once


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_refunds_never_grant_more_than_was_taken(limited_to, rate, algorithm) -> None:
    """Whoever takes and gives back all the time is admitted, beyond what it gave back, no more than others."""
    rng = random.Random(5)
    for _ in range(20):
        limit = rate(10, 1, algorithm)
        limiter, clock, _ = limited_to(limit)
        start, net = clock.monotonic(), 0
        for _ in range(400):
            clock.advance(rng.choice([0, 0, 0.01, 0.1]))
            if rng.random() < 0.5:
                net += limiter.allow(ACME, REQUESTS)
            elif net and rng.random() < 0.5:
                before = limiter.status(ACME, REQUESTS).remaining
                after = limiter.refund(ACME, REQUESTS).remaining
                assert before <= after <= before + 1
                net -= 1
            passed = clock.monotonic() - start
            windows = math.floor(passed) + 1
            most = 10 * windows if "window" in algorithm else limit.at_once + 10 * passed
            assert net <= most + 1e-6


def test_a_refund_reaches_the_window_before(limited_to, rate) -> None:
    limiter, clock, _ = limited_to(rate(10, 60))
    assert limiter.check(ACME, REQUESTS, 10)
    clock.advance(90)
    assert limiter.status(ACME, REQUESTS).remaining == 5
    assert limiter.check(ACME, REQUESTS)
    assert limiter.refund(ACME, REQUESTS, 5).remaining == 7
    assert limiter.refund(ACME, REQUESTS, 6).remaining == 10


@pytest.mark.parametrize("cost", [0, -1, 1.0, math.nan, True, "1", None])
def test_l11_a_refund_or_peek_of_what_is_no_whole_positive_number_is_refused(limiter, cost) -> None:
    limiter.check(ACME, REQUESTS)
    for call in (limiter.refund, limiter.peek, limiter.allow):
        with pytest.raises(InvalidArgument, match="whole number"):
            call(ACME, REQUESTS, cost)
    assert limiter.status(ACME, REQUESTS).remaining == 99


def test_a_refund_of_one_tenant_or_user_gives_nothing_to_another(limited_to, rate) -> None:
    limiter, _, _ = limited_to(rate(10, perUser={"maxRequests": 2, "windowMs": 60_000}))
    for user in ("ann", "bob"):
        assert limiter.check(ACME, REQUESTS, 2, user)
        assert limiter.check(BETA, REQUESTS, 2, user)
    limiter.refund(ACME, REQUESTS, 2, "ann")
    assert limiter.status(ACME, REQUESTS, user_id="ann").remaining == 2
    assert limiter.status(ACME, REQUESTS, user_id="bob").remaining == 0
    assert limiter.peek(ACME, REQUESTS, 1, "new").remaining == 1
    assert limiter.status(BETA, REQUESTS, user_id="ann").remaining == 0


def test_a_refund_for_a_tenant_out_of_service_is_refused(limiter, directory) -> None:
    limiter.check(ACME, REQUESTS)
    directory.set_status(ACME, Status.SUSPENDED)
    for call in (limiter.refund, limiter.peek, limiter.allow):
        with pytest.raises(TenantSuspended):
            call(ACME, REQUESTS)


def test_a_handle_has_every_call_of_the_limiter(limiter, clock) -> None:
    handle = limiter.bind(ACME, "agent_spawns", user_id="ann")
    assert handle.peek(4).remaining == 6
    assert handle.allow(4)
    assert handle.status().remaining == 6
    assert handle.refund(2).remaining == 8
    assert handle.require(8).remaining == 0
    assert not handle.peek()
    assert not handle.allow()
