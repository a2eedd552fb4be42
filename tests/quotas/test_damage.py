"""What is damaged, or past all measure, of one tenant stops no other, and never keeps an engine from opening."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from partywall import Engine
from partywall.clock import ManualClock
from partywall.errors import InvalidArgument, ReservationEnded
from partywall.ledger import AuditRecord, SqliteLedger, UsageEntry
from partywall.model import Reservations, Tenant
from partywall.names import TenantId
from partywall.quotas import Quotas, Usage

ACME = TenantId("ten_acme")
BETA = TenantId("ten_beta")
MOST = 2**63 - 1
MONTH = "2026-11"


@pytest.fixture
def unlimited(tenants: Any) -> None:
    tenants.limit(ACME, tokens=None)
    tenants.granted[ACME] = replace(tenants.granted[ACME], reservations=Reservations(on_expiry="charge_cap"))


def audited(ledger: SqliteLedger, action: str) -> list[AuditRecord]:
    return [record for record in ledger.read(lambda tx: tx.audit()) if record.action == action]


def damage(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def fill(ledger: SqliteLedger, total: int) -> None:
    """As an older release could leave it: counted up to the brim while something is reserved."""
    entry = UsageEntry(ACME, MONTH, "tokens", total, 1.0, 1.0, "counted")
    ledger.write(lambda tx: (tx.append_usage(entry), tx.set_usage(ACME, MONTH, "tokens", total)))


@pytest.mark.usefixtures("unlimited")
def test_what_is_counted_and_reserved_fits_the_ledger_together(quotas: Quotas, usage: Usage) -> None:
    held = quotas.reserve(ACME, tokens=2**53)
    for _ in range(1022):
        usage.increment(ACME, "tokens", 2**53)
    assert usage.increment(ACME, "tokens", 2**53 - 1) == MOST - 2**53
    for refused in (
        lambda: usage.increment(ACME, "tokens", 1),
        lambda: quotas.consume(ACME, tokens=1),
        lambda: quotas.reserve(ACME, tokens=1),
    ):
        with pytest.raises(InvalidArgument, match="2\\^63 - 1"):
            refused()
    assert usage.increment(ACME, "tokens", 0) == MOST - 2**53
    held.commit()
    assert usage.totals(ACME)["tokens"] == MOST
    assert usage.verify() == []


@pytest.mark.usefixtures("unlimited")
@pytest.mark.parametrize("end", ["lease", "commit", "successor"])
def test_a_settlement_past_the_largest_total_counts_what_fits_and_logs_the_same(
    quotas: Quotas, usage: Usage, ledger: SqliteLedger, tenants: Any, clock: ManualClock, end: str
) -> None:
    held = quotas.reserve(ACME, tokens=800, lease=10)
    beta = quotas.reserve(BETA, tokens=700, lease=10)
    fill(ledger, MOST - 5)
    if end == "lease":
        clock.advance(10)
        assert quotas.expire_leases() == 2
    elif end == "successor":
        assert Quotas(ledger, tenants, clock, usage).recover() == 2
    else:
        held.commit()
        beta.release()
    assert (usage.totals(ACME)["tokens"], usage.reserved(ACME)["tokens"], usage.reserved(BETA)["tokens"]) == (
        MOST,
        0,
        0,
    )
    assert usage.verify() == []
    [record] = audited(ledger, "usage.damaged")
    assert (record.tenant_id, record.details["uncounted"], record.details["source"]) == (ACME, {"tokens": 795}, held.id)


def test_a_reservation_that_its_counter_does_not_know_of_is_settled_and_told(
    quotas: Quotas, usage: Usage, ledger: SqliteLedger, path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    held, beta = quotas.reserve(ACME, tokens=900, lease=10), quotas.reserve(BETA, tokens=700, lease=10)
    damage(path, "UPDATE usage SET reserved = 0 WHERE tenant_id = 'ten_acme'")
    clock.advance(10)
    with caplog.at_level(logging.ERROR, "partywall.quotas"):
        assert quotas.expire_leases() == 2
    assert "damaged" in caplog.text
    assert usage.verify() == []
    [record] = audited(ledger, "usage.damaged")
    assert (record.tenant_id, record.actor, record.details["not_reserved"]) == (ACME, "engine", {"tokens": 900})
    for ended in (held, beta):
        with pytest.raises(ReservationEnded):
            ended.commit()


def test_a_record_that_cannot_be_settled_keeps_no_other_from_it(
    quotas: Quotas, usage: Usage, ledger: SqliteLedger, path: Path, clock: ManualClock
) -> None:
    broken = quotas.reserve(ACME, tokens=1, lease=5)
    quotas.reserve(ACME, tokens=2, lease=10)
    quotas.reserve(BETA, tokens=3, lease=10)
    damage(path, f"UPDATE reservation SET amounts = '{{\"tokens\":\"many\"}}' WHERE id = '{broken.id}'")
    clock.advance(10)
    for settled in (2, 0):
        assert quotas.expire_leases() == settled
    assert (usage.reserved(ACME)["tokens"], usage.reserved(BETA)["tokens"]) == (1, 0)
    [record] = audited(ledger, "quota.settling_failed")
    assert (record.tenant_id, record.details["reservation"]) == (ACME, broken.id)
    assert quotas.consume(ACME, tokens=999).tokens.current == 999
    assert quotas.consume(BETA, tokens=1000).tokens.current == 1000


def test_a_record_that_cannot_even_be_read_keeps_no_other_tenants_from_being_settled(
    quotas: Quotas, usage: Usage, ledger: SqliteLedger, tenants: Any, path: Path, clock: ManualClock
) -> None:
    broken = quotas.reserve(ACME, tokens=1, lease=5)
    quotas.reserve(BETA, tokens=3, lease=10)
    quotas.reserve(BETA, projects=3)
    damage(path, f"UPDATE reservation SET amounts = '[' WHERE id = '{broken.id}'")
    clock.advance(10)
    for settled in (1, 0):
        assert quotas.expire_leases() == settled
    assert usage.reserved(BETA)["tokens"] == 0
    assert Quotas(ledger, tenants, clock, usage).recover() == 1
    assert usage.reserved(BETA)["projects"] == 0
    assert {record.tenant_id for record in audited(ledger, "quota.settling_failed")} == {ACME}


def test_an_engine_opens_whatever_became_of_reservations(
    engine: Engine, acme: Tenant, beta: Tenant, open_engine: Callable[..., Engine]
) -> None:
    path = engine.folder.ledger
    for tokens in ("[", '{"tokens":"many"}'):
        broken = engine.quotas.reserve(acme.id, tokens=5)
        engine.quotas.reserve(beta.id, tokens=6)
        engine.close()
        damage(path, f"UPDATE reservation SET amounts = '{tokens}' WHERE id = '{broken.id}'")
        engine = open_engine()
        assert [record.action for record in engine.audit.records(limit=9)].count("quota.settling_failed") >= 1
        assert engine.quotas.consume(beta.id, tokens=1).tokens.reserved == 0
        damage(path, f"UPDATE reservation SET amounts = '{{}}' WHERE id = '{broken.id}'")
    assert engine.quotas.check(beta.id).tokens.reserved == 0


def test_repair_sets_counters_to_what_log_and_reservations_come_to_and_is_audited(
    quotas: Quotas, usage: Usage, ledger: SqliteLedger, path: Path
) -> None:
    quotas.consume(ACME, tokens=400, projects=3)
    held = quotas.reserve(ACME, tokens=70)
    usage.increment(BETA, "users", 1)
    assert usage.repair() == []
    damage(path, "UPDATE usage SET total = 401, reserved = 0 WHERE metric = 'tokens'")
    damage(path, "DELETE FROM usage WHERE metric = 'users'")
    broken = usage.verify()
    assert len(broken) == 3
    assert usage.repair(BETA) == broken[2:]
    assert usage.repair() == broken[:2]
    assert usage.verify() == []
    assert (usage.totals(ACME)["tokens"], usage.reserved(ACME)["tokens"], usage.totals(BETA)["users"]) == (400, 70, 1)
    held.commit()
    beta, acme = audited(ledger, "usage.repaired")
    assert (beta.tenant_id, acme.tenant_id) == (BETA, ACME)
    assert [(each["what"], each["counter"], each["rebuilt"]) for each in acme.details["counters"]] == [
        ("total", 401, 400),
        ("reserved", 0, 70),
    ]
