from __future__ import annotations

import sys

import pytest

from partywall.errors import InvalidArgument, PartywallError

ACME, BETA, REQUESTS = "ten_acme", "ten_beta", "api_requests"


def kept(limiter) -> int:
    """The number of keys that hold memory."""
    shelves = limiter._shelves
    by_user = sum(len(users) for actions in shelves.by_user.values() for users in actions.values())
    held = sum(map(len, shelves.by_action.values())) + by_user
    assert held == len(shelves)
    return held


@pytest.mark.parametrize(
    "variant", ["TEN_ACME", "Ten_acme", "ten_acme/", " ten_acme", "ten_acme\n", "ten_acme:443", "ten_\u0430cme"]
)
def test_l8_variants_of_a_tenants_id_make_no_bucket(limiter, variant) -> None:
    limiter.check(ACME, REQUESTS)
    with pytest.raises(PartywallError):
        limiter.check(variant, REQUESTS)
    assert kept(limiter) == 1


@pytest.mark.parametrize(
    "variant", ["Api_requests", "api_requests/", "api_requests ", "api_requests\0", "ap\u0456_requests"]
)
def test_l8_variants_of_an_action_make_no_bucket_even_where_a_default_serves(limiter, directory, rate, variant) -> None:
    directory.set_plan("free", api_requests=rate(5), default=rate(5))
    limiter.check(ACME, REQUESTS)
    with pytest.raises(InvalidArgument):
        limiter.check(ACME, variant)
    assert kept(limiter) == 1


def test_l8_a_flood_of_hostile_texts_leaves_nothing_behind(limiter) -> None:
    for number in range(500):
        for tenant, action in (
            (f"ten_{number:04d}", REQUESTS),
            (ACME, f"made.up-{number}"),
            (f"{number}", f"{number}"),
        ):
            for call in (limiter.check, limiter.status):
                with pytest.raises(PartywallError):
                    call(tenant, action)
    assert kept(limiter) == 0
    assert limiter._cells == {}


def test_equal_texts_are_one_key(limiter) -> None:
    for _ in range(5):
        limiter.check("".join(["ten_", "acme"]), "".join(["api_", "requests"]))
    assert limiter.status(ACME, REQUESTS).remaining == 95


def test_sweep_leaves_no_key_after_the_windows_end_and_none_too_early(limiter, directory, rate, clock) -> None:
    directory.set_plan("free", api_requests=rate(5), agent_spawns=rate(5, per="user"), default=rate(5))
    for tenant in (ACME, BETA):
        limiter.check(tenant, REQUESTS)
        limiter.check(tenant, "exports")
        for user in range(10):
            limiter.check(tenant, "agent_spawns", user_id=f"u{user}")
    assert limiter.sweep() == kept(limiter) == 24
    clock.advance(119.9)
    assert limiter.sweep() == 24
    clock.advance(0.1)
    assert limiter.sweep() == kept(limiter) == 0
    shelves = limiter._shelves
    left = (shelves.by_action, shelves.by_user, shelves.by_name, shelves._unnamed)
    assert not any(left)


def test_idle_keys_go_by_themselves_as_others_call(limited_to, rate) -> None:
    limiter, clock, directory = limited_to(rate(5, 1))
    for number in range(5_000):
        directory.set_tenant(f"ten_{number:05d}", "free")
        limiter.check(f"ten_{number:05d}", REQUESTS)
    assert kept(limiter) == 5_000
    room = sys.getsizeof(limiter._cells[REQUESTS])
    for _ in range(400):
        clock.advance(1)
        limiter.check(ACME, REQUESTS)
    assert kept(limiter) == 1
    assert sys.getsizeof(limiter._cells[REQUESTS]) < room / 50


def test_memory_is_bounded_while_every_call_brings_a_new_key(limited_to, rate) -> None:
    limiter, clock, _ = limited_to(rate(5, 1, per="user"))
    for number in range(10_000):
        clock.advance(0.01)
        limiter.check(ACME, REQUESTS, user_id=f"u{number}")
        assert number % 100 or kept(limiter) < 700


def test_the_sweep_forgets_no_usage_that_counts(limited_to, rate) -> None:
    limiter, clock, directory = limited_to(rate(5, 60))
    assert sum(limiter.check(ACME, REQUESTS).allowed for _ in range(9)) == 5
    clock.advance(66)
    for number in range(300):
        directory.set_tenant(f"ten_{number:05d}", "free")
        limiter.check(f"ten_{number:05d}", REQUESTS)
    limiter.sweep()
    assert sum(limiter.check(ACME, REQUESTS).allowed for _ in range(9)) == 0
    clock.advance(42)
    assert sum(limiter.check(ACME, REQUESTS).allowed for _ in range(9)) == 4


