from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from partywall.ledger import SqliteLedger, Transaction

WAIT = 10.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[SqliteLedger]:
    opened = SqliteLedger(path)
    yield opened
    opened.close()


@pytest.fixture
def pile_up(ledger: SqliteLedger) -> Callable[..., list[Any]]:
    """Runs works so that all of them wait together; returns what each of their callers got."""
    entered, opened = threading.Event(), threading.Event()

    def hold(tx: Transaction) -> None:
        entered.set()
        assert opened.wait(WAIT)

    def call(work: Callable[[Transaction], Any]) -> Any:
        try:
            return ledger.write(work)
        except BaseException as error:  # noqa: BLE001  # the outcome under test
            return error

    def await_waiting(works: int) -> None:
        queue = ledger._writer._queue  # type: ignore[union-attr]
        deadline = time.monotonic() + WAIT
        while queue.qsize() < works:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def run(works: Sequence[Callable[[Transaction], Any]], meanwhile: Callable[[], None] | None = None) -> list[Any]:
        with ThreadPoolExecutor(len(works) + 2) as pool:
            holding = pool.submit(ledger.write, hold)
            assert entered.wait(WAIT)
            callers = [pool.submit(call, work) for work in works]
            await_waiting(len(works))
            other = pool.submit(meanwhile) if meanwhile else None
            opened.set()
            outcomes = [caller.result(WAIT) for caller in callers]
            holding.result(WAIT)
            if other:
                other.result(WAIT)
        return outcomes

    return run
