from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from partywall.clock import ManualClock
from partywall.errors import (
    InvalidArgument,
    LedgerError,
    QuotaExceeded,
    ReservationEnded,
    TenantConflict,
    TenantSuspended,
)
from partywall.ledger import SqliteLedger
from partywall.model import METRICS, Reservations, Status
from partywall.names import TenantId
from partywall.quotas import Quotas, Usage

ACME = TenantId("ten_acme")
BETA = TenantId("ten_beta")
NOTHING = dict.fromkeys(METRICS, 0)


@pytest.fixture
def policy(tenants: Any) -> Callable[..., None]:
    def choose(**choices: str) -> None:
        tenants.granted[ACME] = replace(tenants.granted[ACME], reservations=Reservations(**choices))

    return choose


def tokens(quotas: Quotas) -> tuple[int, int]:
    status = quotas.check(ACME).tokens
    return status.current, status.reserved


def audited(ledger: SqliteLedger, action: str) -> list[dict[str, Any]]:
    return [dict(record.details) for record in ledger.read(lambda tx: tx.audit()) if record.action == action]


def test_what_is_reserved_is_not_there_for_others_until_it_is_settled(quotas: Quotas) -> None:
    with quotas.reserve(ACME, tokens=800, projects=1) as held:
        assert held.amounts == {"tokens": 800, "projects": 1}
        status = quotas.check(ACME).tokens
        assert (status.current, status.reserved, status.remaining, status.exceeded) == (0, 800, 200, False)
        for refused in (lambda: quotas.consume(ACME, tokens=201), lambda: quotas.reserve(ACME, tokens=201)):
            with pytest.raises(QuotaExceeded) as caught:
                refused()
            error = caught.value
            assert (error.current, error.reserved, error.limit, error.requested) == (0, 800, 1000, 201)
        assert quotas.consume(ACME, tokens=200).tokens.exceeded
        settlement = held.commit(tokens=600)
    assert settlement.counted == {"tokens": 600, "projects": 1}
    assert (settlement.given_back, settlement.overrun) == ({"tokens": 200}, {})
    assert tokens(quotas) == (800, 0)
    assert quotas.check(ACME).projects.current == 1


def test_a_commit_that_names_nothing_counts_what_was_reserved(quotas: Quotas) -> None:
    quotas.reserve(ACME, tokens=800).commit()
    assert tokens(quotas) == (800, 0)


def test_leaving_the_block_without_a_commit_gives_all_back(quotas: Quotas) -> None:
    with quotas.reserve(ACME, tokens=800):
        pass
    assert tokens(quotas) == (0, 0)


def test_l14_an_aborted_stream_releases_what_it_held(quotas: Quotas) -> None:
    def stream() -> Iterator[str]:
        with quotas.reserve(ACME, tokens=800) as held:
            yield from "abc"
            held.commit(tokens=3)

    aborted = stream()
    assert next(aborted) == "a"
    assert tokens(quotas) == (0, 800)
    aborted.close()
    assert tokens(quotas) == (0, 0)

    def failing() -> None:
        with quotas.reserve(ACME, tokens=800):
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        failing()
    assert tokens(quotas) == (0, 0)


def test_l14_an_aborted_stream_can_settle_what_it_has_sent(quotas: Quotas) -> None:
    def stream() -> Iterator[str]:
        with quotas.reserve(ACME, tokens=800) as held:
            sent = 0
            try:
                for letter in "abc":
                    sent += 1
                    yield letter
            finally:
                held.commit(tokens=sent)

    aborted = stream()
    assert [next(aborted), next(aborted)] == ["a", "b"]
    aborted.close()
    assert tokens(quotas) == (2, 0)


@pytest.mark.parametrize("left", [1, 3])
def test_l1_of_many_racers_exactly_as_many_reserve_as_there_is_room(quotas: Quotas, left: int) -> None:
    quotas.consume(ACME, projects=10 - left)

    def race(_: int) -> bool:
        try:
            quotas.reserve(ACME, projects=1)
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(race, range(64))) == left
    assert quotas.check(ACME).projects.reserved == left


def test_several_quotas_are_reserved_together_or_not_at_all(quotas: Quotas) -> None:
    for amounts in ({"projects": 1, "tokens": 1001}, {"tokens": 1001, "projects": 1}):
        with pytest.raises(QuotaExceeded, match="tokens"):
            quotas.reserve(ACME, **amounts)
        assert [status.reserved for _, status in quotas.check(ACME)] == [0] * 5


def test_l3_a_second_commit_is_refused_and_counts_nothing(quotas: Quotas) -> None:
    held = quotas.reserve(ACME, tokens=800)
    held.commit(tokens=500)
    for again in (held.commit, lambda: held.commit(tokens=500), held.release, held.extend):
        with pytest.raises(ReservationEnded) as caught:
            again()
        assert caught.value.state == "committed"
        assert isinstance(caught.value, TenantConflict)
    assert tokens(quotas) == (500, 0)


