from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from partywall import Engine
from partywall.clock import ManualClock
from partywall.errors import QuotaExceeded, ReservationEnded, TenantNotFound
from partywall.ledger import SqliteLedger
from partywall.model import Reservations, Table
from partywall.names import TableName, TenantId
from partywall.quotas import Quotas, Usage

ACME = TenantId("ten_acme")
BETA = TenantId("ten_beta")


def charge(tenants: Any) -> None:
    tenants.granted[ACME] = replace(tenants.granted[ACME], reservations=Reservations(on_expiry="charge_cap"))


@pytest.mark.parametrize("call", ["reserve", "consume"])
def test_a_lease_that_ended_frees_its_room_for_the_next_call(quotas: Quotas, clock: ManualClock, call: str) -> None:
    quotas.reserve(ACME, projects=10, lease=10)
    clock.advance(9)
    with pytest.raises(QuotaExceeded):
        getattr(quotas, call)(ACME, projects=10)
    clock.advance(1)
    getattr(quotas, call)(ACME, projects=10)


def test_a_check_counts_no_lease_that_ended(quotas: Quotas, clock: ManualClock) -> None:
    quotas.reserve(ACME, projects=10, lease=10)
    assert quotas.check(ACME).projects.exceeded
    clock.advance(10)
    assert quotas.check(ACME).projects.remaining == 10


def test_a_lease_can_be_extended_while_it_lasts(quotas: Quotas, clock: ManualClock) -> None:
    held = quotas.reserve(ACME, tokens=800, lease=10)
    clock.advance(9)
    held.extend(10)
    clock.advance(9)
    assert quotas.expire_leases() == 0
    held.extend(5)
    clock.advance(5)
    with pytest.raises(ReservationEnded):
        held.extend(10)
    assert quotas.expire_leases() == 1


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_l9_a_stepped_wall_clock_neither_ends_leases_nor_prolongs_them(
    quotas: Quotas, clock: ManualClock, step: float
) -> None:
    held = quotas.reserve(ACME, tokens=800, lease=60)
    clock.step_wall(step)
    clock.advance(59)
    assert quotas.expire_leases() == 0
    assert quotas.check(ACME).tokens.reserved == 800
    clock.advance(1)
    assert quotas.expire_leases() == 1
    with pytest.raises(ReservationEnded):
        held.commit()


def test_a_plan_can_have_ended_leases_counted_in_full(
    quotas: Quotas, usage: Usage, tenants: Any, clock: ManualClock, ledger: SqliteLedger
) -> None:
    charge(tenants)
    held = quotas.reserve(ACME, tokens=800, lease=10, idempotency_key="k")
    clock.advance(10)
    assert (quotas.check(ACME).tokens.current, quotas.check(ACME).tokens.reserved) == (800, 0)
    for late in (held.commit, held.release):
        with pytest.raises(ReservationEnded) as caught:
            late()
        assert caught.value.state == "expired"
    assert quotas.reserve(ACME, tokens=800, idempotency_key="k").id == held.id
    assert usage.totals(ACME)["tokens"] == 800
    assert usage.verify() == []
    [record] = [each for each in ledger.read(lambda tx: tx.audit()) if each.action == "quota.lease_charged"]
    assert (record.tenant_id, record.actor, record.details["counted"]) == (ACME, "engine", {"tokens": 800})


def test_more_ended_leases_than_one_sweep_takes_are_all_swept_up(
    quotas: Quotas, tenants: Any, clock: ManualClock
) -> None:
    tenants.limit(ACME, tokens=None)
    for _ in range(300):
        quotas.reserve(ACME, tokens=1, lease=10)
    quotas.reserve(BETA, tokens=1, lease=10)
    clock.advance(10)
    assert quotas.expire_leases() == 301
    assert quotas.check(ACME).tokens.reserved == 0


def test_room_of_more_ended_leases_than_one_sweep_takes_is_free_for_the_next_call(
    quotas: Quotas, ledger: SqliteLedger, tenants: Any, clock: ManualClock
) -> None:
    tenants.limit(ACME, tokens=400, projects=400)
    table = Table.model_validate({"quota": "projects", "columns": {"name": {"type": "text"}}})
    rows = quotas.counted_rows({TableName("projects"): table})
    for call in (
        lambda: quotas.consume(ACME, tokens=400),
        lambda: rows.expect(ACME, "projects", 400, rows=0),
        lambda: quotas.reserve(ACME, tokens=400).release(),
        lambda: quotas.check(ACME),
    ):
        ledger.write(lambda tx: tx.forget_tenant(ACME))
        for _ in range(400):
            quotas.reserve(ACME, tokens=1, projects=1, lease=10)
        clock.advance(10)
        call()
        assert quotas.check(ACME).tokens.reserved == 0
        assert not ledger.read(lambda tx: tx.held_reservations(ACME))


@pytest.mark.parametrize(("policy", "counted"), [("release", 0), ("charge_cap", 800)])
def test_l2_what_a_dead_engine_held_is_settled_by_the_next_one_at_once(
    ledger: SqliteLedger, quotas: Quotas, usage: Usage, tenants: Any, clock: ManualClock, policy: str, counted: int
) -> None:
    tenants.granted[ACME] = replace(tenants.granted[ACME], reservations=Reservations(on_expiry=policy))
    dead = quotas.reserve(ACME, tokens=800)
    successor = Quotas(ledger, tenants, clock, usage)
    own = successor.reserve(BETA, tokens=5)
    assert successor.recover() == 1
    assert usage.reserved(ACME)["tokens"] == 0
    assert usage.totals(ACME)["tokens"] == counted
    with pytest.raises(ReservationEnded):
        dead.commit()
    own.commit()
    assert usage.verify() == []


def test_an_engine_ends_leases_by_itself(engine: Engine, clock: ManualClock) -> None:
    acme = engine.tenants.get_by_slug("acme")
    engine.quotas.reserve(acme.id, tokens=8, lease=10)
    clock.advance(10)
    deadline = time.monotonic() + 20
    while engine.usage.reserved(acme.id)["tokens"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_reservation_of_a_tenant_whose_file_is_gone_is_settled_all_the_same(
    quotas: Quotas, ledger: SqliteLedger, tenants: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = quotas.reserve(ACME, tokens=8)

    def gone(tenant_id: str) -> None:
        raise TenantNotFound("no such tenant")

    monkeypatch.setattr(tenants, "grants", gone)
    held.commit(tokens=7)
    assert ledger.read(lambda tx: tx.usage(ACME, "2026-11")) == {"tokens": 7}


def test_settled_reservations_are_forgotten_with_the_keys_of_their_month(
    quotas: Quotas, ledger: SqliteLedger, clock: ManualClock
) -> None:
    held = quotas.reserve(ACME, tokens=8, idempotency_key="k")
    held.commit()
    clock.step_wall(60 * 86_400)
    quotas.forget_old_events()
    assert ledger.read(lambda tx: tx.reservation(held.id)) is None
    with pytest.raises(ReservationEnded) as caught:
        held.commit()
    assert caught.value.state == "unknown"
