from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from partywall.errors import LedgerError
from partywall.ledger import AuditRecord, SqliteLedger, Transaction, UsageEvent, open_ledger
from partywall.names import TenantId

ACME = TenantId("ten_acme")
BETA = TenantId("ten_beta")


def count(tx: Transaction) -> int:
    total = tx.usage(ACME, "").get("users", 0) + 1
    tx.set_usage(ACME, "", "users", total)
    return total


def raw(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def everything(error: BaseException) -> str:
    return f"{error} {error.args}"


@pytest.mark.parametrize("read_only", [False, True])
def test_a_ledger_of_a_newer_release_is_refused_and_left_alone(path: Path, read_only: bool) -> None:
    SqliteLedger(path).close()
    raw(path, "PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="newer release"):
        open_ledger(path, read_only=read_only)
    assert path.read_bytes() == before


def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    raw(path, "CREATE TABLE theirs (x)")
    with pytest.raises(LedgerError, match="another program"):
        open_ledger(path)
    with pytest.raises(LedgerError):
        open_ledger(path, read_only=True)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("content", [b"not a database at all " * 300, b"SQLite format 3\0" + b"\xff" * 4080])
def test_a_broken_file_is_a_ledger_error_without_its_path(path: Path, content: bytes, read_only: bool) -> None:
    path.write_bytes(content)
    with pytest.raises(LedgerError) as caught:
        open_ledger(path, read_only=read_only)
    assert isinstance(caught.value.__cause__, sqlite3.Error)
    assert str(path.parent) not in everything(caught.value)
    assert path.read_bytes() == content


def test_a_file_that_breaks_later_is_a_ledger_error(path: Path) -> None:
    SqliteLedger(path).close()
    empty = path.stat().st_size
    ledger = SqliteLedger(path)
    for number in range(200):
        event = UsageEvent(ACME, f"k{number}", "f" * 200, "", 1.0, {})
        ledger.write(lambda tx, event=event: tx.put_usage_event(event))
    ledger.close()
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:empty] + b"\xff" * (size - empty))
    broken = SqliteLedger(path)
    with pytest.raises(LedgerError, match="failed"):
        broken.read(lambda tx: [tx.usage_event(ACME, f"k{number}") for number in range(200)])
    broken.close()


def test_a_missing_folder_is_a_ledger_error_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(LedgerError) as caught:
        open_ledger(tmp_path / "nowhere" / "ledger.sqlite")
    assert "nowhere" not in everything(caught.value)


def test_a_place_taken_by_a_folder_is_a_ledger_error(path: Path) -> None:
    path.mkdir()
    with pytest.raises(LedgerError):
        open_ledger(path)


def test_l5_a_ledger_whose_file_was_replaced_refuses_instead_of_writing_into_nothing(
    ledger: SqliteLedger, path: Path
) -> None:
    ledger.write(count)
    path.rename(path.with_name("moved.sqlite"))
    with pytest.raises(LedgerError):
        ledger.write(count)
    SqliteLedger(path).close()
    with pytest.raises(LedgerError, match="replaced"):
        ledger.write(count)
    with pytest.raises(LedgerError, match="replaced"):
        ledger.read(count)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def remove_log(path: Path) -> None:
    path.with_name(f"{path.name}-wal").unlink()


def replace_log(path: Path) -> None:
    log = path.with_name(f"{path.name}-wal")
    shutil.copy(log, path.with_name("other")).replace(log)


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("damage", [empty, remove_log, replace_log])
def test_l5_a_ledger_whose_file_was_emptied_or_whose_log_was_removed_acknowledges_nothing(
    path: Path, damage: Callable[[Path], None], before: int
) -> None:
    SqliteLedger(path).close()
    ledger = SqliteLedger(path)
    for _ in range(before):
        ledger.write(count)
    damage(path)
    for _ in range(2):
        with pytest.raises(LedgerError, match=r"emptied|removed"):
            ledger.write(count)
    ledger.close()


