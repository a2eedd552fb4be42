"""What does the wall cost? A scoped statement beside the same statement, hand-written on a raw DuckDB connection.

Both run in one process, in turn, on files of equal rows and settings; the figures are medians and their ratios.
The second table asks whether a statement of one tenant gets dearer with the number of tenants.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import duckdb

import partywall
from benchmarks._measure import keep
from partywall import Engine
from partywall.registry import Registry

SAMPLE = Path(__file__).parent.parent / "orchestrator-data" / "system"
STRATEGIES = ("row_level", "schema_level", "database_level")
ROWS = 1_000
ROUNDS = 300
SCALES = {"row_level": (10, 1_000, 10_000), "schema_level": (10, 1_000), "database_level": (10, 250)}
TENANT = """id: {id}
name: Tenant {number}
slug: t{number}
type: enterprise
status: active
isolation: {strategy}
owner: {{userId: u, email: u@x.test, name: U}}
"""


@contextmanager
def tenants(number: int, strategy: str) -> Iterator[Engine]:
    """An engine with so many tenants, none of them provisioned yet."""
    with tempfile.TemporaryDirectory(prefix="partywall-bench-") as scratch:
        root = Path(scratch)
        shutil.copytree(SAMPLE, root / "system", ignore=shutil.ignore_patterns("tenants"))
        folder = root / "system" / "tenancy" / "tenants"
        folder.mkdir()
        for each in range(number):
            text = TENANT.format(id=f"ten_bench{each:06}", number=each, strategy=strategy)
            (folder / f"t{each}.yaml").write_text(text)
        with partywall.open(root, watch=False) as engine:
            yield engine


@contextmanager
def raw() -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB file with the table as the backend would make it for one tenant."""
    with tempfile.TemporaryDirectory(prefix="partywall-bench-") as scratch:
        connection = duckdb.connect(":memory:")
        connection.execute(f"ATTACH '{scratch}/raw.duckdb' AS raw (BLOCK_SIZE 16384)")
        connection.execute(
            "CREATE TABLE raw.main.projects (id VARCHAR PRIMARY KEY, name VARCHAR, status VARCHAR, budget DOUBLE, "
            "metadata VARCHAR, created_at TIMESTAMP)"
        )
        connection.execute("CREATE UNIQUE INDEX by_name ON raw.main.projects (name)")
        yield connection
        connection.close()


def medians(cases: dict[str, Callable[[int], object]]) -> dict[str, float]:
    """The median of each case in microseconds, run in turn."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(ROUNDS):
        for name, case in cases.items():
            begun = time.perf_counter()
            case(number)
            times[name].append(time.perf_counter() - begun)
    return {name: median(found[ROUNDS // 10 :]) * 1e6 for name, found in times.items()}


def beside_raw(strategy: str) -> list[dict[str, Any]]:
    """Print the cost of point reads and inserts beside the hand-written statements; returns it too."""
    row = "SELECT id, name, status, budget, metadata, created_at FROM raw.main.projects WHERE id = ?"
    add = "INSERT INTO raw.main.projects VALUES (?, ?, 'active', NULL, NULL, now()::TIMESTAMP)"
    with tenants(10, strategy) as engine, raw() as connection:
        query = engine.query("ten_bench000000")
        query.insert_many("projects", [{"id": f"r{number}", "name": f"p{number}"} for number in range(ROWS)])
        connection.executemany(add, [[f"r{number}", f"p{number}"] for number in range(ROWS)])
        found = medians(
            {
                "raw select": lambda n: connection.cursor().execute(row, [f"r{n}"]).fetchall(),
                "scoped select": lambda n: query.get("projects", f"r{n}"),
                "raw insert": lambda n: connection.cursor().execute(add, [f"n{n}", f"q{n}"]).fetchall(),
                "scoped insert": lambda n: query.insert("projects", {"id": f"n{n}", "name": f"q{n}"}),
            }
        )
    told = []
    for what in ("select", "insert"):
        ours, theirs = found[f"scoped {what}"], found[f"raw {what}"]
        print(f"{strategy:<16}{what:<10}{theirs:>10.0f}{ours:>12.0f}{ours - theirs:>10.0f}{ours / theirs:>9.2f}")
        told.append({"strategy": strategy, "statement": what, "raw_us": theirs, "scoped_us": ours})
    return told


def at_scale(strategy: str) -> list[dict[str, Any]]:
    """Print the cost for one tenant among few and among many, in turn, and the memory of each; returns it too."""
    grown: dict[int, float] = {}
    cases: dict[str, Callable[[int], object]] = {}
    with ExitStack() as opened:
        for number in SCALES[strategy]:
            engine = opened.enter_context(tenants(number, strategy))
            grown[number] = filled(engine, number) / number
            query = engine.query("ten_bench000000")
            cases[str(number)] = lambda n, query=query: query.select("projects", {"name": f"p{n % 20}"})
        found = medians(cases)
    base = found[str(SCALES[strategy][0])]
    for number, each in grown.items():
        took = found[str(number)]
        print(f"{strategy:<16}{number:>8}{took:>12.0f}{took / base:>8.2f}{each / 1024:>14.1f}")
    return [
        {"strategy": strategy, "tenants": number, "select_us": found[str(number)], "bytes_each": each}
        for number, each in grown.items()
    ]


def filled(engine: Engine, number: int) -> int:
    """Give every tenant twenty rows; returns the bytes of memory that it took."""
    before = resident()
    for each in range(number):
        engine.query(f"ten_bench{each:06}").insert_many("projects", [{"name": f"p{n}"} for n in range(20)])
    return resident() - before


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Print both tables for every strategy that an installed backend offers."""
    offered = {found.spec.strategy for found in Registry().backends.values()}
    chosen = [strategy for strategy in STRATEGIES if strategy in offered]
    print(f"\nThe wall, DuckDB {duckdb.__version__}, Python {sys.version.split()[0]}, {os.cpu_count()} cores")
    print(f"{'strategy':<16}{'statement':<10}{'raw, us':>10}{'scoped, us':>12}{'over':>10}{'ratio':>9}")
    beside = [row for strategy in chosen for row in beside_raw(strategy)]
    print(f"\n{'strategy':<16}{'tenants':>8}{'select, us':>12}{'ratio':>8}{'kB a tenant':>14}")
    among = [row for strategy in chosen for row in at_scale(strategy)]
    print(f"\nkept in {keep('wall', {'duckdb': duckdb.__version__, 'beside_raw': beside, 'among': among})}")


if __name__ == "__main__":
    main()
