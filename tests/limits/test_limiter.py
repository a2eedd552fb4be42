from __future__ import annotations

import math

import pytest

from partywall.context import TenantContext, entered
from partywall.errors import (
    InvalidArgument,
    RateLimited,
    TenantDeleted,
    TenantNotFound,
    TenantPending,
    TenantSuspended,
)
from partywall.model import Status

ACME, BETA = "ten_acme", "ten_beta"


def test_should_enforce_rate_limits_per_tenant(limiter) -> None:
    for _ in range(100):
        assert limiter.check(ACME, "api_requests").allowed
    refused = limiter.check(ACME, "api_requests")
    assert not refused.allowed
    assert refused.retry_after > 0
    assert limiter.check(BETA, "api_requests").allowed


def test_a_decision_says_what_remains_and_when_the_window_is_fresh(limiter, clock) -> None:
    clock.advance(15)
    first = limiter.check(ACME, "api_requests")
    assert (first.allowed, first.limit, first.remaining, first.retry_after) == (True, 100, 99, 0.0)
    assert first.reset_after == pytest.approx(105)
    second = limiter.check(ACME, "api_requests")
    assert second.remaining == 98
    clock.advance(5)
    assert second.reset_after == pytest.approx(100)
    assert "remaining=98" in repr(second)


def test_a_decision_is_true_only_when_it_is_allowed_and_cannot_be_changed(limiter, spend) -> None:
    admitted = limiter.check(ACME, "agent_spawns")
    spend(9, action="agent_spawns")
    refused = limiter.check(ACME, "agent_spawns")
    assert admitted
    assert not refused
    for decision in (admitted, refused):
        for name in ("allowed", "limit", "remaining", "retry_after", "reset_after", "anything"):
            with pytest.raises(AttributeError):
                setattr(decision, name, 1)


def test_require_raises_what_check_only_says(limiter, spend) -> None:
    assert limiter.require(ACME, "agent_spawns").remaining == 9
    spend(9, action="agent_spawns")
    with pytest.raises(RateLimited) as caught:
        limiter.require(ACME, "agent_spawns")
    assert (caught.value.action, caught.value.limit) == ("agent_spawns", 10)
    assert caught.value.retry_after == limiter.check(ACME, "agent_spawns").retry_after > 0


def test_status_takes_nothing_and_says_what_check_would(limiter, clock, spend) -> None:
    assert [limiter.status(ACME, "agent_spawns").remaining for _ in range(20)] == [10] * 20
    assert limiter.status(ACME, "agent_spawns").reset_after == 0.0
    assert limiter.sweep() == 0
    spend(10, action="agent_spawns")
    status = limiter.status(ACME, "agent_spawns")
    assert (status.allowed, status.remaining, status.limit) == (False, 0, 10)
    assert status.retry_after == limiter.check(ACME, "agent_spawns").retry_after > 0
    clock.advance(status.retry_after)
    assert limiter.status(ACME, "agent_spawns").allowed


def test_status_gives_back_no_permit_and_loses_none(limiter, spend) -> None:
    spend(3)
    assert limiter.status(ACME, "api_requests").remaining == 97
    assert spend(200) == 97


def test_a_cost_counts_as_many_calls_all_or_nothing(limiter) -> None:
    assert limiter.check(ACME, "agent_spawns", cost=7).remaining == 3
    refused = limiter.check(ACME, "agent_spawns", cost=4)
    assert (refused.allowed, refused.remaining) == (False, 3)
    assert refused.retry_after > 0
    assert limiter.check(ACME, "agent_spawns", cost=3).remaining == 0
    assert not limiter.check(ACME, "agent_spawns")


@pytest.mark.parametrize("cost", [0, -1, 1.0, 2.5, math.nan, math.inf, True, False, "1", None, -(2**63)])
@pytest.mark.parametrize("warm", [False, True])
def test_l11_a_cost_that_is_no_whole_positive_number_is_refused(limiter, cost, warm) -> None:
    if warm:
        limiter.check(ACME, "api_requests")
    with pytest.raises(InvalidArgument, match="whole number"):
        limiter.check(ACME, "api_requests", cost=cost)
    assert limiter.status(ACME, "api_requests").remaining == 100 - warm


@pytest.mark.parametrize("cost", [11, 2**63, 2**200])
def test_l11_a_cost_above_the_limit_is_an_error_that_names_the_limit(limiter, cost) -> None:
    limiter.check(ACME, "agent_spawns")
    with pytest.raises(InvalidArgument, match="limit of 10 for 'agent_spawns'"):
        limiter.check(ACME, "agent_spawns", cost=cost)
    assert limiter.status(ACME, "agent_spawns").remaining == 9


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (Status.SUSPENDED, TenantSuspended),
        (Status.DELETED, TenantDeleted),
        (Status.PENDING, TenantPending),
        (None, TenantNotFound),
    ],
)
@pytest.mark.parametrize("warm", [False, True])
def test_a_tenant_out_of_service_is_refused_also_in_a_warm_window(limiter, directory, status, error, warm) -> None:
    handle = limiter.bind(ACME, "api_requests")
    if warm:
        handle.check()
    directory.set_status(ACME, status)
    for call in (limiter.check, limiter.require, limiter.status):
        with pytest.raises(error):
            call(ACME, "api_requests")
    with pytest.raises(error):
        handle.check()
    assert limiter.check(BETA, "api_requests")


