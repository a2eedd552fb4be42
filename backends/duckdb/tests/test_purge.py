# tests need no docstrings
from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from partywall.backend import Count, Delete, Insert, Scan, Update
from partywall.errors import BackendError, ConstraintViolation, IsolationBreach
from partywall_duckdb.shard import Shard


def plant(store: Any, session: Any, token: str, rows: int = 300) -> None:
    """Leave the token everywhere that rows leave bytes: committed, changed, deleted, rolled back."""
    session.write(Insert(store.notes, [store.note(f"n{row}", title=f"{token}{row}") for row in range(rows)]))
    session.write(Insert(store.users, [store.user(token, f"{token}@x.test", token, 1)]))
    session.write(Update(store.notes, ["n1"], {"extra": f'"{token}"', "raw": token.encode()}))
    session.write(Delete(store.notes, ["n2"]))
    session.begin()
    session.write(Insert(store.notes, [store.note("gone", title=token)]))
    session.rollback()


@pytest.mark.parametrize("checkpointed", [False, True])
def test_g11_after_a_purge_no_byte_of_the_tenant_is_in_the_folder(store: Any, checkpointed: bool) -> None:
    token, kept = secrets.token_hex(16), secrets.token_hex(16)
    backend = store.open(shards=1, checkpoint_wal_bytes=1)
    mine, other = store.session(backend, "ten_purged"), store.session(backend, "ten_stays")
    plant(store, other, kept)
    plant(store, mine, token)
    if checkpointed:
        backend.maintain()
        plant_more = store.note("late", title=token)
        mine.write(Insert(store.notes, [plant_more]))
    before = other.scan(Scan(store.notes)), other.scan(Scan(store.users))
    placement = store.placed(backend, "ten_purged")
    backend.drop(placement)
    assert backend.stamp(placement) is None
    assert (other.scan(Scan(store.notes)), other.scan(Scan(store.users))) == before
    with pytest.raises(ConstraintViolation):
        other.write(Insert(store.users, [store.user("new", f"{kept}@x.test")]))
    backend.drop(placement)
    backend.close()
    assert store.holds(kept)
    assert store.holds(token) == []
    assert store.holds("ten_purged") == []


