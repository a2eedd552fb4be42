"""What is on disk when: kills are real, power cuts are simulated by dropping what was not synced."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from partywall.ledger import SqliteLedger, Transaction, UsageEntry
from partywall.names import TenantId

ACME = TenantId("ten_acme")


def count(tx: Transaction) -> int:
    total = tx.usage(ACME, "").get("users", 0) + 1
    tx.set_usage(ACME, "", "users", total)
    tx.append_usage(UsageEntry(ACME, "2026-11", "users", 1, 1.0, 1.0, "counted"))
    return total


def found(path: Path) -> tuple[int, int]:
    """The counter, and what its log comes to."""
    ledger = SqliteLedger(path)
    try:
        total = ledger.read(lambda tx: tx.usage(ACME, "").get("users", 0))
        return total, ledger.read(lambda tx: tx.logged_usage(ACME).get(("2026-11", "users"), 0))
    finally:
        ledger.close()


def files_of(path: Path, copy: Path) -> Path:
    copy.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", copy / f"ledger.sqlite{suffix}")
    return copy / "ledger.sqlite"


COUNTER = """
import os, sys
from pathlib import Path
from partywall.ledger import SqliteLedger
from tests.ledger.test_durability import count
ledger = SqliteLedger(Path(sys.argv[1]), durability=sys.argv[2])
while True:
    os.write(1, f"{ledger.write(count)}\\n".encode())
"""


@pytest.mark.parametrize("durability", ["commit", "interval"])
def test_l2_kill_9_loses_nothing_that_was_acknowledged(path: Path, durability: str) -> None:
    command = [sys.executable, "-c", COUNTER, str(path), durability]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as child:
        assert child.stdout is not None
        heard = [child.stdout.readline() for _ in range(200)]
        os.kill(child.pid, 9)
        heard += [line for line in child.stdout if line.endswith("\n")]
    total, rebuilt = found(path)
    assert total == rebuilt
    assert int(heard[-1]) <= total <= int(heard[-1]) + 1


def test_with_an_interval_a_power_cut_loses_at_most_what_came_after_the_last_sync(path: Path, tmp_path: Path) -> None:
    ledger = SqliteLedger(path, durability="interval")
    for _ in range(50):
        ledger.write(count)
    ledger.sync()
    synced = files_of(path, tmp_path / "synced")
    certain = synced.with_name("ledger.sqlite-wal").stat().st_size
    for _ in range(50):
        ledger.write(count)
    cut = files_of(path, tmp_path / "cut")
    log = cut.with_name("ledger.sqlite-wal").read_bytes()
    ledger.close()
    assert found(synced) == (50, 50)
    totals = []
    for number, kept in enumerate(range(certain, len(log), (len(log) - certain) // 9)):
        torn = files_of(cut, tmp_path / f"torn{number}")
        torn.with_name("ledger.sqlite-wal").write_bytes(log[:kept] + bytes(len(log) - kept))
        totals.append(found(torn))
    assert all(total == rebuilt for total, rebuilt in totals)
    assert [min(totals)[0], found(cut)[0]] == [50, 100]
    assert 50 < max(totals)[0] < 100


def test_with_an_interval_what_was_committed_is_synced_within_a_second_or_so(path: Path) -> None:
    ledger = SqliteLedger(path, durability="interval")
    ledger.write(count)
    syncing, deadline = ledger._syncing, time.monotonic() + 20
    assert syncing is not None
    while syncing.synced < 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    ledger.close()
    assert not syncing._thread.is_alive()


def test_commits_of_the_usual_durability_wait_for_the_disk_and_leave_nothing_to_sync(path: Path) -> None:
    ledger = SqliteLedger(path)
    assert ledger._syncing is None
    assert ledger._writer is not None
    assert ledger._writer.outside(lambda connection: connection.execute("PRAGMA synchronous").fetchone()) == (2,)
    ledger.write(count)
    ledger.sync()
    ledger.close()