def test_a_refusal_in_force_gives_way_to_a_suspension(limiter, directory, spend) -> None:
    spend(10, action="agent_spawns")
    handle = limiter.bind(ACME, "agent_spawns")
    assert not handle.check()
    assert not handle.check()
    directory.set_status(ACME, Status.SUSPENDED)
    with pytest.raises(TenantSuspended):
        limiter.check(ACME, "agent_spawns")
    with pytest.raises(TenantSuspended):
        handle.check()


@pytest.mark.parametrize("tenant", [None, 7, b"ten_acme", ["ten_acme"], {}, ("ten_acme",)])
def test_a_tenant_that_is_no_text_is_refused(limiter, tenant) -> None:
    limiter.check(ACME, "api_requests")
    for call in (limiter.check, limiter.status, limiter.bind):
        with pytest.raises(InvalidArgument):
            call(tenant, "api_requests")


@pytest.mark.parametrize("action", [None, 7, ["api_requests"], "", "API_REQUESTS", "api requests", "a" * 65, "a\n"])
def test_an_action_that_is_not_legal_is_refused(limiter, directory, rate, action) -> None:
    directory.set_plan("free", default=rate(5))
    with pytest.raises(InvalidArgument):
        limiter.check(ACME, action)
    assert limiter.sweep() == 0


def test_an_action_that_the_plan_does_not_name_is_an_error_that_names_those_it_does(limiter) -> None:
    with pytest.raises(InvalidArgument, match=r"'exports'.*agent_spawns, api_requests"):
        limiter.check(ACME, "exports")
    assert limiter.sweep() == 0


def test_default_serves_actions_that_are_not_named_each_in_a_window_of_its_own(limiter, directory, rate, spend) -> None:
    directory.set_plan("free", api_requests=rate(100), default=rate(5))
    assert spend(9, action="exports") == 5
    assert spend(9, action="imports") == 5
    assert spend(9, action="api_requests") == 9


def test_a_limit_per_user_counts_each_user_within_the_tenant(limiter, directory, rate, spend) -> None:
    directory.set_plan("free", api_requests=rate(3, per="user"))
    assert [spend(5, user_id=user) for user in ("ann", "bob")] == [3, 3]
    assert spend(5, tenant=BETA, user_id="ann") == 3
    assert limiter.status(ACME, "api_requests", user_id="cy").remaining == 3


def test_the_user_is_taken_from_the_tenant_context_when_it_is_that_tenants(limiter, directory, rate, spend) -> None:
    directory.set_plan("free", api_requests=rate(3, per="user"))
    with entered(TenantContext(ACME, None, user_id="ann")):
        assert spend(2) == 2
        assert spend(5, user_id="bob") == 3
        with pytest.raises(InvalidArgument, match="user_id"):
            limiter.check(BETA, "api_requests")
    assert spend(5, user_id="ann") == 1


@pytest.mark.parametrize("user", [None, "", 7, ["ann"], "a" * 201])
def test_a_limit_per_user_without_a_user_is_an_error(limiter, directory, rate, user) -> None:
    directory.set_plan("free", api_requests=rate(3, per="user"))
    limiter.check(ACME, "api_requests", user_id="ann")
    with pytest.raises(InvalidArgument, match="user_id"):
        limiter.check(ACME, "api_requests", user_id=user)
    directory.set_status(ACME, Status.SUSPENDED)
    with pytest.raises(TenantSuspended):
        limiter.check(ACME, "api_requests", user_id=user)


def test_where_the_limit_is_the_tenants_a_user_has_no_effect(spend) -> None:
    assert spend(60, user_id="ann") + spend(60, user_id="bob") + spend(60) == 100


def test_a_handle_counts_in_the_same_window_as_check(limiter, clock, spend) -> None:
    handle = limiter.bind(ACME, "agent_spawns")
    assert [handle.check().remaining for _ in range(4)] == [9, 8, 7, 6]
    assert spend(3, action="agent_spawns") == 3
    assert handle.require(cost=2).remaining == 1
    assert handle.check()
    with pytest.raises(RateLimited):
        handle.require()
    clock.advance(180)
    assert sum(handle.check().allowed for _ in range(20)) == 10


def test_a_handle_finds_its_window_again_after_a_sweep(limiter, clock) -> None:
    handle = limiter.bind(ACME, "agent_spawns")
    handle.check()
    clock.advance(180)
    assert limiter.sweep() == 0
    assert sum(handle.check().allowed for _ in range(7)) == 7
    assert limiter.status(ACME, "agent_spawns").remaining == 3
    assert handle.check(cost=3)
    assert not handle.check()


def test_a_handle_of_a_user_counts_for_that_user(limiter, directory, rate, spend) -> None:
    directory.set_plan("free", api_requests=rate(3, per="user"))
    handle = limiter.bind(ACME, "api_requests", user_id="ann")
    assert [bool(handle.check()) for _ in range(4)] == [True, True, True, False]
    assert spend(5, user_id="bob") == 3
    directory.set_status(ACME, Status.SUSPENDED)
    with pytest.raises(TenantSuspended):
        handle.check()


def test_a_closed_limiter_asks_a_directory_that_refuses(limiter, directory) -> None:
    limiter.check(ACME, "api_requests")
    directory.statuses.clear()
    limiter.close()
    with pytest.raises(TenantNotFound):
        limiter.check(ACME, "api_requests")
