from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from partywall.clock import ManualClock
from partywall.errors import InvalidArgument, TenantConflict, TenantNotFound, TenantSuspended
from partywall.ledger import LifecycleRecord, SqliteLedger, Transaction, UsageEntry
from partywall.model import Status
from partywall.names import Slug, TenantId
from partywall.quotas import Quotas, Usage, UsageDifference

ACME = TenantId("ten_acme")
BETA = TenantId("ten_beta")
OCTOBER = datetime(2026, 10, 30, tzinfo=UTC)


def test_the_history_has_months_of_tokens_and_the_last_state_of_the_rest(
    usage: Usage, quotas: Quotas, clock: ManualClock
) -> None:
    quotas.consume(ACME, tokens=400, projects=3)
    usage.increment(ACME, "projects", -1)
    clock.step_wall(20 * 86_400)
    quotas.reserve(ACME, tokens=70).commit(tokens=50)
    usage.increment(ACME, "projects", 2)
    usage.increment(BETA, "users", 1)
    assert usage.history(ACME) == [
        ("2026-11", "projects", 2),
        ("2026-11", "tokens", 400),
        ("2026-12", "projects", 4),
        ("2026-12", "tokens", 50),
    ]
    assert [(each.period, each.total) for each in usage.history(ACME, "tokens")] == [("2026-11", 400), ("2026-12", 50)]
    with pytest.raises(InvalidArgument):
        usage.history(ACME, "agents")
    with pytest.raises(TenantNotFound):
        usage.history("ten_nobody")


def test_a_late_event_is_counted_in_its_own_month(usage: Usage, quotas: Quotas) -> None:
    usage.increment(ACME, "tokens", 100)
    assert usage.increment(ACME, "tokens", 7, at=OCTOBER) == 7
    assert usage.increment(ACME, "projects", 2, at=OCTOBER) == 2
    assert usage.totals(ACME)["tokens"] == 100
    assert usage.totals(ACME, "2026-10")["tokens"] == 7
    assert quotas.check(ACME).projects.current == 2
    assert usage.history(ACME)[0] == ("2026-10", "projects", 2)
    assert usage.verify() == []


@pytest.mark.parametrize(("days", "legal"), [(35, True), (36, False), (-1 / 288, True), (-1, False)])
def test_an_event_may_be_35_days_late_and_5_minutes_early(
    usage: Usage, clock: ManualClock, days: float, legal: bool
) -> None:
    at = datetime.fromtimestamp(clock.now(), UTC) - timedelta(days=days)
    if legal:
        assert usage.increment(ACME, "users", at=at) == 1
        return
    with pytest.raises(InvalidArgument, match="35 days"):
        usage.increment(ACME, "users", at=at)
    assert usage.history(ACME) == []


@pytest.mark.parametrize("at", [datetime(2026, 11, 23), "2026-11-23T10:00:00Z", 1.0])  # noqa: DTZ001  # the attack
def test_the_moment_of_an_event_has_a_time_zone(usage: Usage, at: Any) -> None:
    with pytest.raises(InvalidArgument):
        usage.increment(ACME, "users", at=at)


def test_a_correction_has_a_reason_and_is_audited(usage: Usage, ledger: SqliteLedger) -> None:
    usage.increment(ACME, "tokens", 100, at=OCTOBER)
    with pytest.raises(InvalidArgument, match="reason"):
        usage.increment(ACME, "tokens", -30, at=OCTOBER)
    assert usage.increment(ACME, "tokens", -30, at=OCTOBER, reason="billed twice") == 70
    [record] = ledger.read(lambda tx: tx.audit())
    assert (record.action, record.tenant_id) == ("usage.corrected", ACME)
    assert record.details == {"amounts": {"tokens": -30}, "period": "2026-10", "reason": "billed twice"}
    with pytest.raises(InvalidArgument, match="below zero"):
        usage.increment(ACME, "tokens", -71, at=OCTOBER, reason="too much")
    assert usage.verify() == []


@pytest.mark.parametrize("reason", ["", "a\nb", "x" * 201, 7])
def test_a_reason_is_a_printable_text(usage: Usage, reason: Any) -> None:
    with pytest.raises(InvalidArgument):
        usage.increment(ACME, "users", reason=reason)


