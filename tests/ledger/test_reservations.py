from __future__ import annotations

from dataclasses import replace

import pytest

from partywall.errors import InvalidArgument
from partywall.ledger import (
    ReservationRecord,
    ReservationState,
    SqliteLedger,
    UsageCounter,
    UsageEntry,
    UsageEvent,
)
from partywall.names import TenantId

ACME = TenantId("ten_acme")
BETA = TenantId("ten_beta")
HELD = ReservationRecord(
    "res_1", ACME, "one", "2026-11", {"tokens": 5}, ReservationState.RESERVED, 1.0, 10.0, False, True, "k"
)


def put(ledger: SqliteLedger, *records: ReservationRecord) -> None:
    for record in records:
        ledger.write(lambda tx, record=record: tx.put_reservation(record))


def test_a_reservation_is_read_back_as_it_was_written(ledger: SqliteLedger) -> None:
    put(ledger, HELD)
    assert ledger.read(lambda tx: tx.reservation("res_1")) == HELD
    assert ledger.read(lambda tx: tx.reservation("res_2")) is None


def test_a_reservation_is_settled_once(ledger: SqliteLedger) -> None:
    put(ledger, HELD)
    settle = ReservationState.COMMITTED, 5.0, {"tokens": 3}
    assert ledger.write(lambda tx: tx.extend_reservation("res_1", 20.0))
    assert ledger.write(lambda tx: tx.settle_reservation("res_1", *settle))
    assert not ledger.write(lambda tx: tx.settle_reservation("res_1", ReservationState.RELEASED, 6.0, {}))
    assert not ledger.write(lambda tx: tx.extend_reservation("res_1", 30.0))
    after = replace(HELD, state=settle[0], settled_at=5.0, counted={"tokens": 3}, expires_at=20.0)
    assert ledger.read(lambda tx: tx.reservation("res_1")) == after
    assert ledger.read(lambda tx: tx.held_reservations()) == []


def test_held_reservations_are_found_by_tenant_lease_and_owner(ledger: SqliteLedger) -> None:
    later = replace(HELD, id="res_2", expires_at=20.0)
    foreign = replace(HELD, id="res_3", tenant_id=BETA, owner="two", expires_at=5.0)
    put(ledger, later, HELD, foreign)
    assert ledger.read(lambda tx: tx.held_reservations()) == [foreign, HELD, later]
    assert ledger.read(lambda tx: tx.held_reservations(ACME)) == [HELD, later]
    assert ledger.read(lambda tx: tx.held_reservations(ACME, expired_by=10.0)) == [HELD]
    assert ledger.read(lambda tx: tx.held_reservations(not_of="two")) == [HELD, later]
    assert ledger.read(lambda tx: tx.held_reservations(limit=1)) == [foreign]


def test_the_newest_reservation_of_a_key_is_found(ledger: SqliteLedger) -> None:
    put(ledger, HELD, replace(HELD, id="res_2"), replace(HELD, id="res_3", tenant_id=BETA))
    newest = ledger.read(lambda tx: tx.reservation_of_key(ACME, "k"))
    assert newest is not None
    assert newest.id == "res_2"
    assert ledger.read(lambda tx: tx.reservation_of_key(ACME, "other")) is None


def test_settled_reservations_are_forgotten_by_age_and_held_ones_are_not(ledger: SqliteLedger) -> None:
    put(ledger, HELD, replace(HELD, id="res_2"))
    ledger.write(lambda tx: tx.settle_reservation("res_2", ReservationState.RELEASED, 5.0, {}))
    assert ledger.write(lambda tx: tx.forget_reservations(5.0)) == 0
    assert ledger.write(lambda tx: tx.forget_reservations(5.1)) == 1
    assert ledger.read(lambda tx: tx.reservation("res_1")) == HELD


def test_a_total_and_what_is_reserved_beside_it_do_not_disturb_each_other(ledger: SqliteLedger) -> None:
    ledger.write(lambda tx: tx.set_reserved(ACME, "", "users", 3))
    ledger.write(lambda tx: tx.set_usage(ACME, "", "users", 2))
    ledger.write(lambda tx: tx.set_usage(ACME, "2026-11", "tokens", 9))
    ledger.write(lambda tx: tx.set_reserved(ACME, "", "users", 1))
    assert ledger.read(lambda tx: tx.usage_counters(ACME, "")) == [UsageCounter("", "users", 2, 1)]
    assert len(ledger.read(lambda tx: tx.usage_counters(ACME))) == 2
    for illegal in (-1, 1.0, 2**63):
        with pytest.raises(InvalidArgument):
            ledger.write(lambda tx, illegal=illegal: tx.set_reserved(ACME, "", "users", illegal))


def test_the_log_sums_by_month_and_metric(ledger: SqliteLedger) -> None:
    for period, amount in (("2026-10", 5), ("2026-11", 7), ("2026-11", -2)):
        entry = UsageEntry(ACME, period, "tokens", amount, 1.0, 2.0, "counted")
        ledger.write(lambda tx, entry=entry: tx.append_usage(entry))
    assert ledger.read(lambda tx: tx.logged_usage(ACME)) == {("2026-10", "tokens"): 5, ("2026-11", "tokens"): 5}
    assert ledger.read(lambda tx: tx.logged_usage(BETA)) == {}


def test_a_threshold_is_marked_once(ledger: SqliteLedger) -> None:
    def mark(limit: int) -> bool:
        return ledger.write(lambda tx: tx.mark_threshold(ACME, "2026-11", "tokens", 80, limit))

    assert [mark(100), mark(100), mark(200)] == [True, False, True]
    assert ledger.write(lambda tx: tx.forget_thresholds("2026-11")) == 0
    assert ledger.write(lambda tx: tx.forget_thresholds("2026-12")) == 2


def test_a_forgotten_tenant_leaves_no_row_of_any_kind(ledger: SqliteLedger) -> None:
    put(ledger, HELD)
    ledger.write(lambda tx: tx.set_usage(ACME, "", "users", 2))
    ledger.write(lambda tx: tx.append_usage(UsageEntry(ACME, "2026-11", "users", 2, 1.0, 1.0, "counted")))
    ledger.write(lambda tx: tx.mark_threshold(ACME, "2026-11", "users", 80, 2))
    ledger.write(lambda tx: tx.put_usage_event(UsageEvent(ACME, "k", "f", "", 1.0, {})))
    ledger.write(lambda tx: tx.forget_tenant(ACME))

    def rows(table: str) -> int:
        writer = ledger._writer
        assert writer is not None
        return writer.outside(lambda connection: connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])

    tables = ("usage", "usage_log", "usage_event", "reservation", "threshold")
    assert [rows(table) for table in tables] == [0] * len(tables)
