from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partywall.audit import AuditLog, acting_as, changes
from partywall.clock import ManualClock
from partywall.context import TenantContext, entered
from partywall.errors import InvalidArgument
from partywall.ledger import AuditRecord, SqliteLedger, Transaction
from partywall.model import Owner, QuotaLimits, Status, Strategy, Tenant
from partywall.names import PlanName, Slug, TenantId

ACME = TenantId("ten_acme")
BETA = TenantId("ten_beta")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[SqliteLedger]:
    opened = SqliteLedger(path)
    yield opened
    opened.close()


@pytest.fixture
def log(ledger: SqliteLedger, clock: ManualClock) -> AuditLog:
    return AuditLog(ledger, clock)


def context(user_id: str | None) -> TenantContext:
    tenant = Tenant(
        id=ACME,
        name="Acme",
        slug=Slug("acme"),
        plan=PlanName("free"),
        status=Status.ACTIVE,
        owner=Owner(user_id="u1", email="ann@acme.test", name="Ann"),
        settings={},  # type: ignore[arg-type]  # not looked at here
        quotas=QuotaLimits(1, 1, 1, 1, 1),
        isolation=Strategy.ROW,
    )
    return TenantContext(ACME, tenant, user_id)


def test_a_record_says_who_did_what_to_whom_and_when(ledger: SqliteLedger, log: AuditLog, clock: ManualClock) -> None:
    with acting_as("cli:root"):
        written = ledger.write(
            lambda tx: log.record(tx, "tenant.suspended", tenant_id=ACME, details={"reason": "unpaid"})
        )
    expected = AuditRecord(clock.now(), "cli:root", "tenant.suspended", ACME, {"reason": "unpaid"}, 1)
    assert written == expected
    assert log.records() == [expected]


def test_n7_a_record_is_committed_with_what_it_records_or_not_at_all(ledger: SqliteLedger, log: AuditLog) -> None:
    def fails(tx: Transaction) -> None:
        tx.set_usage(ACME, "", "users", 1)
        log.record(tx, "usage.counted", tenant_id=ACME)
        raise LookupError

    with pytest.raises(LookupError):
        ledger.write(fails)
    assert log.records() == []

    def refused(tx: Transaction) -> None:
        tx.set_usage(ACME, "", "users", 1)
        log.record(tx, "Not An Action", tenant_id=ACME)

    with pytest.raises(InvalidArgument):
        ledger.write(refused)
    assert ledger.read(lambda tx: tx.usage(ACME, "")) == {}


def test_n6_a_tenants_records_are_its_own_alone(ledger: SqliteLedger, log: AuditLog) -> None:
    for number in range(6):
        for tenant in (ACME, BETA, None):
            details = {"n": number}
            ledger.write(
                lambda tx, tenant=tenant, details=details: log.record(
                    tx, "tenant.edited", tenant_id=tenant, details=details
                )
            )
    assert {record.tenant_id for record in log.records(ACME)} == {ACME}
    assert [record.details["n"] for record in log.records(ACME)] == list(range(6))
    assert [record.details["n"] for record in log.records(ACME, newest=True, limit=2)] == [4, 5]
    second = log.records(ACME)[1]
    assert [record.details["n"] for record in log.records(ACME, after=second.sequence, limit=2)] == [2, 3]
    assert len(log.records()) == 18


def test_n9_the_order_of_records_does_not_follow_a_clock_that_is_set_back(
    ledger: SqliteLedger, log: AuditLog, clock: ManualClock
) -> None:
    ledger.write(lambda tx: log.record(tx, "tenant.created"))
    clock.step_wall(-3600)
    ledger.write(lambda tx: log.record(tx, "tenant.suspended"))
    records = log.records()
    assert [record.action for record in records] == ["tenant.created", "tenant.suspended"]
    assert records[0].at - records[1].at == 3600


@pytest.mark.parametrize("reference", ["acme", "ten_acme' OR 1=1 --", "ten_acme\n", ""])
def test_records_of_a_name_that_is_no_tenant_id_are_refused(log: AuditLog, reference: str) -> None:
    with pytest.raises(InvalidArgument):
        log.records(reference)