def test_a_correction_reaches_a_suspended_tenant_and_never_a_purged_one(
    usage: Usage, tenants: Any, ledger: SqliteLedger
) -> None:
    usage.increment(ACME, "tokens", 100)
    tenants.statuses[ACME] = Status.SUSPENDED
    with pytest.raises(TenantSuspended):
        usage.increment(ACME, "tokens", -1)
    assert usage.increment(ACME, "tokens", -1, reason="billed twice") == 99
    tombstone = LifecycleRecord(ACME, Slug("acme"), Status.DELETED, purged_at=1.0)
    ledger.write(lambda tx: tx.put_lifecycle(tombstone))
    with pytest.raises(TenantNotFound):
        usage.increment(ACME, "tokens", -1, reason="billed twice")


def test_l6_moment_and_reason_belong_to_the_call(usage: Usage) -> None:
    assert usage.increment(ACME, "tokens", 5, at=OCTOBER, idempotency_key="k") == 5
    assert usage.increment(ACME, "tokens", 5, at=OCTOBER, idempotency_key="k") == 5
    for other in ({}, {"at": OCTOBER + timedelta(seconds=1)}, {"at": OCTOBER, "reason": "why"}):
        with pytest.raises(TenantConflict):
            usage.increment(ACME, "tokens", 5, idempotency_key="k", **other)  # type: ignore[arg-type]
    assert usage.totals(ACME, "2026-10")["tokens"] == 5


def test_verify_names_every_counter_that_its_log_does_not_come_to(usage: Usage, quotas: Quotas, path: Path) -> None:
    quotas.consume(ACME, tokens=400, projects=3)
    quotas.reserve(ACME, tokens=70)
    usage.increment(BETA, "users", 1)
    assert usage.verify() == []
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE usage SET total = 401, reserved = 60 WHERE metric = 'tokens'")
        connection.execute("DELETE FROM usage WHERE metric = 'users'")
        connection.commit()
    acme = [
        UsageDifference(ACME, "2026-11", "tokens", "total", 401, 400),
        UsageDifference(ACME, "2026-11", "tokens", "reserved", 60, 70),
    ]
    assert usage.verify(ACME) == acme
    assert usage.verify() == [*acme, UsageDifference(BETA, "", "users", "total", 0, 1)]
    with pytest.raises(InvalidArgument):
        usage.verify("acme")


def test_a_log_whose_parts_come_to_more_than_64_bits_is_summed_all_the_same(usage: Usage, ledger: SqliteLedger) -> None:
    def work(tx: Transaction) -> None:
        for amount in [2**53] * 1025 + [-(2**53)] * 1024 + [-5]:
            tx.append_usage(UsageEntry(ACME, "2026-11", "storage", amount, 1.0, 1.0, "counted"))
        tx.set_usage(ACME, "", "storage", 2**53 - 5)

    ledger.write(work)
    assert usage.history(ACME) == [("2026-11", "storage", 2**53 - 5)]
    assert usage.verify() == []


def test_a_line_of_an_unknown_metric_spoils_no_history(usage: Usage, ledger: SqliteLedger) -> None:
    usage.increment(ACME, "users", 3)
    stray = UsageEntry(ACME, "2026-11", "widgets", 7, 1.0, 1.0, "counted")
    ledger.write(lambda tx: tx.append_usage(stray))
    assert usage.history(ACME) == [("2026-11", "users", 3)]
    assert usage.verify() == [UsageDifference(ACME, "", "widgets", "total", 0, 7)]


def test_verify_goes_on_where_the_records_of_one_tenant_cannot_be_read(
    usage: Usage, quotas: Quotas, path: Path
) -> None:
    quotas.reserve(ACME, tokens=70)
    usage.increment(BETA, "users", 1)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE reservation SET amounts = '['")
        connection.execute("DELETE FROM usage WHERE metric = 'users'")
        connection.commit()
    unreadable = UsageDifference(ACME, "", "", "unreadable", 0, 0)
    broken = UsageDifference(BETA, "", "users", "total", 0, 1)
    assert usage.verify() == [unreadable, broken]
    assert usage.repair() == [broken]
    assert usage.verify() == [unreadable]
