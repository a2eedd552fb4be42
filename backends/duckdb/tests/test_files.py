# tests need no docstrings
from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from partywall.backend import Insert, Scan
from partywall.errors import BackendError, IsolationBreach
from partywall_duckdb.files import StoreFiles
from partywall_duckdb.layout import shard_of


def test_rows_and_tenants_survive_a_restart(store: Any) -> None:
    backend = store.open()
    session = store.session(backend, "ten_aaaa")
    store.write_note(session, "n1", title="kept")
    placement = store.placed(backend, "ten_aaaa")
    backend.close()
    again = store.open()
    assert again.stamp(placement) == "ten_aaaa"
    (row,) = again.session(placement).scan(Scan(store.notes))
    assert row["title"] == "kept"


def test_closing_leaves_one_whole_file_and_no_log(store: Any) -> None:
    backend = store.open(shards=1)
    store.write_note(store.session(backend, "ten_aaaa"), "n1")
    file = store.file_of(store.placed(backend, "ten_aaaa"))
    backend.close()
    assert {path for path in store.files() if path.name != "layout.json"} == {file}


def test_another_number_of_shards_later_moves_nobody(rows: Any) -> None:
    store = rows
    backend = store.open(shards=3)
    tenants = [f"ten_number{number}" for number in range(12)]
    before = {tenant: store.placed(backend, tenant) for tenant in tenants}
    for tenant in tenants:
        store.write_note(backend.session(before[tenant]), tenant)
    backend.close()
    again = store.open(shards=7)
    assert {tenant: store.placed(again, tenant) for tenant in tenants} == before
    assert [store.note_ids(again.session(before[tenant])) for tenant in tenants] == [[tenant] for tenant in tenants]
    assert {store.placed(again, f"ten_later{number}").location for number in range(20)} == {
        placement.location for placement in before.values()
    }


def test_tenants_spread_over_the_shards() -> None:
    assert len({shard_of(f"ten_number{number}", 32) for number in range(400)}) == 32


@pytest.mark.parametrize("content", ["", "{}", '{"format": 2, "shards": 3}', "[1]"])
def test_a_damaged_record_of_the_shards_is_refused(store: Any, content: str) -> None:
    store.open().close()
    (store.home / "layout.json").write_text(content)
    with pytest.raises(BackendError, match=r"layout\.json"):
        store.open()


@pytest.mark.parametrize("content", ['{"format": 1}', '{"format": 1, "shards": true}', '{"format": 1, "shards": 0}'])
def test_a_record_without_the_number_of_shards_is_refused(rows: Any, content: str) -> None:
    rows.open().close()
    (rows.home / "layout.json").write_text(content)
    with pytest.raises(BackendError, match=r"layout\.json"):
        rows.open()


def test_e10_a_record_that_is_a_symbolic_link_is_refused(store: Any) -> None:
    store.home.mkdir()
    elsewhere = store.folder / "elsewhere"
    elsewhere.write_text(json.dumps({"format": 1, "shards": 3}))
    (store.home / "layout.json").symlink_to(elsewhere)
    with pytest.raises(BackendError, match="symbolic link"):
        store.open()


def pair(store: Any, **options: Any) -> tuple[Any, Any, Any]:
    """A backend, and two tenants in files of their own."""
    backend = store.open(shards=2, **options)
    first = next(f"ten_first{n}" for n in range(99) if shard_of(f"ten_first{n}", 2) == "shard-00")
    second = next(f"ten_second{n}" for n in range(99) if shard_of(f"ten_second{n}", 2) == "shard-01")
    placements = store.placed(backend, first), store.placed(backend, second)
    for placement in placements:
        store.write_note(backend.session(placement), "n1", title="kept")
    return backend, *placements


def require_only_first_refused(store: Any, backend: Any, first: Any, second: Any) -> None:
    attempts = [lambda: backend.session(first), lambda: backend.stamp(first), lambda: backend.drop(first)]
    if store.kind != "duckdb-schema":  # there, a tenant that no sound file holds is given room in another one
        attempts.append(lambda: backend.provision(first.tenant_id, None))
    for refused in attempts:
        with pytest.raises(BackendError, match="its operator was told") as refusal:
            refused()
        for word in ("shard", "schemas", first.location):
            assert word not in str(refusal.value)
    assert list(backend.health()) == [first.location]
    assert store.note_ids(backend.session(second)) == ["n1"]
    told = [(event, details[store.noun]) for event, details in store.reports if event.endswith("damaged")]
    assert told == [(f"{store.noun}.damaged", f"/{first.location}")]


def file_beside(file: Path, ending: str) -> Path:
    return file.with_name(file.name + ending)


