from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from partywall.clock import ManualClock
from partywall.errors import (
    LedgerError,
    TenantDeleted,
    TenantNotFound,
    TenantPending,
    TenantSuspended,
)
from partywall.ledger import LifecycleRecord, SqliteLedger
from partywall.model import Status
from partywall.names import Slug, TenantId
from partywall.quotas import Quotas, Usage

ACME = TenantId("ten_acme")
BETA = TenantId("ten_beta")
REFUSALS = {
    Status.PENDING: TenantPending,
    Status.SUSPENDED: TenantSuspended,
    Status.DELETED: TenantDeleted,
}

CALLS: list[Callable[[Usage, Quotas], object]] = [
    lambda usage, quotas: usage.increment(ACME, "users"),
    lambda usage, quotas: usage.increment(ACME, "users", idempotency_key="before"),
    lambda usage, quotas: quotas.consume(ACME, users=1),
    lambda usage, quotas: quotas.check(ACME),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", list(REFUSALS))
def test_a_tenant_that_is_not_in_service_is_refused(
    usage: Usage, quotas: Quotas, tenants: Any, status: Status, call: Callable[[Usage, Quotas], object]
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
    path: Path, tenants: Any, clock: ManualClock
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
