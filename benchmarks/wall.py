"""What does the wall cost? A scoped statement beside the same statement, hand-written on a raw DuckDB connection.

Both run in one process, in turn, on files of equal rows and settings; the figures are medians and their ratios.
Then: does a statement of one tenant get dearer with the number of tenants, and a purge cheaper in company?
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import duckdb

import partywall
from benchmarks import _report
from benchmarks._measure import resident
from partywall import Engine
from partywall.clock import Clock, ManualClock
from partywall.registry import Registry

SAMPLE = Path(__file__).parent.parent / "orchestrator-data" / "system"
STRATEGIES = ("row_level", "schema_level", "database_level")
ROWS = 1_000
ROUNDS = 300
FIRST = "ten_bench000000"
PURGED = 10
RETENTION_SECONDS = 100 * 86_400
RAW_AIM, SCALE_AIM = 1.2, 1.3
"""Times the hand-written statement, and times the cost among the fewest tenants."""
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
def tenants(number: int, strategy: str, clock: Clock | None = None) -> Iterator[Engine]:
    """An engine with so many tenants, none of them provisioned yet."""
    with tempfile.TemporaryDirectory(prefix="partywall-bench-") as scratch:
        root = Path(scratch)
        shutil.copytree(SAMPLE, root / "system", ignore=shutil.ignore_patterns("tenants"))
        folder = root / "system" / "tenancy" / "tenants"
        folder.mkdir()
        for each in range(number):
            text = TENANT.format(id=f"ten_bench{each:06}", number=each, strategy=strategy)
            (folder / f"t{each}.yaml").write_text(text)
        with partywall.open(root, watch=False, clock=clock) as engine:
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


def beside_raw(strategy: str) -> None:
    """Record the cost of point reads and inserts beside the hand-written statements."""
    row = "SELECT id, name, status, budget, metadata, created_at FROM raw.main.projects WHERE id = ?"
    add = "INSERT INTO raw.main.projects VALUES (?, ?, 'active', NULL, NULL, now()::TIMESTAMP)"
    with tenants(10, strategy) as engine, raw() as connection:
        query = engine.query(FIRST)
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
    for what in ("select", "insert"):
        figures = {name: found[f"{name} {what}"] for name in ("scoped", "raw")}
        _report.record("wall", f"{strategy}, {what}", "us", figures, ours="scoped", floor="raw", aim=RAW_AIM)


def at_scale(strategy: str) -> None:
    """Record the cost for one tenant among few and among many, in turn, and the memory of each."""
    grown: dict[str, float] = {}
    cases: dict[str, Callable[[int], object]] = {}
    with ExitStack() as opened:
        for number in SCALES[strategy]:
            engine = opened.enter_context(tenants(number, strategy))
            name = f"{number:,} tenants"
            grown[name] = filled(engine, number) / number / 1000
            query = engine.query(FIRST)
            cases[name] = lambda n, query=query: query.select("projects", {"name": f"p{n % 20}"})
        found = medians(cases)
    fewest, *_, most = found
    _report.record("wall", f"{strategy}, select among many", "us", found, ours=most, floor=fewest, aim=SCALE_AIM)
    _report.record("wall", f"{strategy}, memory a tenant", "kB", {most: grown[most]}, ours=most)


def purging(strategy: str) -> None:
    """Record what it takes to purge tenants of one file, one by one and together."""
    took: dict[str, float] = {}
    clock = ManualClock()
    with tenants(PURGED * 4, strategy, clock) as engine:
        filled(engine, PURGED * 4)
        due = [f"ten_bench{each:06}" for each in range(PURGED * 2)]
        for tenant_id in due:
            engine.tenants.delete(tenant_id)
        begun = time.perf_counter()
        for tenant_id in due[:PURGED]:
            engine.tenants.purge(tenant_id, before_due=True)
        took["one by one"] = time.perf_counter() - begun
        clock.advance(RETENTION_SECONDS)
        begun = time.perf_counter()
        engine.tenants.purge_due()
        took["together"] = time.perf_counter() - begun
    measure = f"{strategy}, purge of {PURGED} in one file"
    _report.record("wall", measure, "s", took, ours="together", floor="one by one")


def filled(engine: Engine, number: int) -> int:
    """Give every tenant twenty rows; returns the bytes of memory that it took."""
    before = resident()
    for each in range(number):
        engine.query(f"ten_bench{each:06}").insert_many("projects", [{"name": f"p{n}"} for n in range(20)])
    return resident() - before


def main() -> None:
    """Measure every strategy that an installed backend offers, and add to the table."""
    print(
        f"\nThe wall: scoped statements beside hand-written ones, few tenants beside many, DuckDB {duckdb.__version__}"
    )
    offered = {found.spec.strategy for found in Registry().backends.values()}
    chosen = [strategy for strategy in STRATEGIES if strategy in offered]
    for measure in (beside_raw, at_scale):
        for strategy in chosen:
            measure(strategy)
    purging("schema_level")


if __name__ == "__main__":
    main()
    _report.show("wall", {"duckdb": duckdb.__version__})