def test_l3_racing_commits_count_once(quotas: Quotas) -> None:
    held = quotas.reserve(ACME, tokens=800)

    def race(_: int) -> bool:
        try:
            held.commit(tokens=500)
        except ReservationEnded:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(race, range(32))) == 1
    assert tokens(quotas) == (500, 0)


def test_l3_a_commit_after_a_release_is_refused_and_a_second_release_is_not(quotas: Quotas) -> None:
    held = quotas.reserve(ACME, tokens=800)
    held.release()
    held.release()
    with pytest.raises(ReservationEnded) as caught:
        held.commit()
    assert caught.value.state == "released"
    assert tokens(quotas) == (0, 0)


@pytest.mark.parametrize("swept", [True, False])
def test_l3_a_commit_after_the_lease_is_refused_and_counts_nothing(
    quotas: Quotas, usage: Usage, clock: ManualClock, swept: bool
) -> None:
    held = quotas.reserve(ACME, tokens=800, lease=60)
    clock.advance(60)
    if swept:
        assert quotas.expire_leases() == 1
    with pytest.raises(ReservationEnded, match=r"usage\.increment") as caught:
        held.commit(tokens=500)
    assert caught.value.state == "expired"
    assert tokens(quotas) == (0, 0)
    held.release()
    assert usage.verify() == []


def test_an_overrun_is_counted_and_recorded(quotas: Quotas, ledger: SqliteLedger, usage: Usage) -> None:
    held = quotas.reserve(ACME, tokens=800, projects=2)
    settlement = held.commit(tokens=1300, projects=1)
    assert settlement.overrun == {"tokens": 500}
    assert (settlement.counted, settlement.given_back) == ({"tokens": 1300, "projects": 1}, {"projects": 1})
    assert tokens(quotas) == (1300, 0)
    [record] = audited(ledger, "quota.overrun")
    assert (record["overrun"], record["reserved"]) == ({"tokens": 500}, {"tokens": 800, "projects": 2})
    assert usage.verify(ACME) == []


def test_a_capped_overrun_is_recorded_and_not_counted(
    quotas: Quotas, ledger: SqliteLedger, policy: Callable[..., None]
) -> None:
    policy(overrun="cap")
    settlement = quotas.reserve(ACME, tokens=800).commit(tokens=1300)
    assert (settlement.counted, settlement.overrun) == ({"tokens": 800}, {"tokens": 500})
    assert tokens(quotas) == (800, 0)
    assert audited(ledger, "quota.overrun")[0]["counted"] == {"tokens": 800}


def test_a_policy_is_that_of_the_moment_of_the_reservation(quotas: Quotas, policy: Callable[..., None]) -> None:
    held = quotas.reserve(ACME, tokens=800)
    policy(overrun="cap")
    assert held.commit(tokens=900).counted == {"tokens": 900}


def test_l16_a_suspended_tenant_reserves_nothing_and_what_it_spent_before_is_counted(
    quotas: Quotas, usage: Usage, tenants: Any
) -> None:
    spent, unspent = quotas.reserve(ACME, tokens=500), quotas.reserve(ACME, tokens=300)
    tenants.statuses[ACME] = Status.SUSPENDED
    with pytest.raises(TenantSuspended):
        quotas.reserve(ACME, tokens=1)
    with pytest.raises(TenantSuspended):
        spent.extend(60)
    spent.commit(tokens=400)
    unspent.release()
    assert usage.totals(ACME)["tokens"] == 400
    assert usage.reserved(ACME)["tokens"] == 0


def test_l16_leases_of_a_suspended_tenant_end_all_the_same(
    quotas: Quotas, usage: Usage, tenants: Any, clock: ManualClock
) -> None:
    quotas.reserve(ACME, tokens=500, lease=10)
    tenants.statuses[ACME] = Status.SUSPENDED
    clock.advance(10)
    assert quotas.expire_leases() == 1
    assert usage.reserved(ACME)["tokens"] == 0


def test_a_purged_tenants_reservation_brings_nothing_back(quotas: Quotas, ledger: SqliteLedger) -> None:
    held = quotas.reserve(ACME, tokens=500)
    ledger.write(lambda tx: tx.forget_tenant(ACME))
    for late in (held.commit, held.release, held.extend):
        with pytest.raises(ReservationEnded) as caught:
            late()
        assert caught.value.state == "unknown"
    assert ledger.read(lambda tx: tx.tenants_with_usage()) == []