def test_a_log_that_is_emptied_by_a_scrub_or_another_process_is_no_damage(ledger: SqliteLedger, path: Path) -> None:
    ledger.write(count)
    ledger.scrub()
    assert ledger.write(count) == 2
    raw(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    assert ledger.write(count) == 3


@pytest.fixture
def full(path: Path) -> Iterator[SqliteLedger]:
    """A ledger whose disk has room for a few more pages and no more."""
    ledger = SqliteLedger(path)
    ledger.write(count)

    def fill(connection: sqlite3.Connection) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 3}")

    ledger._writer.outside(fill)  # type: ignore[union-attr]
    yield ledger
    ledger.close()


def large(tx: Transaction) -> None:
    tx.set_usage(BETA, "", "users", 7)
    for number in range(20):
        tx.append_audit(AuditRecord(1.0, "engine", "tenant.created", details={"text": "x" * 4000, "n": number}))


def test_a_full_disk_is_a_ledger_error_and_nothing_is_half_done(full: SqliteLedger) -> None:
    with pytest.raises(LedgerError) as caught:
        full.write(large)
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    assert str(caught.value) == "the ledger failed; nothing was written"
    assert full.read(lambda tx: tx.audit()) == []
    assert full.read(lambda tx: tx.usage(BETA, "")) == {}
    assert full.write(count) == 2


def test_a_work_that_hides_a_store_failure_is_undone_all_the_same(full: SqliteLedger) -> None:
    def hides(tx: Transaction) -> None:
        try:
            large(tx)
        except LedgerError:
            with pytest.raises(LedgerError):
                tx.set_usage(BETA, "", "projects", 9)

    with pytest.raises(LedgerError):
        full.write(hides)
    assert full.read(lambda tx: tx.usage(BETA, "")) == {}
    assert full.write(count) == 2


def test_a_work_that_hides_a_failed_statement_is_undone_all_the_same(ledger: SqliteLedger) -> None:
    abort = "CREATE TEMP TRIGGER spoil BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END"
    ledger._writer.outside(lambda connection: connection.execute(abort))  # type: ignore[union-attr]

    def hides(tx: Transaction) -> None:
        count(tx)
        with pytest.raises(LedgerError):
            tx.append_audit(AuditRecord(1.0, "engine", "tenant.created"))

    with pytest.raises(LedgerError):
        ledger.write(hides)
    assert ledger.read(lambda tx: tx.usage(ACME, "")) == {}


def test_neighbours_are_committed_when_one_work_loses_the_whole_transaction(
    ledger: SqliteLedger, pile_up: Callable[..., list[Any]]
) -> None:
    writer = ledger._writer
    assert writer is not None

    def spoil(connection: sqlite3.Connection) -> None:
        # What SQLite does on its own after an I/O error: the transaction is rolled back under the work's feet.
        connection.execute("CREATE TEMP TRIGGER spoil BEFORE INSERT ON audit BEGIN SELECT RAISE(ROLLBACK, 'lost'); END")

    def doomed(tx: Transaction) -> None:
        tx.set_usage(BETA, "", "users", 1)
        try:
            tx.append_audit(AuditRecord(1.0, "engine", "tenant.created"))
        except LedgerError:
            tx.set_usage(BETA, "", "users", 2)

    writer.outside(spoil)
    outcomes = pile_up([count, doomed, count])
    assert sorted(outcome for outcome in outcomes if isinstance(outcome, int)) == [1, 2]
    assert isinstance(outcomes[1], LedgerError)
    assert ledger.read(lambda tx: tx.usage(ACME, "")) == {"users": 2}
    assert ledger.read(lambda tx: tx.usage(BETA, "")) == {}


def test_another_process_that_keeps_the_lock_is_a_ledger_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partywall.ledger._connection.BUSY_SECONDS", 0.05)
    ledger = SqliteLedger(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="failed"):
            ledger.write(count)
        other.execute("ROLLBACK")
    assert ledger.write(count) == 1
    ledger.close()


def test_a_ledger_that_another_process_is_just_creating_is_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr("partywall.ledger._connection.time.sleep", lambda _: other.execute("ROLLBACK"))
        ledger = SqliteLedger(path)
    assert ledger.write(count) == 1
    ledger.close()
