"""Sealed SQL: on every backend, over the tenant's own rows, in a process that cannot harm the engine's."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.isolation.conftest import example_plugin

from partywall import ConfigError, Engine, PartywallError, QueryError, TenantSuspended, hookimpl
from partywall.isolation import ScopedQuery
from partywall.model import EngineConfig, SqlTier
from partywall.registry import Registry

CANARY = "c0ffee0ddba11c0ffee0ddba11c0ffee"
ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) as many from n"
BACKENDS = ("row", "schema", "database")


def sealed(data_folder: Path, limits: str = "") -> None:
    tenancy = data_folder / "system" / "tenancy"
    settings = tenancy / "engine.yaml"
    text = settings.read_text()
    for level in BACKENDS:
        text = text.replace(
            f"{level}_level: duckdb-{level}", f"{level}_level: {{backend: duckdb-{level}, sql: sealed}}"
        )
    settings.write_text(f"{text}\n{limits}")


def at(data_folder: Path, level: str) -> None:
    for file in (data_folder / "system" / "tenancy" / "tenants").glob("*.yaml"):
        file.write_text(f"{file.read_text()}isolation: {level}_level\n")


def filled(engine: Engine) -> tuple[ScopedQuery, ScopedQuery]:
    mine, other = (engine.query(engine.tenants.get_by_slug(slug).id) for slug in ("acme", "beta-labs"))
    for query, word in ((mine, "own"), (other, CANARY)):
        project = query.insert("projects", {"name": word, "budget": 2.5, "metadata": {"a": word}})
        query.insert("tasks", {"project_id": project["id"], "title": word, "priority": 2**63 - 1})
        query.insert("documents", {"title": word, "content": word.encode()})
    return mine, other


@pytest.fixture(params=[*BACKENDS, "ephemeral"])
def pair(
    request: pytest.FixtureRequest, data_folder: Path, open_engine: Callable[..., Engine]
) -> tuple[ScopedQuery, ScopedQuery]:
    sealed(data_folder)
    at(data_folder, request.param if request.param in BACKENDS else "row")
    if request.param in BACKENDS:
        return filled(open_engine())
    settings = data_folder / "system" / "tenancy" / "engine.yaml"
    settings.write_text(
        settings.read_text().replace("backend: duckdb-row,", "backend: ephemeral-dict, ephemeral: true,")
    )
    return filled(open_engine(plugins=[example_plugin()]))


def test_h_a_sealed_statement_sees_the_tenants_own_rows_and_nothing_else(
    pair: tuple[ScopedQuery, ScopedQuery],
) -> None:
    mine, other = pair
    before = [[query.select(table) for table in ("projects", "tasks", "documents")] for query in pair]
    (row,) = mine.sql(
        "select p.*, t.title, repeat('ab', 2) as again from projects p join tasks t on t.project_id = p.id"
    )
    (project,) = mine.select("projects")
    assert row == {**project, "metadata": '{"a":"own"}', "title": "own", "again": "abab"}
    assert other.sql("select name, $n as n from projects", {"n": 7}) == [{"name": CANARY, "n": 7}]
    assert mine.sql(
        "select sum(priority) as s from (select priority from tasks union all select priority from tasks)"
    ) == [{"s": 2 * (2**63 - 1)}]
    for text in (
        "select * from read_text('/etc/passwd')",
        "copy projects to '/tmp/spy.csv'",
    ):
        with pytest.raises(QueryError) as refused:
            mine.sql(text)
        assert CANARY not in str(refused.value)
    assert [[query.select(table) for table in ("projects", "tasks", "documents")] for query in pair] == before


@pytest.fixture
def short(data_folder: Path, open_engine: Callable[..., Engine]) -> Engine:
    sealed(data_folder, "sql: {timeout_seconds: 8, sealed_workers: 1}\nmax_rows: 100\n")
    return open_engine()


def children() -> set[int]:
    return {int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and _parent(path) == os.getpid()}


def limits_of(processes: set[int]) -> list[str]:
    return [Path(f"/proc/{pid}/limits").read_text() for pid in processes] or [""]


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def test_what_takes_too_much_ends_its_own_process_and_no_other(short: Engine) -> None:
    mine, _ = filled(short)
    before = children()
    for text in ("select len(repeat('x', 2000000000)) as n", "select len(range(2000000000)) as n"):
        with pytest.raises(QueryError, match="memory"):
            mine.sql(text)
    with pytest.raises(QueryError, match="more than 100 rows"):
        mine.sql("select * from range(101)")
    with pytest.raises(QueryError, match="bytes"):
        mine.sql("select repeat('x', 100000000) as x")
    assert mine.sql("select * from range(100)", limit=100)[99] == {"range": 99}
    assert children() == before


def test_h28_a_value_that_python_has_none_for_is_told_as_such_and_never_comes_as_another(short: Engine) -> None:
    mine, _ = filled(short)
    for value in (
        "date '5000000-01-01'",
        "timestamp '290000-01-01'",
        "170141183460469231731687303715884105727::hugeint",
    ):
        with pytest.raises(QueryError, match="out of range; cast it to a text"):
            mine.sql(f"select {value} as x")
    with pytest.raises(QueryError, match="uhugeint"):
        mine.sql("select 340282366920938463463374607431768211455::uhugeint as x")
    with pytest.raises(QueryError, match="ended its process"):
        mine.sql("select json_contains($d::json, $d::json)", {"d": "[" * 200_000 + "]" * 200_000})


def test_h29_a_small_answer_of_millions_of_values_is_refused(short: Engine) -> None:
    mine, _ = filled(short)
    for text in ("select list_resize([true], 5000000) as l", "select [list(i > 0)] as l from range(5000000) t(i)"):
        with pytest.raises(QueryError, match="more than 4,000,000 values"):
            mine.sql(text)
    assert mine.sql("select list(i) as l from range(3) t(i)") == [{"l": [0, 1, 2]}]


def test_a_statement_without_end_is_killed_in_time(data_folder: Path, open_engine: Callable[..., Engine]) -> None:
    sealed(data_folder, "sql: {timeout_seconds: 4}\n")
    mine, _ = filled(open_engine())
    before = children()
    # Neither of the two looks up while it is at work.
    for text in (ENDLESS, "select levenshtein(repeat('a', 300000), repeat('b', 300000)) as n"):
        with pytest.raises(QueryError, match=r"longer than 4 s|more memory or time"):
            mine.sql(text)
    assert children() == before


def test_g2_a_suspension_and_a_cancelled_await_end_the_process(
    data_folder: Path, open_engine: Callable[..., Engine]
) -> None:
    sealed(data_folder, "sql: {timeout_seconds: 60}\n")
    engine = open_engine()
    filled(engine)
    acme = engine.tenants.get_by_slug("acme")
    before = children()

    async def cancelled() -> None:
        query = await engine.aio.query(acme.id)
        task = asyncio.create_task(query.sql(ENDLESS))
        while not all(re.search(r"Max open files +0 +0", limits) for limits in limits_of(children() - before)):
            await asyncio.sleep(0.01)  # until the statement itself is at work, which can open no file
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 20)

    asyncio.run(cancelled())
    assert children() == before
    outcome: list[type[PartywallError]] = []

    def work() -> None:
        try:
            engine.query(acme.id).sql(ENDLESS)
        except PartywallError as error:
            outcome.append(type(error))

    thread = threading.Thread(target=work)
    thread.start()
    while children() == before:
        thread.join(0.01)
    engine.tenants.suspend(acme.id, reason="unpaid")
    thread.join(20)
    assert outcome == [TenantSuspended]
    assert children() == before


def test_without_a_plugin_that_brings_the_process_the_tier_is_refused() -> None:
    class Nothing:
        @hookimpl(tryfirst=True)
        def partywall_sealed_sql(self) -> None:
            return None

    registry = Registry([Nothing()])
    found = registry.backends["duckdb-row"]
    config = EngineConfig.model_validate({"backends": {"row_level": {"backend": "duckdb-row", "sql": "sealed"}}})
    assert registry.sql_tier(found, config) is SqlTier.SEALED
    registry._sealed_sql = None
    registry._manager.unregister(
        name=next(name for name, plugin in registry._manager.list_name_plugin() if "duckdb" in name)
    )
    with pytest.raises(ConfigError, match="install partywall-duckdb"):
        registry.sql_tier(found, config)
