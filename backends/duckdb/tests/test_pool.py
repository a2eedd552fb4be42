# tests need no docstrings
from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from partywall.clock import ManualClock
from partywall.errors import BackendError
from partywall_duckdb.pool import Pool


class Item:
    def __init__(self, key: str, most: int, live: set[str]) -> None:
        assert key not in live, "the same item is open twice"
        live.add(key)
        assert len(live) <= most, "more items are open than may be"
        self.key, self.live = key, live
        self.usable = True
        self.checkpointed: bool | None = None

    def close(self, *, checkpoint: bool) -> None:
        self.live.remove(self.key)
        self.checkpointed = checkpoint


def pool_of(most: int, clock: ManualClock | None = None) -> tuple[Pool[str, Item], set[str]]:
    live: set[str] = set()
    return Pool(most, clock or ManualClock(), lambda key: Item(key, most, live)), live


def test_the_one_used_longest_ago_makes_room() -> None:
    pool, live = pool_of(2)
    for key in ("a", "b", "a", "c"):
        pool.pin(key, 0.0)
        pool.unpin(key)
    assert live == {"a", "c"}


def test_what_is_pinned_is_never_closed_under_someone() -> None:
    clock = ManualClock()
    pool, live = pool_of(2, clock)
    held = pool.pin("held", 0.0)
    for key in "abc":
        pool.pin(key, 0.0)
        pool.unpin(key)
        clock.advance(1000)
        pool.close_idle(1, 99)
    assert live == {"held"}
    assert held.checkpointed is None


def test_when_all_are_in_use_a_call_waits_and_then_says_busy() -> None:
    pool, live = pool_of(1)
    pool.pin("a", 0.0)
    with pytest.raises(BackendError, match="busy"):
        pool.pin("b", 0.01)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(pool.pin, "b", 30.0)
        pool.unpin("a")
        assert waiting.result(10).key == "b"
    assert live == {"b"}


def test_what_is_idle_is_closed_with_a_checkpoint_and_a_look_is_no_use() -> None:
    clock = ManualClock()
    pool, live = pool_of(9, clock)
    for key in "abc":
        pool.pin(key, 0.0)
        pool.unpin(key)
    clock.advance(200)
    pool.pin("c", 0.0)
    pool.unpin("c")
    seen = [item for _, item in pool.visit()]
    clock.advance(150)
    pool.close_idle(300, 1)
    assert live == {"b", "c"}
    pool.close_idle(300, 9)
    assert live == {"c"}
    assert [item.checkpointed for item in seen] == [True, True, None]


def test_what_is_of_no_use_any_more_goes_with_its_last_pin() -> None:
    pool, live = pool_of(9)
    item = pool.pin("a", 0.0)
    pool.pin("a", 0.0)
    item.usable = False
    pool.unpin("a")
    assert live == {"a"}
    pool.unpin("a")
    assert live == set()


def test_one_that_does_not_open_takes_no_place() -> None:
    def failing(key: str) -> Any:
        raise BackendError(key)

    pool: Pool[str, Item] = Pool(1, ManualClock(), failing)
    for key in ("a", "b", "a"):
        with pytest.raises(BackendError, match=key):
            pool.pin(key, 0.0)
    assert len(pool) == 0


def test_those_who_ask_at_once_get_the_same_one() -> None:
    pool, _ = pool_of(1)
    together = threading.Barrier(8)

    def ask(_: int) -> Item:
        together.wait(10)
        return pool.pin("a", 10.0)

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(ask, range(8)))) == 1


def test_eight_threads_over_fifty_keys_stay_within_bounds() -> None:
    pool, live = pool_of(8)

    def work(seed: int) -> None:
        for step in range(400):
            key = str((seed * 7 + step * 11) % 50)
            assert pool.pin(key, 30.0).key == key
            assert key in live
            pool.unpin(key)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    pool.close()
    assert (live, len(pool)) == (set(), 0)
