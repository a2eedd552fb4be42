"""Ctrl-C amid a statement is Ctrl-C: the store neither swallows it nor keeps anything of what it ended."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from partywall import Engine, ne
from partywall.isolation import ScopedQuery
from partywall.model import Tenant


@contextmanager
def ctrl_c(seconds: float) -> Iterator[None]:
    """Another signal with the same handler: a shell's background job ignores SIGINT, and this one comes on time."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def insert_for_ever(query: ScopedQuery, rows: list[dict[str, str]]) -> None:
    with query.transaction() as transaction:
        while True:
            transaction.insert_many("projects", rows)
            transaction.delete_where("projects", {"name": "row 0"})
            transaction.delete_where("projects", {"name": ne("row 0")})


# Python itself drops what a handler raises amid a finalizer, and says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_amid_a_statement_reaches_the_caller_and_leaves_whole_rows(engine: Engine, acme: Tenant) -> None:
    query = engine.query(acme.id)
    rows = [{"name": f"row {number}"} for number in range(100)]
    assert query.count("projects") == 0  # DuckDB is loaded: the import of it does not bear a signal
    interrupted = 0
    for number in range(20):
        until = time.monotonic() + 1
        try:
            with ctrl_c(0.01 + number * 0.0007):
                while time.monotonic() < until:
                    query.delete_where("projects", {})
                    query.insert_many("projects", rows)
        except KeyboardInterrupt:
            interrupted += 1
    assert interrupted > 10
    assert query.count("projects") in (0, 100)
    query.delete_where("projects", {})
    with pytest.raises(KeyboardInterrupt), ctrl_c(0.02):
        insert_for_ever(query, rows)
    assert query.count("projects") == 0
