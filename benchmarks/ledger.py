"""How many durable increments of usage a second, beside plain SQLite with one commit for each?

``python -m benchmarks.ledger [--seconds 1.5] [--rounds 5]``. Every contestant keeps a total in a SQLite file with a
write-ahead log and ``synchronous=FULL``, on the same disk, and acknowledges an increment only after its commit. Ours
also writes a line of the log that totals are rebuilt from, checks the tenant's status and tells of thresholds; a
reservation and its commit are two such writes. With 16 threads plain SQLite has a connection for each thread. All
take turns within a round; the figures are medians over the rounds, and so are the ratios within each of them.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
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
    "INSERT INTO usage VALUES ('ten_bench', '2026-11', 'tokens', 1) "
    "ON CONFLICT (tenant_id, period, metric) DO UPDATE SET total = total + 1"
)

Call = Callable[[], object]


@contextmanager
def plain(folder: Path) -> Iterator[Callable[[], Call]]:
    """One statement and one commit an increment."""
    opened = []

    def connect() -> Call:
        connection = sqlite3.connect(folder / "plain.sqlite", timeout=30, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS usage (tenant_id TEXT, period TEXT, metric TEXT, total INTEGER, "
            "PRIMARY KEY (tenant_id, period, metric)) STRICT, WITHOUT ROWID"
        )
        opened.append(connection)
        return lambda: connection.execute(PLAIN)

    yield connect
    for connection in opened:
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
AIMS = {16: 10.0}
"""Times the floor, by the number of threads."""
CONTESTANTS = {FLOOR: plain, "usage.increment": increment, "quotas.reserve + commit": reserve}


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


def measure(seconds: float, rounds: int) -> dict[int, dict[str, list[float]]]:
    """The rates of every contestant in each round, by the number of threads."""
    rates: dict[int, dict[str, list[float]]] = {count: {name: [] for name in CONTESTANTS} for count in THREADS}
    for _ in range(rounds):
        for count in THREADS:
            for name, opened in CONTESTANTS.items():
                with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as connect:
                    rates[count][name].append(rate(connect, count, seconds))
    return rates


def main(seconds: float = 1.5, rounds: int = 5) -> None:
    """Measure, and add to the table."""
    print("\nLedger: durable increments a second, and their ratio to plain sqlite3 with a commit for each")
    rates = measure(seconds, rounds)
    for ours, what, aims in (
        ("usage.increment", "durable increments", AIMS),
        ("quotas.reserve + commit", "reservations made and settled", {}),
    ):
        for count, by in rates.items():
            paired = [mine / plain for mine, plain in zip(by[ours], by[FLOOR], strict=True)]
            _report.record(
                "ledger",
                f"{what}, {count} thread{'s'[: count > 1]}",
                "/s",
                {name: statistics.median(by[name]) for name in (ours, FLOOR)},
                ours=ours,
                floor=FLOOR,
                aim=aims.get(count),
                more_is_better=True,
                ratios={ours: statistics.median(paired)},
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    main(arguments.seconds, arguments.rounds)
    _report.show("ledger", {"sqlite": sqlite3.sqlite_version})
