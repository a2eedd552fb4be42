from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from partywall.clock import ManualClock
from partywall.errors import (
    InvalidArgument,
    LedgerError,
    QuotaExceeded,
    TenantConflict,
    TenantDeleted,
    TenantNotFound,
    TenantPending,
    TenantSuspended,
)
from partywall.ledger import LifecycleRecord, SqliteLedger
from partywall.model import METRICS, Grants, QuotaLimits, Status, Strategy
from partywall.names import PlanName, Slug, TenantId
from partywall.quotas import Quotas, Usage

ACME = TenantId("ten_acme")
BETA = TenantId("ten_beta")
REFUSALS = {
    Status.PENDING: TenantPending,
    Status.SUSPENDED: TenantSuspended,
    Status.DELETED: TenantDeleted,
}


class Tenants:
    """Who is there and what each is granted, without files."""

    def __init__(self) -> None:
        limits = QuotaLimits(users=5, projects=10, tokens=1000, storage=10**9, agents=2)
        grants = Grants(PlanName("starter"), limits, frozenset(), {}, Strategy.ROW, 30, None)
        self.granted = {ACME: grants, BETA: grants}
        self.statuses: dict[TenantId, Status] = {ACME: Status.ACTIVE, BETA: Status.ACTIVE}

    def limit(self, tenant_id: TenantId, **limits: int | None) -> None:
        grants = self.granted[tenant_id]
        self.granted[tenant_id] = replace(grants, quotas=replace(grants.quotas, **limits))

    def status(self, tenant_id: TenantId) -> Status | None:
        return self.statuses.get(tenant_id)

    def require_active(self, tenant_id: str) -> TenantId:
        status = self.statuses.get(TenantId(tenant_id))
        if status is Status.ACTIVE:
            return TenantId(tenant_id)
        raise REFUSALS[status]("no") if status else TenantNotFound("no such tenant")

    def grants(self, tenant_id: str) -> Grants:
        return self.granted[TenantId(tenant_id)]