def test_a_tenant_cannot_earn_more_or_fill_memory_by_making_up_actions(limiter, directory, rate, clock) -> None:
    directory.set_plan("free", default=rate(5))
    admitted = sum(limiter.check(ACME, f"action{number}", cost=5).allowed for number in range(1_000))
    assert kept(limiter) == 101
    assert admitted == 101
    assert limiter.check(BETA, "action900")
    clock.advance(120)
    assert limiter.check(ACME, "action900")
    assert limiter.sweep() == 1


def test_a_refused_argument_takes_no_place_among_the_actions(limiter, directory, rate) -> None:
    directory.set_plan("free", default=rate(5))
    for number in range(200):
        with pytest.raises(InvalidArgument):
            limiter.check(ACME, f"action{number}", cost=6)
    assert limiter.check(ACME, "one", cost=5)
    assert limiter.check(ACME, "two", cost=5)


def test_users_beyond_the_bound_share_a_window_and_no_usage_is_forgotten(limited_to, rate) -> None:
    limiter, clock, _ = limited_to(rate(2, 60, per="user"), max_users=10)
    admitted = sum(limiter.check(ACME, REQUESTS, user_id=f"u{number}").allowed for number in range(50))
    assert admitted == 12
    assert kept(limiter) == 11
    assert [limiter.check(ACME, REQUESTS, user_id="u0").allowed for _ in range(2)] == [True, False]
    assert limiter.check(BETA, REQUESTS, user_id="u40")
    clock.advance(120)
    limiter.sweep()
    assert limiter.check(ACME, REQUESTS, user_id="u40").remaining == 1


@pytest.mark.parametrize("algorithm", ["sliding_window", "fixed_window", "gcra"])
def test_a_user_who_gets_an_account_of_its_own_still_owes_what_the_shared_one_does(
    limited_to, rate, reference, algorithm
) -> None:
    limit = rate(2, 60, algorithm, per="user")
    limiter, clock, _ = limited_to(limit, max_users=2)
    plain = reference(limit)
    for user in ("ann", "bob"):
        assert limiter.check(ACME, REQUESTS, 1, user)
    clock.advance(100)
    for at in (100, 125):
        expected = [plain.admit(at * 1_000_000_000, 1) for _ in range(3)]
        assert limiter.peek(ACME, REQUESTS, 1, "cy").allowed == expected[0]
        assert [limiter.allow(ACME, REQUESTS, 1, "cy") for _ in range(3)] == expected
        clock.advance(25)
        limiter.sweep()
    assert "cy" in limiter._shelves.by_user[ACME][REQUESTS]


def test_an_action_that_gets_an_account_of_its_own_still_owes_what_the_shared_one_does(
    limiter, directory, rate, clock
) -> None:
    directory.set_plan("free", default=rate(2))
    for number in range(100):
        limiter.check(ACME, f"action{number}")
    clock.advance(119)
    assert [limiter.allow(ACME, "late") for _ in range(3)] == [True, True, False]
    clock.advance(1)
    limiter.sweep()
    assert not limiter.peek(ACME, "late")
    assert not limiter.check(ACME, "late")
    assert limiter.check(BETA, "late")


@pytest.mark.parametrize("more", [{"per": "user"}, {"perUser": {"maxRequests": 5, "windowMs": 60_000}}])
def test_users_of_actions_that_no_plan_names_are_bounded_together(limited_to, rate, more) -> None:
    limiter, _, directory = limited_to(rate(5), max_users=20)
    directory.set_plan("free", api_requests=rate(5, per="user"), default=rate(5_000, **more))
    for number in range(120):
        for user in range(15):
            limiter.check(ACME, f"action{number}", 1, f"u{user}")
    by_user = sum(len(users) for users in limiter._shelves.by_user[ACME].values())
    assert by_user <= 20 + 101
    assert limiter.check(ACME, REQUESTS, 1, "ann")
    assert "ann" in limiter._shelves.by_user[ACME][REQUESTS]
    assert limiter.check(BETA, "action1", 1, "ann")
    assert "ann" in limiter._shelves.by_user[BETA]["action1"]
