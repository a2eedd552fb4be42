from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from partywall.clock import ManualClock
from partywall.errors import QuotaExceeded
from partywall.ledger import SqliteLedger
from partywall.model import PlansFile
from partywall.names import TenantId
from partywall.quotas import Crossing, Quotas, Usage, crossing_of

ACME = TenantId("ten_acme")
BETA = TenantId("ten_beta")


def told(ledger: SqliteLedger) -> list[tuple[str, int, int, int]]:
    found = [crossing_of(record) for record in ledger.read(lambda tx: tx.audit())]
    return [(each.metric, each.percent, each.current, each.limit) for each in found if each is not None]


def test_a_soft_quota_refuses_nothing_and_is_reported_as_exceeded(quotas: Quotas, tenants: Any) -> None:
    tenants.granted[ACME] = replace(tenants.granted[ACME], soft=frozenset({"storage"}))
    report = quotas.consume(ACME, storage=2 * 10**9)
    assert (report.storage.soft, report.storage.exceeded, report.storage.remaining) == (True, True, 0)
    quotas.reserve(ACME, storage=10**9).commit()
    assert quotas.check(ACME).storage.current == 3 * 10**9
    with pytest.raises(QuotaExceeded):
        quotas.consume(ACME, storage=1, projects=11)
    assert not quotas.check(ACME).projects.soft


def test_a_plan_says_which_quotas_are_soft_and_what_becomes_of_reservations() -> None:
    plan = {
        "name": "P",
        "price": 0,
        "quotas": {
            "maxUsers": 1,
            "maxProjects": 1,
            "maxTokensPerMonth": 1,
            "maxStorageGB": 1,
            "maxConcurrentAgents": 1,
        },
        "features": (),
        "rate_limits": {},
        "softQuotas": ("maxStorageGB",),
        "reservations": {"onExpiry": "charge_cap", "overrun": "cap"},
    }
    read = PlansFile.model_validate({"plans": {"p": plan}}).plans["p"]  # type: ignore[index]
    assert read.soft_quotas == ("maxStorageGB",)
    assert (read.reservations.on_expiry, read.reservations.overrun) == ("charge_cap", "cap")
    for wrong in ({"softQuotas": ("maxConcurrentAgents",)}, {"reservations": {"onExpiry": "forget"}}):
        with pytest.raises(ValueError, match="validation error"):
            PlansFile.model_validate({"plans": {"p": {**plan, **wrong}}})


def test_a_threshold_is_told_of_once_for_each_limit_and_month(
    quotas: Quotas, usage: Usage, tenants: Any, ledger: SqliteLedger, clock: Any
) -> None:
    quotas.consume(ACME, tokens=799)
    assert told(ledger) == []
    quotas.consume(ACME, tokens=1)
    usage.increment(ACME, "tokens", -5)
    usage.increment(ACME, "tokens", 5)
    assert told(ledger) == [("tokens", 80, 800, 1000)]
    usage.increment(ACME, "tokens", 900)
    assert told(ledger)[1:] == [("tokens", 100, 1700, 1000)]
    tenants.limit(ACME, tokens=2000)
    usage.increment(ACME, "tokens", 300)
    assert told(ledger)[2:] == [("tokens", 80, 2000, 2000), ("tokens", 100, 2000, 2000)]
    clock.step_wall(30 * 86_400)
    usage.increment(ACME, "tokens", 2000)
    assert told(ledger)[4:] == [("tokens", 80, 2000, 2000), ("tokens", 100, 2000, 2000)]


def test_a_limit_that_was_lowered_to_what_is_used_is_told_of_at_the_next_count(
    usage: Usage, tenants: Any, ledger: SqliteLedger
) -> None:
    usage.increment(ACME, "tokens", 700)
    tenants.limit(ACME, tokens=700)
    for _ in range(2):
        usage.increment(ACME, "tokens", 1)
    assert told(ledger) == [("tokens", 80, 701, 700), ("tokens", 100, 701, 700)]


def test_a_threshold_is_told_of_once_also_to_events_that_come_late(
    quotas: Quotas, usage: Usage, ledger: SqliteLedger, clock: ManualClock
) -> None:
    seen = datetime.fromtimestamp(clock.now(), UTC) + timedelta(days=7)
    clock.advance(7 * 86_400)
    usage.increment(ACME, "tokens", 850)
    clock.step_wall(32 * 86_400)
    quotas.forget_old_events()
    usage.increment(ACME, "tokens", 1, at=seen)
    assert told(ledger) == [("tokens", 80, 850, 1000)]


def test_what_is_only_reserved_crosses_no_threshold(quotas: Quotas, ledger: SqliteLedger) -> None:
    with quotas.reserve(ACME, tokens=1000) as held:
        assert told(ledger) == []
        held.commit(tokens=850)
    assert told(ledger) == [("tokens", 80, 850, 1000)]


def test_without_a_limit_there_is_no_threshold(quotas: Quotas, tenants: Any, ledger: SqliteLedger) -> None:
    tenants.limit(ACME, tokens=None, projects=0)
    quotas.consume(ACME, tokens=10**9)
    assert told(ledger) == []


def test_a_crossing_is_read_from_its_own_record_alone(quotas: Quotas, ledger: SqliteLedger) -> None:
    quotas.reserve(BETA, tokens=700).commit(tokens=900)
    overrun, crossing = sorted(ledger.read(lambda tx: tx.audit()), key=lambda record: record.action)
    assert crossing_of(crossing) == Crossing(BETA, "tokens", 80, 900, 1000)
    assert crossing_of(overrun) is None
    assert crossing_of(replace(crossing, details={})) is None
