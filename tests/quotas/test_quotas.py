from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from partywall.clock import ManualClock
from partywall.errors import (
    InvalidArgument,
    QuotaExceeded,
)
from partywall.model import METRICS
from partywall.names import TenantId
from partywall.quotas import Quotas, Usage

ACME = TenantId("ten_acme")
BETA = TenantId("ten_beta")
NOTHING = dict.fromkeys(METRICS, 0)


def moment(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_should_enforce_quota_limits(usage: Usage, quotas: Quotas) -> None:
    usage.increment(ACME, "projects", 10)
    assert quotas.check(ACME).projects.exceeded is True
    with pytest.raises(QuotaExceeded):
        quotas.consume(ACME, projects=1)


def test_a_status_says_what_is_there_and_what_is_left(usage: Usage, quotas: Quotas, tenants: Any) -> None:
    tenants.limit(ACME, storage=None)
    usage.increment(ACME, "projects", 9)
    usage.increment(ACME, "users", 7)
    usage.increment(ACME, "storage", 2**50)
    report = quotas.check(ACME)
    assert (report.projects.current, report.projects.limit, report.projects.exceeded) == (9, 10, False)
    assert (report.users.exceeded, report.users.remaining) == (True, 0)
    assert (report.storage.exceeded, report.storage.remaining, report.storage.limit) == (False, None, None)
    assert report.projects.remaining == 1
    assert [metric for metric, _ in report] == list(METRICS)
    assert {metric: status.current for metric, status in quotas.check(BETA)} == NOTHING


def test_a_limit_of_zero_is_exceeded_from_the_start(quotas: Quotas, tenants: Any) -> None:
    tenants.limit(ACME, projects=0)
    assert quotas.check(ACME).projects.exceeded
    with pytest.raises(QuotaExceeded):
        quotas.consume(ACME, projects=1)


def test_a_refusal_says_which_quota_and_by_how_much(quotas: Quotas) -> None:
    quotas.consume(ACME, tokens=990)
    with pytest.raises(QuotaExceeded) as caught:
        quotas.consume(ACME, tokens=11)
    error = caught.value
    assert (error.quota, error.current, error.limit, error.requested) == ("tokens", 990, 1000, 11)
    assert quotas.consume(ACME, tokens=10).tokens.exceeded


def test_several_quotas_are_consumed_together_or_not_at_all(quotas: Quotas, usage: Usage) -> None:
    for amounts in ({"projects": 1, "tokens": 1001}, {"tokens": 1001, "projects": 1}):
        with pytest.raises(QuotaExceeded, match="tokens"):
            quotas.consume(ACME, **amounts)
        assert usage.totals(ACME) == NOTHING
    report = quotas.consume(ACME, projects=1, tokens=1000)
    assert (report.projects.current, report.tokens.current) == (1, 1000)


def test_what_is_not_asked_for_refuses_nothing(quotas: Quotas, usage: Usage, tenants: Any) -> None:
    usage.increment(ACME, "users", 50)
    assert quotas.consume(ACME, tokens=1, users=0).users.current == 50


def test_a_smaller_plan_refuses_more_and_keeps_what_is_there(quotas: Quotas, tenants: Any) -> None:
    quotas.consume(ACME, projects=8)
    tenants.limit(ACME, projects=3)
    with pytest.raises(QuotaExceeded) as caught:
        quotas.consume(ACME, projects=1)
    assert (caught.value.current, caught.value.limit) == (8, 3)
    tenants.limit(ACME, projects=9)
    assert quotas.consume(ACME, projects=1).projects.current == 9


@pytest.mark.parametrize("left", [1, 3])
def test_l1_of_many_racers_exactly_as_many_win_as_there_is_room(quotas: Quotas, left: int) -> None:
    quotas.consume(ACME, projects=10 - left)

    def race(_: int) -> bool:
        try:
            quotas.consume(ACME, projects=1)
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(race, range(64))) == left
    assert quotas.check(ACME).projects.current == 10


def test_usage_counts_what_happened_whether_or_not_it_fits(usage: Usage) -> None:
    assert usage.increment(ACME, "tokens", 5000) == 5000
    assert usage.increment(ACME, "tokens") == 5001


def test_racing_increments_lose_nothing(usage: Usage) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: usage.increment(ACME, "users"), range(400)))
    assert sorted(answers) == list(range(1, 401))


def test_giving_back_never_goes_below_zero(usage: Usage) -> None:
    usage.increment(ACME, "projects", 3)
    assert usage.increment(ACME, "projects", -2) == 1
    with pytest.raises(InvalidArgument, match="below zero"):
        usage.increment(ACME, "projects", -2)
    assert usage.totals(ACME)["projects"] == 1