@pytest.mark.parametrize("ending", ["", ".wal", ".wal.recovery", ".guard", ".next", ".new"])
def test_e10_a_file_replaced_by_a_symbolic_link_is_refused_and_the_others_work(store: Any, ending: str) -> None:
    backend, first, second = pair(store)
    backend.close()
    file = file_beside(store.file_of(first), ending)
    elsewhere = store.folder / "elsewhere"
    shutil.copy(store.file_of(first), elsewhere)
    file.unlink(missing_ok=True)
    file.symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    again = store.open()
    require_only_first_refused(store, again, first, second)
    again.close()
    assert elsewhere.read_bytes() == before


def test_e10_a_file_replaced_while_it_is_open_is_refused(store: Any) -> None:
    backend, first, second = pair(store)
    session = backend.session(first)
    session.begin()
    store.write_note(session, "lost")
    file = store.file_of(first)
    file.rename(store.folder / "elsewhere")
    file.symlink_to(store.folder / "elsewhere")
    backend.maintain()
    with pytest.raises(BackendError):
        session.commit()
    require_only_first_refused(store, backend, first, second)


@pytest.mark.parametrize("damage", ["empty", "garbage", "short", "missing-with-log", "log"])
def test_one_damaged_shard_leaves_the_others(store: Any, damage: str) -> None:
    backend, first, second = pair(store)
    logs = {log: log.read_bytes() for log in store.home.rglob("*.wal")}
    assert len(logs) == 2
    backend.close()
    file = store.file_of(first)
    log = file_beside(file, ".wal")
    match damage:
        case "empty":
            file.write_bytes(b"")
        case "garbage":
            file.write_bytes(os.urandom(file.stat().st_size))
        case "short":
            file.write_bytes(file.read_bytes()[:5000])
        case "missing-with-log":
            file.unlink()
            log.write_bytes(logs[log])
        case "log":
            log.write_bytes(os.urandom(5000))
    again = store.open()
    require_only_first_refused(store, again, first, second)
    again.maintain()
    again.close()


def test_a_file_that_was_repaired_comes_back_by_itself(store: Any) -> None:
    backend, first, second = pair(store)
    backend.close()
    file = store.file_of(first)
    good = file.read_bytes()
    file.write_bytes(b"")
    again = store.open()
    again.maintain()
    require_only_first_refused(store, again, first, second)
    store.clock.advance(60)
    again.maintain()
    assert [event for event, _ in store.reports] == [f"{store.noun}.damaged"]
    file.write_bytes(good)
    store.clock.advance(60)
    again.maintain()
    assert again.health() == {}
    assert store.note_ids(again.session(first)) == ["n1"]


def test_a_file_under_anothers_name_is_a_breach(store: Any) -> None:
    backend, first, second = pair(store)
    backend.close()
    shutil.copy(store.file_of(second), store.file_of(first))
    again = store.open()
    for _ in range(2):
        with pytest.raises(IsolationBreach):
            again.session(first)
    with pytest.raises(IsolationBreach):
        again.drop(first)
    assert "stamp" in again.health()[first.location]
    assert store.note_ids(again.session(second)) == ["n1"]


def test_a_file_of_another_region_is_a_breach(store: Any) -> None:
    backend = store.open(shards=1)
    here, there = store.placed(backend, "ten_aaaa"), store.placed(backend, "ten_aaaa", "eu")
    backend.close()
    shutil.copy(store.file_of(here), store.file_of(there))
    with pytest.raises(IsolationBreach):
        store.open().session(there)


def test_g16_a_second_process_is_refused_after_a_checkpoint_a_copy_and_a_scan(store: Any) -> None:
    backend = store.open(shards=1, checkpoint_wal_bytes=1)
    placement = store.placed(backend, "ten_aaaa")
    session = backend.session(placement)
    file = store.file_of(placement)
    assert store.opened_elsewhere(file) == "locked"
    store.write_note(session, "n1")
    backend.maintain()
    assert not file_beside(file, ".wal").exists()
    assert store.opened_elsewhere(file) == "locked"
    assert store.note_ids(session) == ["n1"]
    backend.stamp(store.placed(backend, "ten_aaaa"))
    assert store.opened_elsewhere(file) == "locked"
    backend.drop(store.placed(backend, "ten_bbbb"))
    assert store.opened_elsewhere(file) == "locked"
    backend.close()
    assert store.opened_elsewhere(file) == "open"