def moment(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(moment("2026-11-23T12:00"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[SqliteLedger]:
    opened = SqliteLedger(path)
    yield opened
    opened.close()


@pytest.fixture
def tenants() -> Tenants:
    return Tenants()


@pytest.fixture
def usage(ledger: SqliteLedger, tenants: Tenants, clock: ManualClock) -> Usage:
    return Usage(ledger, tenants, clock)


@pytest.fixture
def quotas(ledger: SqliteLedger, tenants: Tenants, clock: ManualClock, usage: Usage) -> Quotas:
    return Quotas(ledger, tenants, clock, usage)


NOTHING = dict.fromkeys(METRICS, 0)


def test_should_enforce_quota_limits(usage: Usage, quotas: Quotas) -> None:
    usage.increment(ACME, "projects", 10)
    assert quotas.check(ACME).projects.exceeded is True
    with pytest.raises(QuotaExceeded):
        quotas.consume(ACME, projects=1)


def test_a_status_says_what_is_there_and_what_is_left(usage: Usage, quotas: Quotas, tenants: Tenants) -> None:
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


def test_a_limit_of_zero_is_exceeded_from_the_start(quotas: Quotas, tenants: Tenants) -> None:
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


def test_what_is_not_asked_for_refuses_nothing(quotas: Quotas, usage: Usage, tenants: Tenants) -> None:
    usage.increment(ACME, "users", 50)
    assert quotas.consume(ACME, tokens=1, users=0).users.current == 50


def test_a_smaller_plan_refuses_more_and_keeps_what_is_there(quotas: Quotas, tenants: Tenants) -> None:
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


def test_l6_the_same_key_with_the_same_body_counts_once(usage: Usage, quotas: Quotas) -> None:
    assert usage.increment(ACME, "projects", 2, idempotency_key="k1") == 2
    usage.increment(ACME, "projects")
    assert usage.increment(ACME, "projects", 2, idempotency_key="k1") == 2
    first = quotas.consume(ACME, tokens=400, users=1, idempotency_key="k2")
    quotas.consume(ACME, tokens=600)
    assert quotas.consume(ACME, users=1, tokens=400, idempotency_key="k2") == first
    assert usage.totals(ACME) == {**NOTHING, "projects": 3, "tokens": 1000, "users": 1}


def test_l6_the_same_key_with_another_body_is_a_conflict(usage: Usage, quotas: Quotas) -> None:
    usage.increment(ACME, "projects", 2, idempotency_key="k")
    others: list[Callable[[], object]] = [
        lambda: usage.increment(ACME, "projects", 3, idempotency_key="k"),
        lambda: usage.increment(ACME, "users", 2, idempotency_key="k"),
        lambda: quotas.consume(ACME, projects=2, idempotency_key="k"),
    ]
    for other in others:
        with pytest.raises(TenantConflict):
            other()
    assert usage.totals(ACME) == {**NOTHING, "projects": 2}


def test_l6_a_key_is_a_tenants_own(usage: Usage) -> None:
    usage.increment(ACME, "projects", 2, idempotency_key="k")
    assert usage.increment(BETA, "projects", 5, idempotency_key="k") == 5


def test_l6_racing_repeats_of_one_call_count_once(usage: Usage) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: usage.increment(ACME, "tokens", 7, idempotency_key="k"), range(64)))
    assert answers == [7] * 64
    assert usage.totals(ACME)["tokens"] == 7


def test_l6_a_refused_call_does_not_use_up_its_key(quotas: Quotas, tenants: Tenants) -> None:
    with pytest.raises(QuotaExceeded):
        quotas.consume(ACME, projects=11, idempotency_key="k")
    tenants.limit(ACME, projects=20)
    assert quotas.consume(ACME, projects=11, idempotency_key="k").projects.current == 11


@pytest.mark.parametrize("key", ["", "a\nb", "x" * 257, 7, b"k"])
def test_an_idempotency_key_is_a_printable_text(usage: Usage, quotas: Quotas, key: Any) -> None:
    with pytest.raises(InvalidArgument):
        usage.increment(ACME, "users", idempotency_key=key)
    with pytest.raises(InvalidArgument):
        quotas.consume(ACME, users=1, idempotency_key=key)


def test_keys_are_kept_for_this_month_and_the_one_before(usage: Usage, quotas: Quotas, clock: ManualClock) -> None:
    usage.increment(ACME, "users", idempotency_key="november")
    clock.step_wall(moment("2026-12-31T23:59:59") - clock.now())
    assert quotas.forget_old_events() == 0
    assert usage.increment(ACME, "users", idempotency_key="november") == 1
    clock.step_wall(moment("2027-01-01T00:00") - clock.now())
    assert quotas.forget_old_events() == 1
    assert usage.increment(ACME, "users", idempotency_key="november") == 2


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
    quotas.add_gauge("agents", running.__getitem__)
    assert (quotas.check(ACME).agents.exceeded, quotas.check(BETA).agents.exceeded) == (True, False)
    assert usage.totals(BETA)["agents"] == 1
    running[ACME] = 0
    assert quotas.check(ACME).agents.current == 0


@pytest.mark.parametrize("metric", ["tokens", "seats"])
def test_only_what_is_not_counted_has_a_gauge(quotas: Quotas, metric: str) -> None:
    with pytest.raises(InvalidArgument):
        quotas.add_gauge(metric, lambda tenant_id: 0)


CALLS: list[Callable[[Usage, Quotas], object]] = [
    lambda usage, quotas: usage.increment(ACME, "users"),
    lambda usage, quotas: usage.increment(ACME, "users", idempotency_key="before"),
    lambda usage, quotas: quotas.consume(ACME, users=1),
    lambda usage, quotas: quotas.check(ACME),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", list(REFUSALS))
def test_a_tenant_that_is_not_in_service_is_refused(
    usage: Usage, quotas: Quotas, tenants: Tenants, status: Status, call: Callable[[Usage, Quotas], object]
) -> None:
    usage.increment(ACME, "users", idempotency_key="before")
    tenants.statuses[ACME] = status
    with pytest.raises(REFUSALS[status]):
        call(usage, quotas)
    assert usage.totals(ACME)["users"] == 1


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", list(REFUSALS))
def test_what_the_ledger_imposed_refuses_before_the_directory_says_so(
    ledger: SqliteLedger, usage: Usage, quotas: Quotas, status: Status, call: Callable[[Usage, Quotas], object]
) -> None:
    ledger.write(lambda tx: tx.put_lifecycle(LifecycleRecord(ACME, Slug("acme"), status)))
    with pytest.raises(REFUSALS[status]):
        call(usage, quotas)
    assert ledger.read(lambda tx: tx.usage(ACME, "")) == {}


def test_an_unknown_tenant_is_refused_everywhere(usage: Usage, quotas: Quotas) -> None:
    nobody = TenantId("ten_nobody")
    for call in (
        lambda: usage.increment(nobody, "users"),
        lambda: usage.totals(nobody),
        lambda: quotas.consume(nobody, users=1),
        lambda: quotas.check(nobody),
    ):
        with pytest.raises(TenantNotFound):
            call()


def test_one_tenants_usage_shows_in_no_other_answer(usage: Usage, quotas: Quotas) -> None:
    before = usage.totals(BETA), quotas.check(BETA)
    quotas.consume(ACME, tokens=1000, users=5, idempotency_key="k")
    assert (usage.totals(BETA), quotas.check(BETA)) == before


def test_l5_without_its_ledger_everything_is_refused(ledger: SqliteLedger, usage: Usage, quotas: Quotas) -> None:
    ledger.close()
    calls = [*CALLS, lambda usage, quotas: usage.totals(ACME), lambda usage, quotas: quotas.forget_old_events()]
    for call in calls:
        with pytest.raises(LedgerError):
            call(usage, quotas)


def test_l5_a_full_disk_refuses_and_counts_nothing(ledger: SqliteLedger, usage: Usage, quotas: Quotas) -> None:
    usage.increment(ACME, "users")

    def fill(connection: Any) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")

    ledger._writer.outside(fill)  # type: ignore[union-attr]
    refused_at = 0
    for number in range(200):
        try:
            quotas.consume(ACME, tokens=1, idempotency_key=f"{number:0256}")
        except LedgerError:
            refused_at = number
            break
    assert refused_at
    assert usage.totals(ACME)["tokens"] == refused_at


SPENDERS = """
import os, sys, threading
from pathlib import Path
from partywall.clock import ManualClock
from partywall.ledger import SqliteLedger
from partywall.model import Grants, QuotaLimits, Status, Strategy
from partywall.quotas import Quotas
class Tenants:
    def status(self, tenant_id): return Status.ACTIVE
    def require_active(self, tenant_id): return tenant_id
    def grants(self, tenant_id):
        return Grants("free", QuotaLimits(None, None, 10**9, None, None), frozenset(), {}, Strategy.ROW, 30, None)
quotas = Quotas(SqliteLedger(Path(sys.argv[1])), Tenants(), ManualClock(float(sys.argv[2])))
def spend(thread):
    number = 0
    while True:
        number += 1
        key = f"{sys.argv[3]}-{thread}-{number}"
        quotas.consume("ten_acme", tokens=3, idempotency_key=key)
        os.write(1, f"{key}\\n".encode())
for thread in range(4):
    threading.Thread(target=spend, args=(thread,)).start()
"""


def test_l2_kill_9_loses_no_acknowledged_spending_and_a_repeat_counts_once(
    path: Path, tenants: Tenants, clock: ManualClock
) -> None:
    tenants.limit(ACME, tokens=None)
    chance = random.Random(11)
    for life in range(4):
        command = [sys.executable, "-c", SPENDERS, str(path), str(clock.now()), str(life)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            acknowledged = [child.stdout.readline().strip() for _ in range(chance.randint(5, 60))]
            os.kill(child.pid, signal.SIGKILL)
            acknowledged += [line.strip() for line in child.stdout if line.endswith("\n")]
        ledger = SqliteLedger(path)
        quotas, usage = Quotas(ledger, tenants, clock), Usage(ledger, tenants, clock)
        before = usage.totals(ACME)["tokens"]
        assert before % 3 == 0
        for key in acknowledged:
            quotas.consume(ACME, tokens=3, idempotency_key=key)
        assert usage.totals(ACME)["tokens"] == before
        ledger.close()