def test_tenants_that_are_purged_together_cost_one_rewrite_of_their_file(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = store.open(shards=1)
    tokens = [secrets.token_hex(16) for _ in range(3)]
    purged = [store.placed(backend, f"ten_purged{number}") for number in range(3)]
    for placement, token in zip(purged, tokens, strict=True):
        plant(store, backend.session(placement), token, rows=20)
    staying = store.session(backend, "ten_stays")
    plant(store, staying, "kept", rows=20)
    rewritten: list[Shard] = []
    rewrite = Shard._rewrite
    monkeypatch.setattr(Shard, "_rewrite", lambda shard: (rewritten.append(shard), rewrite(shard))[1])
    for _ in range(2):
        backend.drop_many(purged)
    assert len(rewritten) == (0 if store.kind == "duckdb-database" else 1)
    assert [backend.stamp(placement) for placement in purged] == [None] * 3
    assert staying.count(Count(store.notes)) == 19
    backend.close()
    assert [path for token in tokens for path in store.holds(token)] == []


def test_g11_rows_of_tables_that_are_no_longer_declared_go_too(store: Any) -> None:
    token = secrets.token_hex(16)
    backend = store.open(shards=1)
    plant(store, store.session(backend, "ten_purged"), token)
    backend.close()
    assert store.holds(token)
    again = store.open({"users": {"columns": {"email": {"type": "text"}}}})
    again.drop(store.placed(again, "ten_purged"))
    again.close()
    assert store.holds(token) == []


def test_what_is_not_declared_any_more_survives_the_purge_of_a_neighbour(store: Any) -> None:
    backend = store.open(shards=1)
    plant(store, store.session(backend, "ten_stays"), "kept")
    store.session(backend, "ten_purged")
    backend.close()
    again = store.open({"users": {"columns": {"team": {"type": "text"}}}})
    again.drop(store.placed(again, "ten_purged"))
    again.close()
    back = store.open()
    session = store.session(back, "ten_stays")
    assert session.count(Count(store.notes)) == 299
    (user,) = session.scan(Scan(store.users))
    assert user == store.user("kept", "kept@x.test", "kept", 1)


def test_g7_a_session_that_outlives_the_purge_writes_nothing(store: Any) -> None:
    backend = store.open(shards=1)
    session = store.session(backend, "ten_purged")
    placement = store.placed(backend, "ten_purged")
    backend.drop(placement)
    for attempt in (
        lambda: store.write_note(session, "n1"),
        lambda: session.scan(Scan(store.notes)),
        lambda: backend.session(placement),
    ):
        with pytest.raises(IsolationBreach):
            attempt()


def test_e9_a_tenant_provisioned_again_finds_nothing_of_before(store: Any) -> None:
    backend = store.open(shards=1)
    store.write_note(store.session(backend, "ten_aaaa"), "old")
    backend.drop(store.placed(backend, "ten_aaaa"))
    assert store.note_ids(store.session(backend, "ten_aaaa")) == []


def test_dropping_what_was_never_there_is_no_error(store: Any) -> None:
    backend = store.open(shards=1)
    placement = store.placed(backend, "ten_aaaa")
    backend.drop(placement)
    backend.close()
    store.file_of(placement).unlink(missing_ok=True)
    again = store.open()
    again.drop(placement)
    assert again.stamp(placement) is None


@pytest.mark.parametrize("read_only", [False, True])
def test_a_purge_waits_for_open_transactions(store: Any, read_only: bool) -> None:
    backend = store.open(shards=1)
    placement = store.placed(backend, "ten_purged")
    neighbour = store.session(backend, "ten_purged" if store.kind == "duckdb-database" else "ten_stays")
    store.write_note(neighbour, "n1")
    neighbour.begin(read_only=read_only)
    assert store.note_ids(neighbour) == ["n1"]
    gate = neighbour._store.gate
    with ThreadPoolExecutor(1) as threads:
        purged = threads.submit(backend.drop, placement)
        while not (gate._reads_stopped if read_only else gate._writes_stopped):
            assert not purged.done()
        assert store.note_ids(neighbour) == ["n1"]
        neighbour.commit()
        purged.result(30)
    assert backend.health() == {}
    assert backend.stamp(placement) is None
    if store.kind != "duckdb-database":
        assert store.note_ids(neighbour) == ["n1"]


def test_the_new_file_is_complete_when_it_is_swapped_in(store: Any) -> None:
    backend = store.open(shards=1)
    staying = store.placed(backend, "ten_stays")
    plant(store, backend.session(staying), "kept")
    purged = store.placed(backend, "ten_purged")
    backend.drop(purged)
    left = {path.name for path in store.files()} - {f"{store.file_of(staying).name}.wal"}
    assert left == {"layout.json", store.file_of(staying).name}


def test_sessions_are_given_out_while_the_file_is_swapped(rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = rows
    backend = store.open(shards=1)
    staying, purged = store.placed(backend, "ten_stays"), store.placed(backend, "ten_purged")
    given: list[Any] = []
    opened = Shard._in_service

    def watched(shard: Shard) -> frozenset[str]:
        given.append(backend.session(staying))
        return opened(shard)

    monkeypatch.setattr(Shard, "_in_service", watched)
    backend.drop(purged)
    assert [store.note_ids(session) for session in given] == [[]]


def test_neighbours_read_and_write_while_tenants_are_purged(store: Any) -> None:
    backend = store.open(shards=1)
    placements = [store.placed(backend, f"ten_purged{number}") for number in range(5)]
    written: list[str] = []
    done = threading.Event()

    staying = store.placed(backend, "ten_stays")

    def work() -> None:
        while not done.is_set() or not written:
            session = backend.session(staying)
            assert backend.stamp(staying) == "ten_stays"
            row_id = f"n{len(written)}"
            store.write_note(session, row_id)
            written.append(row_id)
            assert session.count(Count(store.notes)) == len(written)
            session.close()

    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(work)
        for placement in placements:
            backend.drop(placement)
        done.set()
        working.result(30)
    backend.close()
    again = store.open()
    assert store.note_ids(store.session(again, "ten_stays")) == sorted(written)


CRASHING = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import Store
from partywall_duckdb import contents, files, shard, store as stores, tables

steps = int(sys.argv[3])
left = [steps]

def dying(function):
    def called(*args, **kwargs):
        if left[0] == 0:
            os._exit(9)
        left[0] -= 1
        return function(*args, **kwargs)
    return called

store = Store(Path(sys.argv[2]), sys.argv[4])
backend = store.open()
placements = [store.placed(backend, tenant) for tenant in ("ten_purged", "ten_purged2")]
for owner, name in (
    (files.Path, "replace"), (files.Path, "unlink"), (files, "sync_folder"), (files.os, "fsync"),
    (shard, "run"), (stores, "run"), (contents, "run"), (tables, "run"),
):
    setattr(owner, name, dying(getattr(owner, name)))
backend.drop_many(placements)
print(steps - left[0])
os._exit(0)
"""


def drop_dying_after(store: Any, steps: int) -> subprocess.CompletedProcess[str]:
    kit = str(Path(__file__).parent)
    arguments = [sys.executable, "-c", CRASHING, kit, str(store.folder), str(steps), store.kind]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)


def test_g15_a_crash_at_any_step_of_a_purge_leaves_a_purge_that_can_be_finished(store: Any) -> None:
    token = secrets.token_hex(16)
    stride = 3 if store.kind == "duckdb-database" else 11
    for step in range(0, 50 * stride, stride):
        for path in store.files():
            path.unlink()
        backend = store.open(shards=1)
        plant(store, store.session(backend, "ten_purged"), token, rows=20)
        plant(store, store.session(backend, "ten_purged2"), token, rows=20)
        plant(store, store.session(backend, "ten_stays"), "kept", rows=20)
        placements = [store.placed(backend, tenant) for tenant in ("ten_purged", "ten_purged2")]
        backend.close()
        died = drop_dying_after(store, step)
        assert died.returncode in (0, 9), died.stderr
        again = store.open()
        assert store.session(again, "ten_stays").count(Count(store.notes)) == 19
        again.drop_many(placements)
        assert again.health() == {}
        assert store.session(again, "ten_stays").count(Count(store.notes)) == 19
        again.close()
        assert store.holds(token) == []
        if died.returncode == 0:
            assert step > 4 * stride
            return
    raise AssertionError("the purge never came to its end")


def test_a_purge_that_fails_leaves_the_file_in_service_and_can_be_repeated(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = secrets.token_hex(16)
    backend = store.open(shards=1)
    placement = store.placed(backend, "ten_purged")
    plant(store, backend.session(placement), token)
    neighbour = store.session(backend, "ten_stays")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", _full)
        with pytest.raises(BackendError, match="repeat"):
            backend.drop(placement)
    assert backend.health() == {}
    store.write_note(neighbour, "n1")
    backend.drop(placement)
    backend.close()
    assert store.holds(token) == []
    assert store.note_ids(store.session(store.open(), "ten_stays")) == ["n1"]


def _full(_descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_checkpoint_without_room_for_its_copy_is_put_off(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = store.open(shards=1, checkpoint_wal_bytes=1)
    session = store.session(backend, "ten_aaaa")
    store.write_note(session, "n1")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", _full)
        backend.maintain()
    assert list(store.home.rglob("*.wal"))
    assert not list(store.home.rglob("*.guard*"))
    store.write_note(session, "n2")
    store.clock.advance(60)
    backend.maintain()
    assert not list(store.home.rglob("*.wal"))
    assert store.note_ids(session) == ["n1", "n2"]


def test_closing_without_room_for_the_copy_leaves_the_log(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = store.open(shards=1)
    store.write_note(store.session(backend, "ten_aaaa"), "n1")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", _full)
        backend.close()
    assert list(store.home.rglob("*.wal"))
    assert store.note_ids(store.session(store.open(), "ten_aaaa")) == ["n1"]
