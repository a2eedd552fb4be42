"""How many durable increments of usage a second, beside plain SQLite with one commit for each?

``python -m benchmarks.ledger [--seconds 1.5] [--rounds 5]``. Every contestant keeps a total in a SQLite file with a
write-ahead log and ``synchronous=FULL``, on the same disk, and acknowledges an increment only after its commit. Ours
also writes a line of the log that totals are rebuilt from, checks the tenant's status and tells of thresholds; a
reservation and its commit are two such writes. With 16 threads plain SQLite has a connection for each thread. The
bare group commit hands its callers' calls to one thread, which commits one statement for all of them: no group commit
in Python can be faster, for what is left of it is the sync and waking 16 threads. All take turns within a round; the
figures are medians over the rounds, and so are the ratios within each of them.

How much callers gain by sharing a sync depends on what it costs, so the table says what it costs here. A slower disk
can be had by ``strace --seccomp-bpf -f -o /dev/null -e trace=fdatasync -e inject=fdatasync:delay_exit=MICROSECONDS``
before the command.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from types import SimpleNamespace

from benchmarks import _report
from benchmarks._measure import together
from partywall.clock import SystemClock
from partywall.ledger import SqliteLedger
from partywall.model import Grants, QuotaLimits, Status, Strategy
from partywall.names import TenantId
from partywall.quotas import Quotas, Usage

TENANT = TenantId("ten_bench")
THREADS = (1, 16)
GRANTS = Grants("bench", QuotaLimits(None, None, 10**15, None, None), frozenset(), {}, Strategy.ROW, 30, None)
ONE_PLAN = SimpleNamespace(
    status=lambda _: Status.ACTIVE, require_active=lambda tenant_id: tenant_id, grants=lambda _: GRANTS
)
PLAIN = (
    "INSERT INTO usage VALUES ('ten_bench', '2026-11', 'tokens', ?) "
    "ON CONFLICT (tenant_id, period, metric) DO UPDATE SET total = total + excluded.total"
)
PATIENCE = 0.001

Call = Callable[[], object]


def opened(path: Path) -> sqlite3.Connection:
    """The file with its one table, synced at each commit."""
    connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS usage (tenant_id TEXT, period TEXT, metric TEXT, total INTEGER, "
        "PRIMARY KEY (tenant_id, period, metric)) STRICT, WITHOUT ROWID"
    )
    return connection


@contextmanager
def plain(folder: Path) -> Iterator[Callable[[], Call]]:
    """One statement and one commit an increment."""
    connections = []

    def connect() -> Call:
        connection = opened(folder / "plain.sqlite")
        connections.append(connection)
        return lambda: connection.execute(PLAIN, (1,))

    yield connect
    for connection in connections:
        connection.close()


@contextmanager
def bare(folder: Path) -> Iterator[Callable[[], Call]]:
    """One statement and one commit for as many increments as there are callers."""
    connection = opened(folder / "bare.sqlite")
    waiting: SimpleQueue[threading.Lock | None] = SimpleQueue()
    callers = 0

    def connect() -> Call:
        nonlocal callers
        callers += 1
        return call

    def call() -> None:
        done = threading.Lock()
        done.acquire()
        waiting.put(done)
        done.acquire()

    def gathered() -> list[threading.Lock | None]:
        found = [waiting.get()]
        try:
            while len(found) < callers and found[-1] is not None:
                found.append(waiting.get(timeout=PATIENCE))
        except Empty:
            pass
        return found

    def serve() -> None:
        while None not in (together := gathered()):
            connection.execute(PLAIN, (len(together),))
            for done in together:
                if done is not None:
                    done.release()

    server = threading.Thread(target=serve)
    server.start()
    yield connect
    waiting.put(None)
    server.join()
    connection.close()


@contextmanager
def increment(folder: Path) -> Iterator[Callable[[], Call]]:
    """``usage.increment``."""
    ledger = SqliteLedger(folder / "increment.sqlite")
    usage = Usage(ledger, ONE_PLAN, SystemClock())
    yield lambda: lambda: usage.increment(TENANT, "tokens")
    ledger.close()


@contextmanager
def reserve(folder: Path) -> Iterator[Callable[[], Call]]:
    """``quotas.reserve`` and its commit."""
    ledger = SqliteLedger(folder / "reserve.sqlite")
    quotas = Quotas(ledger, ONE_PLAN, SystemClock())
    yield lambda: lambda: quotas.reserve(TENANT, tokens=2).commit(tokens=1)
    ledger.close()


FLOOR = "plain sqlite3"
BARE = "bare group commit"
AIMS = {16: 10.0}
"""Times the floor, by the number of threads."""
CONTESTANTS = {FLOOR: plain, BARE: bare, "usage.increment": increment, "quotas.reserve + commit": reserve}


def rate(connect: Callable[[], Call], threads: int, seconds: float) -> float:
    """Calls a second of so many threads together."""
    done: list[int] = []

    def work(call: Call) -> None:
        count = 0
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            call()
            count += 1
        done.append(count)

    # One after another: plain SQLite refuses some of those that open the same file at once.
    works = [partial(work, connect()) for _ in range(threads)]
    took = together(works)
    return sum(done) / took


def sync_of_the_disk(times: int = 300) -> float:
    """Microseconds to write a page in place and have it on disk."""
    took = []
    with tempfile.NamedTemporaryFile() as file:
        file.write(bytes(4096))
        file.flush()
        os.fdatasync(file.fileno())
        for number in range(times):
            begun = time.perf_counter()
            os.pwrite(file.fileno(), bytes([number % 256]) * 4096, 0)
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - begun)
    return statistics.median(took) * 1e6


def measure(seconds: float, rounds: int) -> dict[int, dict[str, list[float]]]:
    """The rates of every contestant in each round, by the number of threads."""
    rates: dict[int, dict[str, list[float]]] = {count: {name: [] for name in CONTESTANTS} for count in THREADS}
    for _ in range(rounds):
        for count in THREADS:
            for name, contestant in CONTESTANTS.items():
                with tempfile.TemporaryDirectory() as folder, contestant(Path(folder)) as connect:
                    rates[count][name].append(rate(connect, count, seconds))
    return rates


def main(seconds: float = 1.5, rounds: int = 5) -> None:
    """Measure, and add to the table."""
    print("\nLedger: durable increments a second, and their ratio to plain sqlite3 with a commit for each")
    _report.record("ledger", "a sync of this disk", "us", {"disk": sync_of_the_disk()}, ours="disk")
    rates = measure(seconds, rounds)
    for ours, what, aims in (
        ("usage.increment", "durable increments", AIMS),
        ("quotas.reserve + commit", "reservations made and settled", {}),
    ):
        for count, by in rates.items():
            names = [ours, *([BARE] if aims else [])]
            paired = {name: [mine / floor for mine, floor in zip(by[name], by[FLOOR], strict=True)] for name in names}
            _report.record(
                "ledger",
                f"{what}, {count} thread{'s'[: count > 1]}",
                "/s",
                {name: statistics.median(by[name]) for name in (*names, FLOOR)},
                ours=ours,
                floor=FLOOR,
                aim=aims.get(count),
                more_is_better=True,
                ratios={name: statistics.median(ratios) for name, ratios in paired.items()},
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    main(arguments.seconds, arguments.rounds)
    _report.show("ledger", {"sqlite": sqlite3.sqlite_version})
