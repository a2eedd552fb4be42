"""Tables that declare a quota: their rows are the usage, whatever happens between the row and its count."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.isolation.conftest import example_plugin

from partywall import BackendError, ConstraintViolation, Engine, LedgerError, QuotaExceeded, TenantSuspended
from partywall.ledger import SqliteLedger
from partywall.model import Tenant
from partywall.names import TenantId

LIMIT = 4
Opened = Callable[..., Engine]


def declare(folder: Path, *, quota: str = "projects", limit: int | str = LIMIT) -> None:
    tables = folder / "system" / "tenancy" / "tables.yaml"
    text = tables.read_text()
    tables.write_text(text.replace("  projects:\n", f"  projects:\n    quota: {quota}\n"))
    for file in (folder / "system" / "tenancy" / "tenants").glob("acme*.yaml"):
        file.write_text(f"{file.read_text()}quotas: {{maxProjects: {limit}, maxUsers: {limit}}}\n")


def undeclare(folder: Path) -> None:
    tables = folder / "system" / "tenancy" / "tables.yaml"
    tables.write_text(tables.read_text().replace("    quota: projects\n", ""))


@pytest.fixture(params=["duckdb-row", "ephemeral-dict"])
def engine(request: pytest.FixtureRequest, data_folder: Path, open_engine: Opened) -> Engine:
    declare(data_folder)
    if request.param == "duckdb-row":
        return open_engine()
    settings = data_folder / "system" / "tenancy" / "engine.yaml"
    chosen = "row_level: {backend: ephemeral-dict, ephemeral: true}"
    settings.write_text(settings.read_text().replace("row_level: duckdb-row", chosen))
    return open_engine(plugins=[example_plugin()])


durable = pytest.mark.parametrize("engine", ["duckdb-row"], indirect=True)


def projects(*numbers: int) -> list[dict[str, str]]:
    return [{"id": f"p{number}", "name": f"Project {number}"} for number in numbers]


def stands(engine: Engine, tenant: Tenant) -> tuple[int, int]:
    """What is counted and what is held, once that rows and counters agree is sure."""
    assert engine.usage.verify() == []
    status = engine.quotas.check(tenant.id).projects
    assert status.current == engine.query(tenant.id).count("projects")
    return status.current, status.reserved


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


def test_a_row_whose_count_failed_is_there_and_counted_by_the_next_writer(
    engine: Engine, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = engine.query(acme.id)
    query.insert_many("projects", projects(1, 2))
    with monkeypatch.context() as broken:
        broken.setattr(engine.isolation.recounting._rows, "settle", unwritten)
        query.insert_many("projects", projects(3))
        status = engine.quotas.check(acme.id).projects
        assert (status.current, status.reserved) == (2, 1)
    query.delete("projects", "p1")
    assert stands(engine, acme) == (2, 0)


def unwritten(*_: object) -> None:
    raise LedgerError("the ledger failed; nothing was written")


@durable
@pytest.mark.parametrize("written", [True, False])
def test_a_commit_whose_outcome_nobody_knows_is_counted_by_the_next_writer(
    engine: Engine, acme: Tenant, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    query = engine.query(acme.id)
    query.insert_many("projects", projects(1))
    backend = engine._stores.backend("duckdb-row")
    session_of = backend.session

    def lying(placement: Any) -> Any:
        session = session_of(placement)
        commit = session.commit

        def fail() -> None:
            if written:
                commit()
            raise OSError("the line went dead")

        session.commit = fail  # type: ignore[method-assign]
        return session

    with monkeypatch.context() as broken:
        broken.setattr(backend, "session", lying)
        with pytest.raises(BackendError):
            query.insert_many("projects", projects(2, 3))
    assert engine.quotas.check(acme.id).projects.reserved == 2
    query.insert_many("projects", projects(4))
    assert stands(engine, acme) == (4 if written else 2, 0)


def test_rows_of_before_are_counted_when_a_table_declares_a_quota(
    data_folder: Path, open_engine: Opened, clock: Any
) -> None:
    with open_engine() as before:
        acme = before.tenants.get_by_slug("acme")
        before.query(acme.id).insert_many("projects", projects(1, 2, 3))
        assert before.quotas.check(acme.id).projects.current == 0
    declare(data_folder)
    with open_engine() as engine:
        engine.isolation.recounting.go_on()
        assert stands(engine, acme) == (3, 0)
        with pytest.raises(QuotaExceeded):
            engine.query(acme.id).insert_many("projects", projects(4, 5))
    undeclare(data_folder)
    with open_engine() as after:
        assert after.quotas.check(acme.id).projects.current == 0
        assert after.usage.verify() == []


def test_the_first_writer_under_a_new_quota_counts_what_was_there(data_folder: Path, open_engine: Opened) -> None:
    with open_engine() as before:
        acme = before.tenants.get_by_slug("acme")
        before.query(acme.id).insert_many("projects", projects(1, 2, 3, 4, 5))
    declare(data_folder)
    with open_engine() as engine:
        with pytest.raises(QuotaExceeded) as caught:
            engine.query(acme.id).insert_many("projects", projects(6))
        assert caught.value.current == 5
        engine.query(acme.id).delete("projects", "p1")
        assert stands(engine, acme) == (4, 0)


def test_a_store_that_forgets_its_rows_leaves_no_phantom(data_folder: Path, open_engine: Opened) -> None:
    declare(data_folder)
    settings = data_folder / "system" / "tenancy" / "engine.yaml"
    chosen = "row_level: {backend: ephemeral-dict, ephemeral: true}"
    settings.write_text(settings.read_text().replace("row_level: duckdb-row", chosen))
    with open_engine(plugins=[example_plugin()]) as before:
        acme = before.tenants.get_by_slug("acme")
        before.query(acme.id).insert_many("projects", projects(1, 2, 3))
        assert stands(before, acme) == (3, 0)
    with open_engine(plugins=[example_plugin()]) as after:
        assert stands(after, acme) == (0, 0)


@durable
def test_a_restored_tenant_has_what_it_had_and_a_purged_one_leaves_nothing(engine: Engine, acme: Tenant) -> None:
    query = engine.query(acme.id)
    query.insert_many("projects", projects(1, 2))
    engine.tenants.delete(acme.id)
    engine.tenants.restore(acme.id)
    assert stands(engine, acme) == (2, 0)
    engine.tenants.delete(acme.id)
    engine.tenants.purge(acme.id, before_due=True)
    assert engine._ledger.read(lambda tx: tx.row_tallies()) == []
    engine.isolation.recounting._rows.recounted(TenantId(acme.id), {"projects": 2})
    assert engine._ledger.read(lambda tx: tx.tenants_with_usage()) == []


def test_with_an_interval_a_tally_is_open_on_disk_before_a_row_is_written(
    data_folder: Path, open_engine: Opened
) -> None:
    declare(data_folder)
    settings = data_folder / "system" / "tenancy" / "engine.yaml"
    settings.write_text(settings.read_text().replace("durability: commit", "durability: interval"))
    with open_engine() as engine:
        ledger = engine._ledger
        assert isinstance(ledger, SqliteLedger)
        assert ledger._writer is not None
        assert ledger._syncing is not None
        query = engine.query(engine.tenants.get_by_slug("acme").id)
        with query.transaction():
            before = ledger._writer.committed()
            query.insert_many("projects", projects(1))
            assert ledger._syncing.synced > before


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
