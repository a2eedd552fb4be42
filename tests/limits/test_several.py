from __future__ import annotations

import random

import pytest

from partywall.context import TenantContext, entered
from partywall.errors import InvalidArgument, RateLimited, TenantSuspended
from partywall.model import Status

ACME, BETA, REQUESTS, TOKENS = "ten_acme", "ten_beta", "api_requests", "tokens_out"
CALL = {REQUESTS: 1, TOKENS: 500}
EACH = {"maxRequests": 3, "windowMs": 60_000}
ALGORITHMS = ("sliding_window", "fixed_window", "gcra", "gcra/2")


@pytest.fixture
def metered(limiter, directory, rate):
    """Ten requests and 2000 tokens a minute."""
    directory.set_plan("free", api_requests=rate(10), tokens_out=rate(2000))
    return limiter


def left(limiter, tenant: str = ACME, **more) -> tuple[int, int]:
    return tuple(limiter.status(tenant, action, **more).remaining for action in (REQUESTS, TOKENS))


def test_several_actions_are_counted_together(metered) -> None:
    decision = metered.check_all(ACME, CALL)
    assert decision
    assert (decision.action, decision.remaining) == (REQUESTS, 9)
    assert left(metered) == (9, 1500)
    assert left(metered, BETA) == (10, 2000)


def test_a_refused_combination_counts_nothing_anywhere_and_says_which_limit_refused(metered) -> None:
    for _ in range(4):
        assert metered.check_all(ACME, CALL)
    refused = metered.check_all(ACME, CALL)
    assert not refused
    assert (refused.action, refused.scope, refused.limit, refused.remaining) == (TOKENS, "tenant", 2000, 0)
    assert refused.retry_after > 0
    assert left(metered) == (6, 0)
    assert metered.check(ACME, REQUESTS).remaining == 5


def test_of_two_limits_that_refuse_the_decision_is_that_of_the_longer(limiter, directory, rate, clock) -> None:
    directory.set_plan("free", api_requests=rate(1, 60, "fixed_window"), tokens_out=rate(500, 3600, "fixed_window"))
    assert limiter.check_all(ACME, CALL)
    refused = limiter.check_all(ACME, CALL)
    assert (refused.action, refused.retry_after) == (TOKENS, pytest.approx(3600))
    clock.advance(refused.retry_after)
    assert limiter.check_all(ACME, CALL)


def test_require_all_raises_for_the_limit_that_refused(metered) -> None:
    assert metered.require_all(ACME, {TOKENS: 1800})
    with pytest.raises(RateLimited, match="'tokens_out'") as caught:
        metered.require_all(ACME, CALL)
    assert (caught.value.action, caught.value.limit) == (TOKENS, 2000)
    assert left(metered) == (10, 200)


def test_refund_all_gives_back_what_check_all_took(metered) -> None:
    metered.check_all(ACME, CALL)
    metered.check_all(ACME, CALL)
    metered.refund_all(ACME, CALL)
    assert left(metered) == (9, 1500)


@pytest.mark.parametrize(
    "costs", [None, {}, [REQUESTS], {REQUESTS: 0}, {REQUESTS: -1}, {REQUESTS: 1.0}, {TOKENS: True}]
)
def test_l11_costs_that_are_no_whole_positive_numbers_are_refused(metered, costs) -> None:
    for call in (metered.check_all, metered.require_all, metered.refund_all):
        with pytest.raises(InvalidArgument):
            call(ACME, costs)
    assert left(metered) == (10, 2000)


@pytest.mark.parametrize("costs", [{REQUESTS: 1, TOKENS: 2001}, {REQUESTS: 1, "unheard_of": 1}, {REQUESTS: 1, 7: 1}])
def test_l11_a_combination_that_can_never_be_admitted_is_an_error_and_counts_nothing(metered, costs) -> None:
    metered.check(ACME, REQUESTS)
    with pytest.raises(InvalidArgument):
        metered.check_all(ACME, costs)
    assert left(metered) == (9, 2000)
    assert metered.check(ACME, REQUESTS).remaining == 8


def test_actions_that_share_an_account_are_charged_for_all_of_them(limiter, directory, rate) -> None:
    directory.set_plan("free", default=rate(5))
    for number in range(100):
        limiter.check(ACME, f"a{number}")
    assert limiter.check_all(ACME, {"x": 2, "y": 2})
    assert limiter.status(ACME, "z").remaining == 1
    assert not limiter.check_all(ACME, {"x": 1, "y": 1})


def test_actions_that_share_an_account_too_small_for_them_together_are_told_so(limiter, directory, rate) -> None:
    directory.set_plan("free", default=rate(5))
    for number in range(100):
        limiter.check(ACME, f"a{number}")
    with pytest.raises(InvalidArgument, match=r"share one account.* cost 6 .* limit of 5; make several calls"):
        limiter.check_all(ACME, {f"y{number}": 1 for number in range(6)})
    with pytest.raises(InvalidArgument, match="cost 6 is above the limit of 5 for 'x': never admitted"):
        limiter.check_all(ACME, {"x": 6})
    assert limiter.check(ACME, "x", 5)


