from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from partywall.clock import ManualClock
from partywall.errors import (
    InvalidArgument,
    QuotaExceeded,
    TenantConflict,
)
from partywall.model import METRICS
from partywall.names import TenantId
from partywall.quotas import Quotas, Usage

ACME = TenantId("ten_acme")
BETA = TenantId("ten_beta")
NOTHING = dict.fromkeys(METRICS, 0)


def moment(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


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


def test_l6_a_refused_call_does_not_use_up_its_key(quotas: Quotas, tenants: Any) -> None:
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
