"""What sql() promises: which tier runs it, what it takes and returns, and how it ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from partywall import ConfigError, Engine, PartywallError, PermissionDenied, QueryError, TenantSuspended
from partywall.clock import ManualClock, utc
from partywall.isolation import ScopedQuery
from partywall.model import EngineConfig, SqlTier, Strategy, Tenant
from partywall.registry import Registry

ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) as many from n"


def at_database_level(data_folder: Path, settings: str = "") -> None:
    tenancy = data_folder / "system" / "tenancy"
    for file in (tenancy / "tenants").glob("*.yaml"):
        file.write_text(f"{file.read_text()}isolation: database_level\n")
    engine = tenancy / "engine.yaml"
    engine.write_text(f"{engine.read_text()}\n{settings}")


@pytest.fixture
def database(data_folder: Path, open_engine: Callable[..., Engine]) -> Engine:
    at_database_level(data_folder)
    return open_engine()


@pytest.fixture
def query(database: Engine) -> ScopedQuery:
    return database.query(database.tenants.get_by_slug("acme").id)


def test_where_no_tier_runs_it_the_refusal_says_what_to_do(engine: Engine, acme: Tenant) -> None:
    query = engine.query(acme.id)
    query.count("projects")
    placement = engine.isolation.placement(acme.id)
    assert placement is not None
    if placement.strategy is Strategy.DATABASE:
        assert query.sql("select 1 as one") == [{"one": 1}]
        return
    with pytest.raises(PermissionDenied, match=r"raw SQL is refused at \w+_level; use select\(\)"):
        query.sql("select 1")


def test_rows_and_values_come_as_everywhere(query: ScopedQuery, clock: ManualClock) -> None:
    project = query.insert("projects", {"name": "Apollo ☃", "budget": 2.5, "metadata": {"a": [1]}})
    task = query.insert("tasks", {"project_id": project["id"], "title": "t", "due": date(2026, 12, 1), "done": True})
    query.insert("documents", {"title": "d", "content": bytes(range(256))})
    assert query.sql("select * from projects") == [{**project, "metadata": '{"a":[1]}'}]
    assert query.sql("select * from tasks") == [task]
    assert query.sql("select content from documents") == [{"content": bytes(range(256))}]
    (row,) = query.sql(
        "select created_at, created_at + interval 1 day as later, [name] as names, null as no from projects"
    )
    assert row["created_at"] == utc(clock.now())
    assert row["created_at"].tzinfo is UTC
    assert row["later"] - row["created_at"] == timedelta(days=1)
    assert (row["names"], row["no"]) == (["Apollo ☃"], None)


def test_parameters_are_given_by_place_or_by_name(query: ScopedQuery) -> None:
    query.insert_many("projects", [{"name": f"p{n}", "budget": n} for n in range(5)])
    assert query.sql("select name from projects where budget > ? and budget < $2 order by name", [1, 4]) == [
        {"name": "p2"},
        {"name": "p3"},
    ]
    assert query.sql("select count(*) as n from projects where name = any($names)", {"names": ["p1", "p4", "x"]}) == [
        {"n": 2}
    ]
    moment = datetime(2026, 11, 23, 12, 0, tzinfo=timezone(timedelta(hours=5)))
    values = ["t", 2**63 - 1, 0.5, True, None, b"\0", date(2026, 1, 1), moment]
    wanted = ", ".join(f"? as c{number}" for number in range(len(values)))
    assert list(query.sql(f"select {wanted}", values)[0].values()) == values
    assert query.sql("select name from projects limit $n", {"n": 1})


NO_PARAMETERS: list[Any] = [
    "text",
    [object()],
    [{"a": 1}],
    [2**63],
    [float("nan")],
    [datetime(2026, 1, 1)],  # noqa: DTZ001  # naive on purpose
    ["\ud800"],
    [[["nested"]]],
    ["x" * 1_000_001],
    [list(range(10_001))],
    list(range(1_001)),
    {1: 1},
    {"no such name": 1},
    7,
]


def test_parameters_that_are_no_plain_values_are_refused(query: ScopedQuery) -> None:
    for params in NO_PARAMETERS:
        with pytest.raises(PartywallError) as refused:
            query.sql("select 1", params)
        assert refused.value.status == 400


def test_text_is_one_statement_of_a_bounded_size(query: ScopedQuery) -> None:
    for text in ("", "  ", None, 7, b"select 1", "select 1\0", "select '\ud800'", "-" * 64_001):
        with pytest.raises(QueryError):
            query.sql(text)  # type: ignore[arg-type]  # wrong on purpose


def test_parameters_that_do_not_fit_the_statement_are_refused(query: ScopedQuery) -> None:
    named = ({}, {"a": 1, "b": 2})
    unfit: list[tuple[str, Any]] = [("select ?", []), ("select ?", [1, 2]), ("select 1", [1])]
    for text, params in [*unfit, *(("select $a", each) for each in named)]:
        with pytest.raises(QueryError, match="parameters"):
            query.sql(text, params)


def test_more_rows_than_allowed_are_an_error_and_never_cut_off(
    data_folder: Path, open_engine: Callable[..., Engine]
) -> None:
    at_database_level(data_folder, "max_rows: 50\n")
    engine = open_engine()
    query = engine.query(engine.tenants.get_by_slug("acme").id)
    assert len(query.sql("select * from range(50)")) == 50
    assert len(query.sql("select * from range(5)", limit=5)) == 5
    for text, limit in (("select * from range(51)", None), ("select * from range(6)", 5), ("select 1", 0)):
        with pytest.raises(QueryError, match="more than"):
            query.sql(text, limit=limit)
    for wrong in (-1, 51, True, 1.0):
        with pytest.raises(QueryError, match="limit takes"):
            query.sql("select 1", limit=wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_two_columns_of_one_name_are_refused_and_none_is_lost(query: ScopedQuery) -> None:
    with pytest.raises(QueryError, match="same name"):
        query.sql("select 1 as a, 2 as a")
    assert query.sql("select 1 as a, 2 as b") == [{"a": 1, "b": 2}]


REFUSALS = [
    ("select nobody from projects", "a column that is not there"),
    ("select * from nobodys", "'nobodys', which is not declared"),
    ("selec 1", "not valid SQL at character 1"),
    ("select timezone('Nowhere/None', now())", "an unknown time zone"),
    ("select cast('x' as integer)", "cannot be converted"),
    ("select 9223372036854775807 + 1::bigint", "out of range"),
    ("delete from projects", "only a SELECT"),
    ("select 1; select 2", "exactly one"),
    ("select repeat('x', 3)", "the function 'repeat'"),
    ("select projects from projects", "such as projects.id"),
]


def test_a_refusal_says_what_is_wrong_in_words_of_ours(query: ScopedQuery) -> None:
    for text, words in REFUSALS:
        with pytest.raises(QueryError) as refused:
            query.sql(text)
        assert words in str(refused.value)


def test_what_no_limit_of_the_store_contains_is_refused_before_it_runs(query: ScopedQuery) -> None:
    query.insert("projects", {"name": "x"})
    doubled = ", ".join(f"x{n - 1} + x{n - 1} as x{n}" for n in range(1, 30))
    starred = "select *, * from (" * 12 + "select * from projects" + ")" * 12
    crossed = "".join(f", c{n} as (select * from c{n - 1} a, c{n - 1} b)" for n in range(1, 20))
    for text, words in (
        (f"select budget as x0, {doubled} from projects", "parts"),
        (f"select 1 from ({starred})", "columns"),
        (f"with c0 as (select * from projects){crossed} select 1 from c19", "columns"),
        (f"select 1 from projects where {' or '.join(f'budget = {n}' for n in range(2_000))}", "parts"),
        (f"select {'(' * 2_000}1{')' * 2_000}", "nested"),
        (f"select {'abs(' * 900}1{')' * 900}", "nested"),
        (f"select 1 from projects{', projects' * 60}", "relations"),
        ("select 1 from projects group by cube (id, name, status, budget, metadata, created_at, 1)", "ways"),
    ):
        with pytest.raises(QueryError, match=words):
            query.sql(text)


def test_a_result_is_bounded_in_bytes_too(query: ScopedQuery) -> None:
    query.insert_many("documents", [{"title": "x", "content": bytes(1_000_000)} for _ in range(10)])
    assert len(query.sql("select content from documents")) == 10
    with pytest.raises(QueryError, match="larger than 64,000,000 bytes"):
        query.sql("select a.content from documents a, documents b")
    copies = ", ".join(f"s as s{number}" for number in range(17))
    with pytest.raises(QueryError, match="at most 16 columns"):
        query.sql(f"select {copies} from (select string_agg(title, ',') as s from documents)")


def test_only_declared_columns_are_there_whatever_the_file_holds(
    data_folder: Path, open_engine: Callable[..., Engine]
) -> None:
    at_database_level(data_folder)
    first = open_engine()
    query = first.query(first.tenants.get_by_slug("acme").id)
    query.insert("projects", {"name": "Apollo", "budget": 7})
    first.close()
    tables = data_folder / "system" / "tenancy" / "tables.yaml"
    tables.write_text(tables.read_text().replace("      budget: {type: float}\n", ""))
    again = open_engine()
    query = again.query(again.tenants.get_by_slug("acme").id)
    (row,) = query.sql("select * from projects")
    assert row.keys() == query.select("projects")[0].keys()
    for text in ("select budget from projects", "select * from partywall", "select rowid from projects"):
        with pytest.raises(QueryError):
            query.sql(text)


def test_a_tenant_that_writes_nothing_can_still_read(query: ScopedQuery) -> None:
    assert query.sql("select * from projects") == []
    assert query.sql("select count(*) as n from tasks") == [{"n": 0}]


def test_inside_a_transaction_it_is_refused(query: ScopedQuery) -> None:
    with query.transaction():
        query.insert("projects", {"name": "x"})
        with pytest.raises(QueryError, match="outside of transaction"):
            query.sql("select 1")
    assert query.sql("select name from projects") == [{"name": "x"}]


def test_a_statement_that_takes_too_long_is_stopped_and_the_next_one_runs(
    data_folder: Path, open_engine: Callable[..., Engine]
) -> None:
    at_database_level(data_folder, "sql: {timeout_seconds: 0.2}\n")
    engine = open_engine()
    query = engine.query(engine.tenants.get_by_slug("acme").id)
    for _ in range(2):
        with pytest.raises(QueryError, match=r"longer than 0\.2 s"):
            query.sql(ENDLESS)
        assert query.sql("select 1 as one") == [{"one": 1}]


def running(engine: Engine, tenant: Tenant) -> bool:
    scope = engine.isolation._places.open_scope(tenant.id)
    return scope is not None and bool(scope._units)


def test_g2_a_suspension_stops_a_statement_that_is_running(database: Engine) -> None:
    acme = database.tenants.get_by_slug("acme")
    query = database.query(acme.id)
    query.sql("select 1")
    outcome: list[BaseException] = []

    def work() -> None:
        try:
            query.sql(ENDLESS)
        except PartywallError as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while not running(database, acme):
        thread.join(0.01)
    database.tenants.suspend(acme.id, reason="unpaid")
    thread.join(9)
    assert not thread.is_alive()
    assert [type(error) for error in outcome] == [TenantSuspended]


def test_a_cancelled_await_stops_the_statement_and_frees_its_thread(database: Engine) -> None:
    acme = database.tenants.get_by_slug("acme")

    async def work() -> None:
        query = await database.aio.query(acme.id)
        assert await query.sql("select ? as n", [1], limit=1) == [{"n": 1}]
        task = asyncio.create_task(query.sql(ENDLESS))
        while not running(database, acme):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 9)
        assert not running(database, acme)
        assert await query.sql("select 2 as n") == [{"n": 2}]

    asyncio.run(work())


def test_an_operator_refuses_it_everywhere_by_name(data_folder: Path, open_engine: Callable[..., Engine]) -> None:
    at_database_level(data_folder)
    settings = data_folder / "system" / "tenancy" / "engine.yaml"
    chosen = "database_level: {backend: duckdb-database, sql: refused}"
    settings.write_text(settings.read_text().replace("database_level: duckdb-database", chosen))
    engine = open_engine()
    with pytest.raises(PermissionDenied):
        engine.query(engine.tenants.get_by_slug("acme").id).sql("select 1")


@pytest.mark.parametrize("level", ["row", "schema"])
def test_validated_is_refused_where_tenants_share_a_store(
    data_folder: Path, open_engine: Callable[..., Engine], level: str
) -> None:
    settings = data_folder / "system" / "tenancy" / "engine.yaml"
    chosen = f"{level}_level: {{backend: duckdb-{level}, sql: validated}}"
    settings.write_text(settings.read_text().replace(f"{level}_level: duckdb-{level}", chosen))
    with pytest.raises(ConfigError, match="share one store"):
        open_engine()


@pytest.mark.parametrize("tier", ["maybe", "", 1, True])
def test_a_tier_that_there_is_not_is_a_problem_of_the_file(tier: Any) -> None:
    with pytest.raises(ValueError, match="refused, validated"):
        EngineConfig.model_validate({"backends": {"row_level": {"backend": "duckdb-row", "sql": tier}}})


def test_by_default_it_runs_only_where_the_store_holds_the_wall() -> None:
    registry = Registry()
    tiers = {name: registry.sql_tier(found, EngineConfig()) for name, found in registry.backends.items()}
    assert tiers == {
        "duckdb-row": SqlTier.REFUSED,
        "duckdb-schema": SqlTier.REFUSED,
        "duckdb-database": SqlTier.VALIDATED,
    }
