"""Tables that declare a quota: their rows are the usage."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.isolation.conftest import example_plugin
from tests.quotas.counted import LIMIT, Opened, declare, projects, stands

from partywall import ConstraintViolation, Engine, LedgerError, QuotaExceeded, TenantSuspended
from partywall.model import Tenant
from partywall.quotas import crossing_of

durable = pytest.mark.parametrize("engine", ["duckdb-row"], indirect=True)


@pytest.fixture(params=["duckdb-row", "ephemeral-dict"])
def engine(request: pytest.FixtureRequest, data_folder: Path, open_engine: Opened) -> Engine:
    declare(data_folder)
    if request.param == "duckdb-row":
        return open_engine()
    settings = data_folder / "system" / "tenancy" / "engine.yaml"
    chosen = "row_level: {backend: ephemeral-dict, ephemeral: true}"
    settings.write_text(settings.read_text().replace("row_level: duckdb-row", chosen))
    return open_engine(plugins=[example_plugin()])


def test_rows_are_counted_as_they_come_and_go(engine: Engine, acme: Tenant, beta: Tenant) -> None:
    query = engine.query(acme.id)
    query.insert("projects", {"id": "p1", "name": "Apollo"})
    query.insert_many("projects", projects(2, 3))
    assert stands(engine, acme) == (3, 0)
    query.update("projects", "p1", {"name": "Apollo 11"})
    query.update_where("projects", {}, {"status": "done"})
    assert stands(engine, acme) == (3, 0)
    assert query.delete("projects", "p1") == 1
    assert query.delete("projects", "p1") == 0
    assert stands(engine, acme) == (2, 0)
    assert query.delete_where("projects", {"name": "Project 2"}) == 1
    assert stands(engine, acme) == (1, 0)
    assert stands(engine, beta) == (0, 0)


def test_an_insert_that_would_pass_the_quota_is_refused_and_writes_nothing(engine: Engine, acme: Tenant) -> None:
    query = engine.query(acme.id)
    query.insert_many("projects", projects(1, 2, 3))
    with pytest.raises(QuotaExceeded) as caught:
        query.insert_many("projects", projects(4, 5))
    assert (caught.value.quota, caught.value.current, caught.value.limit) == ("projects", 3, LIMIT)
    assert stands(engine, acme) == (3, 0)
    query.insert_many("projects", projects(4))
    with pytest.raises(QuotaExceeded):
        query.upsert("projects", {"id": "p5", "name": "Project 5"})
    assert stands(engine, acme) == (4, 0)
    query.delete("projects", "p1")
    query.insert_many("projects", projects(5))
    assert stands(engine, acme) == (4, 0)


def test_an_upsert_counts_only_the_row_that_is_new(engine: Engine, acme: Tenant) -> None:
    query = engine.query(acme.id)
    query.insert_many("projects", projects(1, 2, 3))
    for _ in range(3):
        query.upsert("projects", {"name": "Project 4", "status": "new"}, key="name")
    query.upsert("projects", {"id": "p1", "name": "Project 1"})
    assert stands(engine, acme) == (4, 0)


def test_a_refused_row_counts_nothing(engine: Engine, acme: Tenant) -> None:
    query = engine.query(acme.id)
    query.insert_many("projects", projects(1))
    with pytest.raises(ConstraintViolation):
        query.insert("projects", {"name": "Project 1"})
    query.insert("tasks", {"project_id": "p1", "title": "t"})
    with pytest.raises(ConstraintViolation):
        query.delete("projects", "p1")
    assert stands(engine, acme) == (1, 0)


def test_a_transaction_is_counted_at_its_commit(engine: Engine, acme: Tenant) -> None:
    query = engine.query(acme.id)
    query.insert_many("projects", projects(1, 2))
    with query.transaction():
        query.insert_many("projects", projects(3))
        query.delete("projects", "p1")
        query.insert_many("projects", projects(4, 5))
        status = engine.quotas.check(acme.id).projects
        assert (status.current, status.reserved) == (2, 2)
        with pytest.raises(QuotaExceeded):
            engine.quotas.reserve(acme.id, projects=1)
    assert stands(engine, acme) == (4, 0)


def test_a_transaction_that_gives_back_first_needs_no_more_room_than_it_takes(engine: Engine, acme: Tenant) -> None:
    query = engine.query(acme.id)
    query.insert_many("projects", projects(1, 2, 3, 4))
    with query.transaction():
        query.delete_where("projects", {})
        query.insert_many("projects", projects(5, 6, 7, 8))
        assert engine.quotas.check(acme.id).projects.reserved == 0
    assert stands(engine, acme) == (4, 0)


def test_a_transaction_that_is_rolled_back_counts_nothing(engine: Engine, acme: Tenant) -> None:
    query = engine.query(acme.id)
    query.insert_many("projects", projects(1, 2))

    def fail() -> None:
        with query.transaction():
            query.insert_many("projects", projects(3, 4))
            query.delete("projects", "p1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert stands(engine, acme) == (2, 0)

    def exceed() -> None:
        with query.transaction():
            query.insert_many("projects", projects(3))
            query.insert_many("projects", projects(4, 5))

    with pytest.raises(QuotaExceeded):
        exceed()
    assert stands(engine, acme) == (2, 0)


def test_l1_of_many_racing_inserts_exactly_as_many_are_written_as_there_is_room(engine: Engine, acme: Tenant) -> None:
    query = engine.query(acme.id)

    def race(number: int) -> bool:
        try:
            query.insert_many("projects", projects(number))
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(race, range(24))) == LIMIT
    assert stands(engine, acme) == (LIMIT, 0)


def test_what_is_counted_by_hand_stands_beside_the_rows(engine: Engine, acme: Tenant) -> None:
    query = engine.query(acme.id)
    engine.quotas.consume(acme.id, projects=2)
    query.insert_many("projects", projects(1))
    with engine.quotas.reserve(acme.id, projects=1), pytest.raises(QuotaExceeded):
        query.insert_many("projects", projects(2))
    query.insert_many("projects", projects(2))
    assert engine.quotas.check(acme.id).projects.current == LIMIT
    engine.usage.increment(acme.id, "projects", -3)
    query.delete_where("projects", {})
    assert engine.quotas.check(acme.id).projects.current == 0
    assert engine.usage.verify() == []


def test_l16_a_transaction_of_a_suspended_tenant_gives_its_room_back(engine: Engine, acme: Tenant) -> None:
    query = engine.query(acme.id)

    def work() -> None:
        with query.transaction():
            query.insert_many("projects", projects(1, 2))
            engine.tenants.suspend(acme.id, reason="unpaid")

    with pytest.raises(TenantSuspended):
        work()
    assert engine.usage.reserved(acme.id)["projects"] == 0
    engine.tenants.resume(acme.id)
    assert stands(engine, acme) == (0, 0)


def test_l14_a_cancelled_transaction_gives_its_room_back(engine: Engine, acme: Tenant) -> None:
    async def main() -> None:
        query = await engine.aio.query(acme.id)
        inserted = asyncio.Event()

        async def work() -> None:
            async with query.transaction():
                await query.insert_many("projects", projects(1, 2))
                inserted.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await asyncio.wait_for(inserted.wait(), 20)
        assert engine.usage.reserved(acme.id)["projects"] == 2
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert stands(engine, acme) == (0, 0)


@durable
def test_l5_with_the_ledger_down_no_row_is_written_and_nothing_is_lost(engine: Engine, acme: Tenant) -> None:
    query = engine.query(acme.id)
    query.insert_many("projects", projects(1))
    limit_pages(engine, lambda pages: pages)

    def write_on() -> None:
        for number in range(2, 100):
            query.insert("projects", {"name": f"Project {number}"})
            query.delete_where("projects", {"name": f"Project {number}"})

    with pytest.raises(LedgerError):
        write_on()
    limit_pages(engine, lambda _: 1_000_000)
    query.delete("projects", "p1")
    assert stands(engine, acme)[1] == 0


def limit_pages(engine: Engine, limit: Callable[[int], int]) -> None:
    def work(connection: Any) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {limit(pages)}")

    engine._ledger._writer.outside(work)  # type: ignore[attr-defined]


@durable
def test_a_move_changes_no_count_and_rows_are_counted_where_they_are_now(engine: Engine, acme: Tenant) -> None:
    query = engine.query(acme.id)
    query.insert_many("projects", projects(1, 2, 3))
    engine.isolation.move(acme.id, to="database_level")
    assert stands(engine, acme) == (3, 0)
    query.insert_many("projects", projects(4))
    with pytest.raises(QuotaExceeded):
        query.insert_many("projects", projects(5))
    query.delete_where("projects", {})
    assert stands(engine, acme) == (0, 0)


def test_rows_pass_a_soft_quota_and_tell_of_its_thresholds(data_folder: Path, open_engine: Opened) -> None:
    declare(data_folder)
    plans = data_folder / "system" / "tenancy" / "plans.yaml"
    plans.write_text(plans.read_text().replace("    price:", "    softQuotas: [maxProjects]\n    price:"))
    with open_engine() as engine:
        acme = engine.tenants.get_by_slug("acme")
        engine.query(acme.id).insert_many("projects", projects(1, 2, 3, 4, 5))
        assert engine.quotas.check(acme.id).projects.soft
        assert stands(engine, acme) == (5, 0)
        crossings = [crossing_of(record) for record in engine._ledger.read(lambda tx: tx.audit())]
        assert [each.percent for each in crossings if each] == [80, 100]


def test_rows_under_an_unlimited_quota_are_counted_and_never_refused(data_folder: Path, open_engine: Opened) -> None:
    declare(data_folder, limit="unlimited")
    with open_engine() as engine:
        acme = engine.tenants.get_by_slug("acme")
        engine.query(acme.id).insert_many("projects", projects(*range(200)))
        assert stands(engine, acme) == (200, 0)


def test_arrow_tables_are_counted_as_rows(engine: Engine, acme: Tenant) -> None:
    query = engine.query(acme.id)
    assert query.insert_arrow("projects", pa.table({"name": ["a", "b", "c"]})) == 3
    with pytest.raises(QuotaExceeded):
        query.insert_arrow("projects", pa.table({"name": ["d", "e"]}))
    assert stands(engine, acme) == (3, 0)
