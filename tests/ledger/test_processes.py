from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from partywall.errors import LedgerError
from partywall.ledger import Operation, OperationState, SqliteLedger, Transaction, open_ledger
from partywall.names import TenantId

ACME = TenantId("ten_acme")

PREAMBLE = """
import os, sys, threading
from pathlib import Path
from partywall.ledger import *
path = Path(sys.argv[1])
def count(tx):
    total = tx.usage("ten_acme", "").get("users", 0) + 1
    tx.set_usage("ten_acme", "", "users", total)
    return total
"""


def command(script: str, path: Path) -> list[str]:
    return [sys.executable, "-c", PREAMBLE + script, str(path)]


def run(script: str, path: Path) -> str:
    return subprocess.run(command(script, path), check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def count(tx: Transaction) -> int:
    total = tx.usage(ACME, "").get("users", 0) + 1
    tx.set_usage(ACME, "", "users", total)
    return total


def test_the_file_and_its_logs_belong_to_the_owner_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        ledger = SqliteLedger(path)
    finally:
        os.umask(before)
    ledger.write(count)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    ledger.close()
    assert modes == {path.name: 0o600, f"{path.name}-wal": 0o600, f"{path.name}-shm": 0o600}


def test_another_process_reads_while_this_one_writes(ledger: SqliteLedger, path: Path) -> None:
    ledger.write(count)
    script = """
ledger = open_ledger(path, read_only=True)
look = lambda tx: tx.usage("ten_acme", "")["users"]
print("ready", flush=True)
last = 0
while last < 200:
    now = ledger.read(look)
    assert now >= last
    last = now
print(last)
"""
    with subprocess.Popen(command(script, path), stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        for _ in range(199):
            ledger.write(count)
        assert other.stdout.readline() == "200\n"
        assert other.wait(30) == 0


def test_another_process_queues_an_operation_and_changed_says_so(ledger: SqliteLedger, path: Path) -> None:
    ledger.write(count)
    assert not ledger.changed()
    run(
        """
ledger = open_ledger(path)
state = OperationState.QUEUED
operation = Operation("o1", "suspend", "ten_acme", {"reason": "unpaid"}, state, "cli:root", 5.0, queued=True)
ledger.write(lambda tx: tx.put_operation(operation))
ledger.close()
""",
        path,
    )
    assert ledger.changed()
    assert not ledger.changed()
    queued = Operation("o1", "suspend", ACME, {"reason": "unpaid"}, OperationState.QUEUED, "cli:root", 5.0, queued=True)
    assert ledger.read(lambda tx: tx.operations(OperationState.QUEUED)) == [queued]


def test_changed_overlooks_what_this_ledger_wrote_itself(ledger: SqliteLedger) -> None:
    for _ in range(20):
        ledger.write(count)
        assert not ledger.changed()
    ledger.scrub()
    assert not ledger.changed()


def test_changed_notices_a_foreign_write_between_own_ones(ledger: SqliteLedger, path: Path) -> None:
    run("ledger = open_ledger(path); ledger.write(count); ledger.close()", path)
    assert ledger.write(count) == 2
    assert ledger.changed()
    ledger.write(count)
    assert not ledger.changed()


def test_a_read_only_ledger_follows_the_engine_and_refuses_to_write(ledger: SqliteLedger, path: Path) -> None:
    viewer = open_ledger(path, read_only=True)
    assert not viewer.changed()
    ledger.write(count)
    assert viewer.changed()
    assert viewer.read(lambda tx: tx.usage(ACME, "")) == {"users": 1}
    for refused in (lambda: viewer.write(count), viewer.scrub):
        with pytest.raises(LedgerError, match="reading only"):
            refused()
    viewer.close()
    with pytest.raises(LedgerError):
        viewer.read(count)


def test_a_ledger_at_rest_can_be_read_without_an_engine(path: Path) -> None:
    SqliteLedger(path).close()
    viewer = open_ledger(path, read_only=True)
    assert viewer.read(lambda tx: tx.usage(ACME, "")) == {}
    viewer.close()


def test_reading_only_creates_nothing(path: Path) -> None:
    with pytest.raises(LedgerError):
        open_ledger(path, read_only=True)
    assert list(path.parent.iterdir()) == []


def test_processes_that_create_the_ledger_at_once_all_succeed(path: Path) -> None:
    script = "ledger = open_ledger(path); print(ledger.write(count)); ledger.close()"
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: int(run(script, path)), range(6)))
    assert sorted(answers) == [1, 2, 3, 4, 5, 6]


def test_opening_and_closing_beside_it_leaves_the_lock_of_a_ledger_in_place(ledger: SqliteLedger, path: Path) -> None:
    def hold(tx: Transaction) -> str:
        open_ledger(path, read_only=True).close()
        ledger.read(count_nothing)
        return run(
            """
import sqlite3
other = sqlite3.connect(path, timeout=0)
try:
    other.execute("BEGIN IMMEDIATE")
    print("lock lost")
except sqlite3.OperationalError as error:
    print(error)
other.close()
""",
            path,
        )

    assert ledger.write(hold) == "database is locked"


def count_nothing(tx: Transaction) -> None:
    tx.usage(ACME, "")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_refused_instead_of_waiting_for_ever(ledger: SqliteLedger) -> None:
    def refused(call: Callable[..., Any], *arguments: Any) -> bool:
        try:
            call(*arguments)
        except LedgerError:
            return True
        return False

    child = os.fork()
    if child == 0:
        calls = [refused(ledger.write, count), refused(ledger.read, count), refused(ledger.changed)]
        os._exit(0 if all(calls) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


WRITERS = """
ledger = open_ledger(path)
life = sys.argv[2]
def work(thread):
    number = 0
    while True:
        number += 1
        key = f"{life}-{thread}-{number}"
        def once(tx):
            count(tx)
            tx.put_usage_event(UsageEvent("ten_acme", key, "f", "", 1.0, {}))
            tx.append_audit(AuditRecord(1.0, "engine", "usage.counted", "ten_acme", {"key": key}))
        ledger.write(once)
        os.write(1, f"{key}\\n".encode())
for thread in range(4):
    threading.Thread(target=work, args=(thread,)).start()
"""


def test_kill_9_at_any_moment_loses_no_acknowledged_write(path: Path) -> None:
    chance = random.Random(20261123)
    acknowledged: set[str] = set()
    for life in range(15):
        with subprocess.Popen([*command(WRITERS, path), str(life)], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(chance.randint(1, 120)):
                acknowledged.add(child.stdout.readline().strip())
            child.send_signal(signal.SIGKILL)
            acknowledged.update(line.strip() for line in child.stdout if line.endswith("\n"))
        ledger = SqliteLedger(path)
        found = {record.details["key"] for record in ledger.read(lambda tx: tx.audit(limit=10**6))}
        total = ledger.read(lambda tx: tx.usage(ACME, "")["users"])
        events = [key for key in found if ledger.read(lambda tx, key=key: tx.usage_event(ACME, key))]
        ledger.close()
        assert acknowledged <= found
        assert len(found) == total == len(events)
    assert len(acknowledged) > 15