@pytest.mark.parametrize(
    "amount", [1.0, 0.5, True, float("nan"), float("inf"), 2**53 + 1, -(2**53) - 1, 2**63, "1", None, [1]]
)
def test_l11_an_amount_is_a_whole_number(usage: Usage, quotas: Quotas, amount: Any) -> None:
    with pytest.raises(InvalidArgument):
        usage.increment(ACME, "tokens", amount)
    with pytest.raises(InvalidArgument):
        quotas.consume(ACME, tokens=amount)
    assert usage.totals(ACME) == NOTHING


def test_l11_consume_takes_no_negative_amount(usage: Usage, quotas: Quotas) -> None:
    usage.increment(ACME, "tokens", 100)
    with pytest.raises(InvalidArgument):
        quotas.consume(ACME, tokens=-100)
    assert usage.totals(ACME)["tokens"] == 100


def test_l11_a_total_cannot_grow_past_what_the_ledger_holds(usage: Usage) -> None:
    for _ in range(1023):
        usage.increment(ACME, "storage", 2**53)
    with pytest.raises(InvalidArgument):
        usage.increment(ACME, "storage", 2**53)
    assert usage.totals(ACME)["storage"] == 1023 * 2**53


@pytest.mark.parametrize("metric", ["", "Users", "currentProjects", "users; DROP TABLE usage", "agents", 7])
def test_a_metric_that_is_not_counted_is_refused(usage: Usage, quotas: Quotas, metric: Any) -> None:
    with pytest.raises(InvalidArgument):
        usage.increment(ACME, metric)
    if isinstance(metric, str):
        with pytest.raises(InvalidArgument):
            quotas.consume(ACME, **{metric: 1})


def test_an_unknown_metric_is_answered_with_those_there_are(usage: Usage) -> None:
    with pytest.raises(InvalidArgument, match="users, projects, tokens, storage"):
        usage.increment(ACME, "seats")


def test_consuming_nothing_is_a_mistake(quotas: Quotas) -> None:
    with pytest.raises(InvalidArgument):
        quotas.consume(ACME)


def test_tokens_start_anew_with_the_month_in_utc_and_nothing_else_does(
    usage: Usage, quotas: Quotas, clock: ManualClock
) -> None:
    clock.step_wall(moment("2026-11-30T23:59:59") - clock.now())
    quotas.consume(ACME, tokens=1000, projects=4)
    with pytest.raises(QuotaExceeded):
        quotas.consume(ACME, tokens=1)
    clock.advance(1)
    report = quotas.consume(ACME, tokens=1)
    assert (report.tokens.current, report.projects.current) == (1, 4)
    assert usage.totals(ACME)["tokens"] == 1
    assert usage.totals(ACME, "2026-11")["tokens"] == 1000
    assert usage.totals(ACME, "2026-10")["tokens"] == 0


@pytest.mark.parametrize("period", ["", "2026", "2026-13", "2026-00", "2026-1", "2026-11-01", "2026-11\n", 202611])
def test_a_period_is_a_month(usage: Usage, period: Any) -> None:
    with pytest.raises(InvalidArgument):
        usage.totals(ACME, period)


@pytest.mark.parametrize("step", [-3600, 3600])
def test_l9_a_stepped_wall_clock_hands_out_no_fresh_month(quotas: Quotas, clock: ManualClock, step: int) -> None:
    edge = moment("2026-12-01T00:00")
    clock.step_wall(edge - step / 2 - clock.now())
    quotas.consume(ACME, tokens=1000)
    clock.step_wall(step)
    quotas.consume(ACME, tokens=1000)
    for _ in range(4):
        step = -step
        clock.step_wall(step)
        with pytest.raises(QuotaExceeded):
            quotas.consume(ACME, tokens=1)


def test_agents_are_read_live_from_their_gauge(usage: Usage, quotas: Quotas) -> None:
    assert quotas.check(ACME).agents.current == 0
    running = {ACME: 2, BETA: 1}
    usage.add_gauge("agents", running.__getitem__)
    assert (quotas.check(ACME).agents.exceeded, quotas.check(BETA).agents.exceeded) == (True, False)
    assert usage.totals(BETA)["agents"] == 1
    running[ACME] = 0
    assert quotas.check(ACME).agents.current == 0


@pytest.mark.parametrize("metric", ["tokens", "seats"])
def test_only_what_is_not_counted_has_a_gauge(usage: Usage, metric: str) -> None:
    with pytest.raises(InvalidArgument):
        usage.add_gauge(metric, lambda tenant_id: 0)
