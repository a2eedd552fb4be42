# tests need no docstrings
from __future__ import annotations

from typing import Any

import pytest

from partywall.backend import Count, Delete, Insert
from partywall.errors import BackendError
from partywall_duckdb.options import Options

TEXT = "x" * 50_000


def fill(store: Any, backend: Any, rounds: int, *, upkeep: bool) -> int:
    """Write a megabyte at a time and delete the one before; returns how many were written before the store refused."""
    session = store.session(backend, "ten_aaaa")
    ids: list[str] = []
    for number in range(rounds):
        gone, ids = ids, [f"n{number}-{row}" for row in range(20)]
        try:
            session.write(Insert(store.notes, [store.note(row_id, title=TEXT) for row_id in ids]))
            session.write(Delete(store.notes, gone))
        except BackendError:
            return number
        if upkeep:
            backend.maintain()
    return rounds


@pytest.mark.parametrize("upkeep", [False, True])
def test_rows_that_fill_the_memory_are_worked_into_the_file_however_short_the_log(store: Any, upkeep: bool) -> None:
    backend = store.open(shards=1, memory_limit="32MB", checkpoint_wal_bytes=2**40)
    written = fill(store, backend, 50, upkeep=upkeep)
    # Without upkeep the instance has no room for them: the other case would pass by itself otherwise.
    assert (written == 50) is upkeep
    assert backend.health() == {}


def test_schemas_that_fill_the_memory_are_worked_into_their_files_one_after_the_other(schemas: Any) -> None:
    backend = schemas.open(memory_limit="16MB", schemas_per_shard=20)
    for number in range(220):
        tenant = f"ten_many{number:04}"
        with_rows = schemas.session(backend, tenant)
        with_rows.write(Insert(schemas.notes, [schemas.note("n1", title=tenant)]))
        with_rows.close()
        if number % 10 == 0:
            backend.maintain()
    assert backend.health() == {}
    assert schemas.note_ids(schemas.session(backend, "ten_many0000")) == ["n1"]


def test_a_checkpoint_that_finds_no_memory_takes_the_file_out_of_service_for_a_moment_only(store: Any) -> None:
    backend = store.open(shards=1, memory_limit="32MB", checkpoint_wal_bytes=2**40)
    placement = store.placed(backend, "ten_aaaa")
    written = 0
    while not store.reports:
        session = backend.session(placement)
        session.write(Insert(store.notes, [store.note(f"n{written}-{row}", title=TEXT) for row in range(20)]))
        session.close()
        written += 1
        backend.maintain()
    assert [event for event, _ in store.reports] == [f"{store.noun}.damaged"]
    for _ in range(3):
        store.clock.advance(20)
        backend.maintain()
        assert backend.session(placement).count(Count(store.notes)) == 20 * written
    assert len(store.reports) == 1


def test_little_that_is_held_is_left_alone(store: Any) -> None:
    backend = store.open(shards=1)
    store.write_note(store.session(backend, "ten_aaaa"), "n1")
    backend.maintain()
    assert list(store.home.rglob("*.wal"))


@pytest.mark.parametrize(
    ("text", "number"), [("512MB", 512_000_000), ("2GiB", 2 * 2**30), ("1 TB", 10**12), ("64KiB", 65_536)]
)
def test_a_memory_limit_in_bytes(text: str, number: int) -> None:
    assert Options.parse({"memory_limit": text}).memory_bytes == number
