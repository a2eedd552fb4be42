"""A backup of the ledger that is put back as docs/quotas.md says is what it was when it was made."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from partywall.ledger import SqliteLedger
from partywall.names import TenantId

ACME = TenantId("ten_acme")
DOCS = Path(__file__).parents[2] / "docs" / "quotas.md"

KILLED = """
import os, signal, sqlite3, sys
from contextlib import closing
from pathlib import Path
from partywall.ledger import SqliteLedger, UsageEvent

path = Path(sys.argv[1])
ledger = SqliteLedger(path)

def write(name):
    for number in range(300):
        event = UsageEvent("ten_acme", f"{name}{number}" * 20, "f" * 64, "", 1.0, {})
        ledger.write(lambda tx: tx.put_usage_event(event))

ledger.write(lambda tx: tx.set_usage("ten_acme", "", "users", 7))
write("before")
ledger.scrub()
with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(sys.argv[2])) as backup:
    source.backup(backup)
ledger.write(lambda tx: tx.set_usage("ten_acme", "", "users", 8))
write("after")
ledger.scrub()
write("last")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def backup(path: Path, tmp_path: Path) -> Path:
    """Made while an engine ran that was killed later."""
    made = tmp_path / "backup.sqlite"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path), str(made)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.with_name(f"{path.name}-wal").stat().st_size > 0
    return made


def test_a_backup_that_is_put_back_is_what_it_was(path: Path, backup: Path, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    moved = [
        name for name in ("ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm") if f"`{name}`" in DOCS.read_text()
    ]
    for name in moved:
        (path.parent / name).rename(away / name)
    shutil.copy(backup, path)
    with closing(SqliteLedger(path, made_before=True)) as ledger:
        assert ledger.read(lambda tx: tx.usage(ACME, "")) == {"users": 7}
        ledger.write(lambda tx: tx.set_usage(ACME, "", "users", 9))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_what_a_killed_engine_left_is_whole_as_a_backup_with_its_log(path: Path, backup: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    copied.mkdir()
    for name in (path.name, f"{path.name}-wal"):
        shutil.copy(path.with_name(name), copied / name)
    with closing(SqliteLedger(copied / path.name, made_before=True)) as ledger:
        assert ledger.read(lambda tx: tx.usage(ACME, "")) == {"users": 8}
        assert ledger.read(lambda tx: tx.usage_event(ACME, "last299" * 20)) is not None