def test_l6_the_same_call_under_the_same_key_is_the_same_reservation(quotas: Quotas) -> None:
    first = quotas.reserve(ACME, tokens=800, idempotency_key="k")
    with quotas.reserve(ACME, tokens=800, idempotency_key="k") as again:
        assert again.id == first.id
    assert tokens(quotas) == (0, 800)
    first.commit(tokens=700)
    late = quotas.reserve(ACME, tokens=800, idempotency_key="k")
    assert late.id == first.id
    with pytest.raises(ReservationEnded):
        late.commit()
    assert tokens(quotas) == (700, 0)


def test_l6_another_call_under_the_same_key_is_a_conflict(quotas: Quotas, usage: Usage) -> None:
    quotas.reserve(ACME, tokens=8, idempotency_key="k")
    usage.increment(ACME, "users", idempotency_key="i")
    others: list[Callable[[], object]] = [
        lambda: quotas.reserve(ACME, tokens=9, idempotency_key="k"),
        lambda: quotas.reserve(ACME, projects=8, idempotency_key="k"),
        lambda: quotas.reserve(ACME, users=1, idempotency_key="i"),
        lambda: quotas.consume(ACME, tokens=8, idempotency_key="k"),
    ]
    for other in others:
        with pytest.raises(TenantConflict):
            other()
    assert quotas.reserve(BETA, tokens=9, idempotency_key="k").amounts == {"tokens": 9}
    assert tokens(quotas) == (0, 8)


def test_l6_what_was_given_back_can_be_tried_again_under_its_key(quotas: Quotas, clock: ManualClock) -> None:
    first = quotas.reserve(ACME, tokens=800, idempotency_key="k", lease=10)
    clock.advance(10)
    second = quotas.reserve(ACME, tokens=800, idempotency_key="k")
    second.release()
    third = quotas.reserve(ACME, tokens=800, idempotency_key="k")
    assert len({first.id, second.id, third.id}) == 3
    third.commit()
    assert tokens(quotas) == (800, 0)


def test_l6_racing_repeats_of_one_call_reserve_once(quotas: Quotas) -> None:
    with ThreadPoolExecutor(16) as pool:
        held = list(pool.map(lambda _: quotas.reserve(ACME, tokens=700, idempotency_key="k"), range(64)))
    assert len({each.id for each in held}) == 1
    assert tokens(quotas) == (0, 700)


@pytest.mark.parametrize("amount", [1.0, True, float("nan"), 2**53 + 1, -1, 2**63, "1", None])
def test_l11_a_reserved_amount_is_a_whole_number_and_not_negative(quotas: Quotas, usage: Usage, amount: Any) -> None:
    with pytest.raises(InvalidArgument):
        quotas.reserve(ACME, tokens=amount)
    held = quotas.reserve(ACME, tokens=10)
    with pytest.raises(InvalidArgument):
        held.commit(tokens=amount)
    assert tokens(quotas) == (0, 10)
    assert usage.totals(ACME) == NOTHING


@pytest.mark.parametrize("lease", [0, -1, float("nan"), float("inf"), 86_401, True, "60", None])
def test_l11_a_lease_is_a_number_of_seconds_up_to_a_day(quotas: Quotas, lease: Any) -> None:
    with pytest.raises(InvalidArgument):
        quotas.reserve(ACME, tokens=1, lease=lease)
    held = quotas.reserve(ACME, tokens=1)
    with pytest.raises(InvalidArgument):
        held.extend(lease)


def test_only_counted_metrics_are_reserved_and_only_reserved_ones_are_committed(quotas: Quotas) -> None:
    for amounts in ({}, {"agents": 1}, {"seats": 1}):
        with pytest.raises(InvalidArgument):
            quotas.reserve(ACME, **amounts)
    held = quotas.reserve(ACME, tokens=10)
    with pytest.raises(InvalidArgument, match="holds no 'projects'"):
        held.commit(projects=1)
    held.commit(tokens=0)
    assert tokens(quotas) == (0, 0)


def test_a_reservation_is_counted_in_the_month_whose_quota_it_held(
    quotas: Quotas, usage: Usage, clock: ManualClock
) -> None:
    held, other = quotas.reserve(ACME, tokens=800, lease=86_400), quotas.reserve(ACME, projects=1, lease=86_400)
    clock.step_wall(8 * 86_400)
    assert tokens(quotas) == (0, 0)
    assert quotas.check(ACME).projects.reserved == 1
    held.commit(tokens=700)
    other.commit()
    assert usage.totals(ACME, "2026-11")["tokens"] == 700
    assert tokens(quotas) == (0, 0)
    assert usage.totals(ACME)["projects"] == 1
    assert usage.verify() == []


def test_l5_with_the_ledger_down_nothing_is_reserved_and_a_block_ends_with_its_own_error(
    quotas: Quotas, ledger: SqliteLedger
) -> None:
    def work() -> None:
        with quotas.reserve(ACME, tokens=1):
            ledger.close()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    with pytest.raises(LedgerError):
        quotas.reserve(ACME, tokens=1)
