"""A signal handler, or a finalizer that the garbage collector runs, may call what its own thread is amid."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from partywall.errors import LedgerError, QuotaExceeded
from partywall.ledger import SqliteLedger
from partywall.names import TenantId
from partywall.quotas import Quotas, Usage

ACME = TenantId("ten_acme")
PATIENCE = 60.0


def amid(outer: Callable[[], object], inner: Callable[[], object], where: str, point: int) -> bool:
    """Call ``inner`` amid ``outer``, at a point where Python looks for signals; False when there are fewer points."""
    passed = 0

    def interrupt(frame: Any, event: str, _: object) -> None:
        nonlocal passed
        if where in frame.f_code.co_filename:
            passed += 1
            if passed == point:
                inner()

    sys.setprofile(interrupt)
    try:
        outer()
    finally:
        sys.setprofile(None)
    return passed >= point


def in_time(work: Callable[[], None]) -> None:
    """Run the work on a thread of its own, which may hang for good where it fails."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # raised again below
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "the thread waits for itself"
    if failures:
        raise failures[0]


def test_places_are_counted_right_whatever_takes_or_gives_some_back_amid_a_call(quotas: Quotas, tenants: Any) -> None:
    tenants.limit(ACME, agents=4)
    places, kept = quotas.places, list[Any]()

    def one() -> None:
        with suppress(QuotaExceeded):  # others may wait before it
            quotas.hold(ACME, agents=1).release()

    def keep() -> None:
        kept.append(quotas.hold(ACME, agents=1))

    def give_up() -> None:
        with pytest.raises(QuotaExceeded):
            quotas.hold(ACME, agents=4, wait=0.001)

    def drop() -> None:
        kept.pop().release()

    def work() -> None:
        for outer, inner, left in (
            *((one, one, 1), (one, keep, 2), (keep, keep, 3), (keep, drop, 1), (drop, keep, 1), (one, drop, 0)),
            *((give_up, one, 1), (drop, one, 0)),
        ):
            point = 1
            while True:
                keep()
                if not amid(outer, inner, "partywall/quotas/", point):
                    break
                assert places.count(ACME) == left == len(kept), (outer, inner, point)
                assert places.waiting() == []
                while kept:
                    drop()
                point += 1
            while kept:
                drop()
            assert point > 10

    in_time(work)


def test_a_hold_may_be_released_amid_everything_that_looks_at_holds(quotas: Quotas) -> None:
    def work() -> None:
        for look in (quotas._holds.expire, lambda: quotas.hold(ACME, agents=1, lease=5).release()):
            point = 1
            while True:
                hold = quotas.hold(ACME, agents=1, lease=5)
                enough = amid(look, hold.release, "partywall/quotas/", point)
                hold.release()
                assert quotas.places.count(ACME) == 0
                if not enough:
                    break
                point += 1

    in_time(work)


@pytest.mark.parametrize("inner", ["write", "read"])
@pytest.mark.parametrize("outer", ["write", "read"])
def test_usage_may_be_counted_and_read_amid_a_call_that_does_so(
    usage: Usage, ledger: SqliteLedger, outer: str, inner: str
) -> None:
    calls: dict[str, Callable[[], object]] = {
        "write": lambda: usage.increment(ACME, "projects"),
        "read": lambda: usage.totals(ACME),
    }

    def work() -> None:
        point = 1
        while amid(calls[outer], calls[inner], "partywall/ledger/", point):
            point += 1
        assert point > 10
        written = (point if outer == "write" else 0) + (point - 1 if inner == "write" else 0)
        assert usage.totals(ACME)["projects"] == written

    in_time(work)
    assert usage.verify() == []


def test_a_ledger_that_closes_answers_everybody(ledger: SqliteLedger) -> None:
    def work() -> None:
        try:
            while True:
                ledger.write(lambda tx: tx.usage(ACME, ""))
        except LedgerError:
            return

    threads = [threading.Thread(target=work, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    ledger.close()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)


def test_generators_abandoned_in_cycles_give_their_holds_back(quotas: Quotas, tenants: Any) -> None:
    tenants.limit(ACME, agents=10**6)

    def holding() -> Iterator[None]:
        with quotas.hold(ACME, agents=1):
            yield

    def work() -> None:
        for _ in range(5000):
            cycle: list[Any] = [holding()]
            next(cycle[0])
            cycle.append(cycle)

    threshold = gc.get_threshold()
    gc.set_threshold(50)
    try:
        in_time(work)
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    assert quotas.places.count(ACME) == 0


def test_generators_closed_on_the_ledgers_own_thread_give_their_reservations_back(
    quotas: Quotas, usage: Usage, ledger: SqliteLedger
) -> None:
    def reserving() -> Iterator[None]:
        with quotas.reserve(ACME, tokens=1000):
            yield

    generator = reserving()
    next(generator)
    ledger.write(lambda _: generator.close())
    ledger.write(lambda _: None)
    assert usage.reserved(ACME)["tokens"] == 0
    quotas.consume(ACME, tokens=1000)


def test_generators_abandoned_in_cycles_give_their_reservations_back(
    quotas: Quotas, usage: Usage, ledger: SqliteLedger, tenants: Any
) -> None:
    tenants.limit(ACME, tokens=None)

    def reserving() -> Iterator[None]:
        with quotas.reserve(ACME, tokens=1):
            yield

    threshold = gc.get_threshold()
    gc.set_threshold(30)
    try:
        for _ in range(200):
            cycle: list[Any] = [reserving()]
            next(cycle[0])
            cycle.append(cycle)
    finally:
        gc.set_threshold(*threshold)
    del cycle
    gc.collect()
    ledger.write(lambda _: None)
    assert usage.reserved(ACME)["tokens"] == 0
    assert usage.verify() == []


def test_what_is_written_soon_is_written_before_the_ledger_closes_and_its_failure_is_logged(
    ledger: SqliteLedger, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.write_soon(lambda tx: tx.usage(ACME, "")["nothing"])
    ledger.write_soon(lambda tx: tx.set_usage(ACME, "", "users", 7))
    ledger.close()
    assert "nobody waits" in caplog.text
    with pytest.raises(LedgerError, match="closed"):
        ledger.write_soon(lambda tx: None)
    with closing(SqliteLedger(path)) as again:
        assert again.read(lambda tx: tx.usage(ACME, "")) == {"users": 7}