def test_one_call_that_makes_up_many_actions_fills_no_more_places_than_many_calls(limiter, directory, rate) -> None:
    directory.set_plan("free", default=rate(100_000))
    assert limiter.check_all(ACME, {f"a{number}": 1 for number in range(5_000)})
    assert limiter.sweep() == 101
    assert limiter.status(ACME, "anything").remaining == 100_000 - 4_900


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_call_counts_for_the_tenant_and_the_user_or_for_neither(limited_to, rate, algorithm) -> None:
    limit = rate(8, 60, algorithm, perUser=EACH)
    limiter, clock, _ = limited_to(limit)
    admitted = {user: sum(limiter.allow(ACME, REQUESTS, 1, user) for _ in range(6)) for user in ("ann", "bob", "cy")}
    assert sum(admitted.values()) == limit.at_once
    assert max(admitted.values()) <= 3
    refused = limiter.check(ACME, REQUESTS, 1, "ann")
    assert not refused
    clock.advance(600)
    assert sum(limiter.allow(ACME, REQUESTS, 1, "cy") for _ in range(6)) == 3


def test_the_decision_says_whether_the_tenants_or_the_users_limit_refused(limited_to, rate) -> None:
    limiter, _, _ = limited_to(rate(5, perUser=EACH))
    for _ in range(3):
        assert limiter.check(ACME, REQUESTS, 1, "ann").scope in {"tenant", "user"}
    refused = limiter.check(ACME, REQUESTS, 1, "ann")
    assert (refused.allowed, refused.scope, refused.limit) == (False, "user", 3)
    assert limiter.check(ACME, REQUESTS, 2, "bob").remaining == 0
    refused = limiter.check(ACME, REQUESTS, 1, "bob")
    assert (refused.allowed, refused.scope, refused.limit) == (False, "tenant", 5)
    with pytest.raises(RateLimited, match="of 3 for 'api_requests' of each user"):
        limiter.require(ACME, REQUESTS, 1, "ann")


def test_a_user_that_is_refused_uses_up_nothing_of_the_tenants_limit(limited_to, rate) -> None:
    limiter, _, _ = limited_to(rate(10, perUser=EACH))
    assert sum(limiter.allow(ACME, REQUESTS, 1, "ann") for _ in range(100)) == 3
    assert sum(limiter.allow(ACME, REQUESTS, 1, f"u{number}") for number in range(100)) == 7
    assert limiter.status(ACME, REQUESTS, user_id="new").remaining == 0


def test_beside_a_limit_for_each_user_a_call_without_a_user_is_refused(limited_to, rate) -> None:
    limiter, _, _ = limited_to(rate(10, perUser=EACH))
    with pytest.raises(InvalidArgument, match="user_id"):
        limiter.check(ACME, REQUESTS)
    with entered(TenantContext(ACME, None, user_id="ann")):
        assert limiter.bind(ACME, REQUESTS).check()
    assert limiter.status(ACME, REQUESTS, user_id="ann").remaining == 2


def test_a_limit_for_each_user_can_come_and_go_by_an_edit_with_all_usage_kept(limited_to, rate) -> None:
    limiter, _, directory = limited_to(rate(10))
    handle = limiter.bind(ACME, REQUESTS, user_id="ann")
    assert sum(handle.allow() for _ in range(4)) == 4
    directory.set_plan("free", api_requests=rate(10, perUser=EACH))
    assert sum(handle.allow() for _ in range(9)) == 3
    directory.set_plan("free", api_requests=rate(10))
    assert sum(handle.allow() for _ in range(9)) == 3
    directory.set_plan("free", api_requests=rate(20, perUser={**EACH, "maxRequests": 5}))
    assert sum(handle.allow() for _ in range(9)) == 2
    directory.set_status(ACME, Status.SUSPENDED)
    with pytest.raises(TenantSuspended):
        handle.check()


@pytest.mark.parametrize("locked", [False, True])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_combinations_are_answered_as_two_plain_algorithms_side_by_side(
    limited_to, rate, reference, monkeypatch, algorithm, locked
) -> None:
    if locked:
        monkeypatch.setattr("sys._is_gil_enabled", lambda: False, raising=False)
    rng = random.Random(11)
    whole, each = rate(20, 1, algorithm), rate(6, 2, "gcra")
    limit = rate(20, 1, algorithm, perUser={"maxRequests": 6, "windowMs": 2000, "algorithm": "gcra"})
    limiter, clock, _ = limited_to(limit)
    start, tenants, users = clock.monotonic(), reference(whole), {user: reference(each) for user in "abcd"}
    for _ in range(1_500):
        clock.advance(rng.choice([0, 0, 0.02, rng.random() * 0.3]))
        now = int((clock.monotonic() - start) * 1_000_000_000)
        user, cost = rng.choice("abcd"), rng.choice([1, 1, 2])
        expected = min(tenants.left(now), users[user].left(now)) >= cost
        foreseen = limiter.peek(ACME, REQUESTS, cost, user)
        decision = limiter.check(ACME, REQUESTS, cost, user)
        assert decision.allowed == foreseen.allowed == expected
        assert decision.remaining == foreseen.remaining or not decision.allowed
        if expected:
            assert tenants.admit(now, cost)
            assert users[user].admit(now, cost)


def test_users_and_combinations_are_swept_when_idle(limited_to, rate) -> None:
    limiter, clock, _ = limited_to(rate(10, perUser=EACH))
    for number in range(5):
        limiter.check(ACME, REQUESTS, 1, f"u{number}")
    assert limiter.sweep() == 6
    clock.advance(120)
    assert limiter.sweep() == 0


def test_made_up_actions_stay_bounded_where_users_outlive_the_tenants_window(limiter, directory, rate, clock) -> None:
    longer = {"maxRequests": 3, "windowMs": 3_600_000}
    directory.set_plan("free", default=rate(5, 1, perUser=longer))
    for number in range(1_000):
        limiter.check(ACME, f"action{number}", 1, "ann")
        clock.advance(0.5)
    assert limiter.sweep() <= 210
