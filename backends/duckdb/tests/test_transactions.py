# tests need no docstrings
from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from partywall.backend import Count, Delete, Insert, Order, Scan, Update
from partywall.errors import BackendError, PartywallError
from partywall.operators import Condition, Operator


def test_a_failed_statement_fails_the_transaction_for_good(store: Any, pair: Any) -> None:
    _, mine, _ = pair
    bad = [
        lambda: mine.write(Insert(store.notes, [store.note("n1")])),
        lambda: mine.write(Insert(store.notes, [store.note("a"), store.note("a")])),
        lambda: mine.scan(Scan(store.notes, order_by=(Order("nope"),))),
        lambda: mine.write(Update(store.notes, ["n1"], {"rank": "x"})),
    ]
    store.write_note(mine, "n1")
    for statement in bad:
        mine.begin()
        store.write_note(mine, "lost")
        with pytest.raises(PartywallError):
            statement()
        with pytest.raises(BackendError, match="earlier statement"):
            mine.scan(Scan(store.notes))
        with pytest.raises(BackendError, match="nothing was written"):
            mine.commit()
        assert store.note_ids(mine) == ["n1"]


def test_transactions_begin_once_and_end_once(store: Any, pair: Any) -> None:
    _, mine, _ = pair
    with pytest.raises(BackendError):
        mine.commit()
    mine.rollback()
    mine.begin()
    with pytest.raises(BackendError):
        mine.begin()
    store.write_note(mine, "n1")
    mine.rollback()
    assert store.note_ids(mine) == []
    mine.begin()
    store.write_note(mine, "n2")
    mine.commit()
    assert store.note_ids(mine) == ["n2"]


def test_a_read_only_transaction_does_not_write(store: Any, pair: Any) -> None:
    _, mine, _ = pair
    mine.begin(read_only=True)
    assert store.note_ids(mine) == []
    with pytest.raises(BackendError):
        store.write_note(mine, "n1")
    mine.rollback()
    assert store.note_ids(mine) == []


def test_a_transaction_sees_one_state(store: Any, pair: Any) -> None:
    backend, mine, _ = pair
    racer = store.session(backend, "ten_aaaa")
    mine.begin(read_only=True)
    assert store.note_ids(mine) == []
    store.write_note(racer, "n1")
    assert store.note_ids(mine) == []
    mine.commit()
    assert store.note_ids(mine) == ["n1"]


def test_changed_and_removed_rows_are_counted(store: Any, pair: Any) -> None:
    _, mine, other = pair
    rows = [store.note(f"n{number}") for number in range(30)]
    assert mine.write(Insert(store.notes, rows)) == 30
    assert other.write(Insert(store.notes, rows[:3])) == 3
    assert mine.write(Update(store.notes, [row["id"] for row in rows[:7]] + ["none"], {"rank": 7})) == 7
    assert mine.count(Count(store.notes, (Condition("rank", Operator.EQ, 7),))) == 7
    assert mine.write(Delete(store.notes, [row["id"] for row in rows[5:]])) == 25
    assert mine.write(Delete(store.notes, [])) == 0
    assert (mine.count(Count(store.notes)), other.count(Count(store.notes))) == (5, 3)


def test_interrupting_stops_a_running_statement_of_one_session(store: Any, pair: Any) -> None:
    _, mine, other = pair
    rows = [store.note(f"n{number}", title="ab" * 40) for number in range(3000)]
    mine.write(Insert(store.notes, rows))
    pattern = "%a%b%" * 40 + "z"
    slow = Scan(store.notes, tuple(Condition("title", Operator.LIKE, pattern) for _ in range(20)))
    started = threading.Event()

    def read() -> None:
        started.set()
        for _ in range(100_000):
            mine.scan(slow)

    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(read)
        assert started.wait(10)
        while not reading.done():
            mine.interrupt()
        with pytest.raises(BackendError, match="interrupted"):
            reading.result()
    assert store.note_ids(other) == []
    assert mine.count(Count(store.notes)) == 3000


def test_interrupting_ends_the_wait_for_housekeeping(store: Any, pair: Any) -> None:
    _, mine, _ = pair
    with ThreadPoolExecutor(1) as threads, mine._store.gate.writes_stopped(1.0):
        waiting = threads.submit(store.write_note, mine, "n1")
        while not waiting.done():
            mine.interrupt()
        with pytest.raises(BackendError, match="interrupted"):
            waiting.result()