@pytest.mark.parametrize("arguments", [{"limit": 0}, {"limit": 10_001}, {"limit": True}, {"after": -1}, {"after": 1.5}])
def test_a_page_outside_the_bounds_is_refused(log: AuditLog, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        log.records(**arguments)


@pytest.mark.parametrize(
    "action", ["", "tenant", "Tenant.suspended", "tenant.", "tenant..x", "tenant.suspended\n", "tenant.sus pended"]
)
def test_an_action_is_dotted_lower_case_words(ledger: SqliteLedger, log: AuditLog, action: str) -> None:
    with pytest.raises(InvalidArgument):
        ledger.write(lambda tx: log.record(tx, action))


FORGED = 'unpaid\n{"actor":"engine","action":"tenant.resumed"}\r\x1b[2K\u2028'


def test_j5_a_newline_in_a_reason_stays_inside_its_record(ledger: SqliteLedger, log: AuditLog, path: Path) -> None:
    ledger.write(lambda tx: log.record(tx, "tenant.suspended", tenant_id=ACME, details={"reason": FORGED}))
    assert [record.details for record in log.records()] == [{"reason": FORGED}]
    ledger.close()
    with closing(sqlite3.connect(path)) as connection:
        (stored,) = connection.execute("SELECT details FROM audit").fetchone()
    assert stored.isascii()
    assert stored.isprintable()
    assert json.loads(stored) == {"reason": FORGED}


@pytest.mark.parametrize(
    "name", ["", "cli:root\n", "cli:\x00", "a\x1b[2K", "a\u2028b", "a\u202eb", "x" * 257, "\x7f", None, 7]
)
def test_j5_an_actor_that_could_forge_a_line_is_refused(ledger: SqliteLedger, log: AuditLog, name: Any) -> None:
    with pytest.raises(InvalidArgument), acting_as(name):
        pytest.fail("entered")
    if name is not None:
        with pytest.raises(InvalidArgument):
            ledger.write(lambda tx: log.record(tx, "tenant.suspended", actor=name))
    assert log.records() == []


def test_j5_a_user_id_that_could_forge_a_line_is_refused(ledger: SqliteLedger, log: AuditLog) -> None:
    with entered(context("u1\nforged")), pytest.raises(InvalidArgument):
        ledger.write(lambda tx: log.record(tx, "tenant.suspended"))
    assert log.records() == []


def test_the_actor_is_whoever_was_named_else_the_user_else_the_api(log: AuditLog) -> None:
    assert log.actor() == "api"
    with entered(context(None)):
        assert log.actor() == "api"
    with entered(context("u7")):
        assert log.actor() == "user:u7"
        with acting_as("engine"):
            assert log.actor() == "engine"
            with acting_as("cli:root"):
                assert log.actor() == "cli:root"
            assert log.actor() == "engine"
        assert log.actor() == "user:u7"
    assert log.actor() == "api"


def test_the_actor_is_found_from_within_a_ledger_transaction(ledger: SqliteLedger, log: AuditLog) -> None:
    with entered(context("u7")):
        assert ledger.write(lambda tx: log.record(tx, "tenant.edited")).actor == "user:u7"


def test_an_actor_is_forgotten_after_an_error(log: AuditLog) -> None:
    with pytest.raises(LookupError), acting_as("cli:root"):
        raise LookupError
    assert log.actor() == "api"


def test_an_actor_is_unknown_to_other_threads(log: AuditLog) -> None:
    seen: list[str] = []
    with acting_as("cli:root"):
        thread = threading.Thread(target=lambda: seen.append(log.actor()))
        thread.start()
        thread.join(10)
    assert seen == ["api"]


def test_actors_of_concurrent_tasks_do_not_mix(log: AuditLog) -> None:
    async def act(name: str) -> bool:
        with acting_as(name):
            for _ in range(20):
                await asyncio.sleep(0)
                if log.actor() != name:
                    return False
        return True

    async def main() -> list[bool]:
        return await asyncio.gather(*(act(f"user:{number}") for number in range(20)))

    assert all(asyncio.run(main()))


def test_a_long_text_is_cut_and_says_so(ledger: SqliteLedger, log: AuditLog) -> None:
    details = {"reason": "é" * 5000, "fits": "x" * 4096, "inner": [{"text": "y" * 5000}]}
    written = ledger.write(lambda tx: log.record(tx, "tenant.suspended", details=details)).details
    assert written["reason"].endswith("é…")
    assert 4000 < len(written["reason"].encode()) <= 4096
    assert written["fits"] == "x" * 4096
    assert len(written["inner"][0]["text"].encode()) == 4096


def test_details_never_grow_huge_and_name_what_was_left_out(ledger: SqliteLedger, log: AuditLog) -> None:
    details = {"small": 1, "many": ["x" * 4000] * 1000, "last": 2}
    written = ledger.write(lambda tx: log.record(tx, "tenant.edited", details=details)).details
    assert written == {"small": 1, "last": 2, "omitted": ["many"]}


def nested(depth: int) -> Any:
    return {"x": nested(depth - 1)} if depth else 1


@pytest.mark.parametrize(
    "details",
    [{"x": object()}, {"x": float("nan")}, {"x": {1}}, {1: "x"}, {"x": b"x"}, nested(50), {"x": ValueError()}],
)
def test_details_that_are_not_plain_json_are_refused(
    ledger: SqliteLedger, log: AuditLog, details: dict[Any, Any]
) -> None:
    with pytest.raises(InvalidArgument):
        ledger.write(lambda tx: log.record(tx, "tenant.edited", details=details))
    assert log.records() == []


def test_enumerations_and_tuples_become_plain(ledger: SqliteLedger, log: AuditLog) -> None:
    details = {"status": Status.ACTIVE, "models": ("a", "b")}
    written = ledger.write(lambda tx: log.record(tx, "tenant.edited", details=details))
    assert type(written.details["status"]) is str
    assert written.details == {"status": "active", "models": ["a", "b"]}
    assert log.records() == [written]


KILLED = """
import os, sys
from pathlib import Path
from partywall.audit import AuditLog
from partywall.clock import SystemClock
from partywall.ledger import SqliteLedger
ledger = SqliteLedger(Path(sys.argv[1]))
log = AuditLog(ledger, SystemClock())
def work(tx):
    tx.set_usage("ten_acme", "", "users", int(sys.argv[2]))
    log.record(tx, "usage.counted", tenant_id="ten_acme", details={"total": int(sys.argv[2])})
    if sys.argv[3] == "inside":
        os._exit(9)
ledger.write(work)
os._exit(9)
"""


def test_n7_a_process_that_dies_leaves_no_action_without_its_record(path: Path) -> None:
    for number, moment in enumerate(["after", "inside", "after", "inside"], start=1):
        command = [sys.executable, "-c", KILLED, str(path), str(number), moment]
        assert subprocess.run(command, timeout=60, check=False).returncode == 9
        with closing(SqliteLedger(path)) as ledger:
            total = ledger.read(lambda tx: tx.usage(ACME, "")["users"])
            last = AuditLog(ledger, ManualClock()).records(ACME, newest=True, limit=1)[0]
        assert total == last.details["total"] == (number if moment == "after" else number - 1)


def test_changes_are_the_paths_that_differ() -> None:
    before = {"name": "Acme", "quotas": {"maxUsers": 5, "maxProjects": 3}, "domains": ["a.test"], "same": {"x": [1]}}
    after = {"name": "Acme", "quotas": {"maxUsers": 9}, "domains": ["a.test", "b.test"], "same": {"x": [1]}, "new": 1}
    assert changes(before, after) == {
        "quotas.maxUsers": [5, 9],
        "quotas.maxProjects": [3, None],
        "domains": [["a.test"], ["a.test", "b.test"]],
        "new": [None, 1],
    }


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, {"a": {"b": 1}}, {"a.b": [None, 1]}),
        ({"a": {"b": 1}}, None, {"a.b": [1, None]}),
        (None, None, {}),
        ({}, None, {}),
        ({"a": True}, {"a": 1}, {"a": [True, 1]}),
        ({"a": 1}, {"a": 1.0}, {"a": [1, 1.0]}),
        ({"a": {}}, {}, {"a": [{}, None]}),
        ({"a": 1}, {"a": {"b": 2}}, {"a": [1, {"b": 2}]}),
        ({"a.b": 1}, {"a": {"b": 1}}, {'"a.b"': [1, None], "a.b": [None, 1]}),
    ],
)
def test_changes_at_the_edges(before: Any, after: Any, expected: dict[str, Any]) -> None:
    assert changes(before, after) == expected


plain = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, min_size=1, max_size=3),
    max_leaves=8,
)
documents = st.dictionaries(st.text(max_size=3), plain, max_size=3)


@given(documents, documents)
def test_there_are_changes_exactly_when_documents_differ(before: dict[str, Any], after: dict[str, Any]) -> None:
    same = json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)
    assert (changes(before, after) == {}) == same
    assert changes(after, before) == {path: [new, old] for path, (old, new) in changes(before, after).items()}