def test_g16_a_second_engine_finds_the_shard_in_use_and_touches_nothing(store: Any) -> None:
    backend, first, _ = pair(store)
    files = StoreFiles(store.file_of(first).parent, store.file_of(first).name.removesuffix(".duckdb"))
    child = os.fork()
    if child == 0:
        try:
            files.settle()
            files.hold()
        except Exception as error:  # noqa: BLE001  # the child says by its status what it met
            os._exit(7 if "another process" in str(error) else 8)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert store.note_ids(backend.session(first)) == ["n1"]


def crashed_in_a_checkpoint(store: Any, garble: str) -> tuple[Any, Any]:
    """The files as a kill in the middle of a checkpoint leaves them: a torn file, its log and a guard copy."""
    backend, first, second = pair(store)
    backend.maintain()
    before = {path: path.read_bytes() for path in store.files()}
    backend.close()
    for path in store.files():
        path.unlink()
    for path, content in before.items():
        path.write_bytes(content)
    file = store.file_of(first)
    whole = file.read_bytes()
    file_beside(file, ".guard").write_bytes(whole)
    torn = bytearray(whole)
    match garble:
        case "metadata":
            torn[12288 + 100 : 12288 + 400] = os.urandom(300)
        case "header":
            torn[4096:12288] = bytes(8192)
        case "everything":
            torn = bytearray(os.urandom(len(whole)))
        case "nothing":
            pass
    if garble == "missing":
        file.unlink()
    else:
        file.write_bytes(bytes(torn))
    return first, second


@pytest.mark.parametrize("garble", ["metadata", "header", "everything", "missing"])
def test_a_file_torn_by_a_crash_in_a_checkpoint_is_restored_with_its_log(store: Any, garble: str) -> None:
    first, second = crashed_in_a_checkpoint(store, garble)
    again = store.open()
    for placement in (first, second):
        assert store.note_ids(again.session(placement)) == ["n1"]
    assert again.health() == {}
    assert not list(store.home.rglob("*.guard"))
    restored = [details for event, details in store.reports if event == f"{store.noun}.restored"]
    assert restored == [{store.noun: f"/{first.location}"}]
    store.write_note(again.session(first), "n2")
    again.close()
    assert store.note_ids(store.open().session(first)) == ["n1", "n2"]


def test_a_copy_beside_a_file_that_opens_is_removed(store: Any) -> None:
    first, _ = crashed_in_a_checkpoint(store, "nothing")
    again = store.open()
    assert store.note_ids(again.session(first)) == ["n1"]
    assert not list(store.home.rglob("*.guard"))
    assert store.reports == []


def test_a_copy_without_its_log_is_never_used(store: Any) -> None:
    first, second = crashed_in_a_checkpoint(store, "everything")
    file_beside(store.file_of(first), ".wal").unlink()
    again = store.open()
    require_only_first_refused(store, again, first, second)
    assert file_beside(store.file_of(first), ".guard").exists()


def test_an_unfinished_copy_is_removed_and_never_used(store: Any) -> None:
    backend, first, _ = pair(store)
    backend.close()
    leftovers = [file_beside(store.file_of(first), ending) for ending in (".guard.part", ".new", ".new.wal")]
    for path in leftovers:
        path.write_bytes(b"half")
    assert store.note_ids(store.open().session(first)) == ["n1"]
    assert not any(path.exists() for path in leftovers)


def test_a_checkpoint_waits_for_open_transactions_and_comes_back_later(store: Any) -> None:
    backend = store.open(shards=1, checkpoint_wal_bytes=1)
    session = store.session(backend, "ten_aaaa")
    reader = store.session(backend, "ten_bbbb")
    reader.begin(read_only=True)
    log = file_beside(store.file_of(store.placed(backend, "ten_aaaa")), ".wal")
    session.begin()
    store.write_note(session, "n1")
    backend.maintain()
    assert log.exists()
    session.commit()
    backend.maintain()
    assert log.exists()
    store.clock.advance(60)
    backend.maintain()
    assert not log.exists()
    assert store.note_ids(reader) == []
    assert store.note_ids(session) == ["n1"]


def test_a_small_log_is_left_alone(store: Any) -> None:
    backend = store.open(shards=1)
    placement = store.placed(backend, "ten_aaaa")
    store.write_note(backend.session(placement), "n1")
    backend.maintain()
    assert file_beside(store.file_of(placement), ".wal").exists()


def test_no_checkpoint_runs_by_itself(store: Any) -> None:
    backend = store.open(shards=1)
    session = store.session(backend, "ten_aaaa")
    file = store.file_of(store.placed(backend, "ten_aaaa"))
    before = file.lstat().st_mtime_ns
    for number in range(20):
        rows = [store.note(f"n{number}-{row}", title="x" * 1000) for row in range(200)]
        session.write(Insert(store.notes, rows))
    assert file.lstat().st_mtime_ns == before
