"""A move takes every row to the new place, is never half, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from partywall import BackendError, Engine, InvalidArgument, PartywallError, TenantConflict, TenantSuspended
from partywall.backend import Insert
from partywall.isolation import CancelToken, Move, copying, moving
from partywall.isolation import scope as scopes
from partywall.isolation.scope import Retired
from partywall.model import Strategy, Tenant

RING = [("row_level", "schema_level"), ("schema_level", "database_level"), ("database_level", "row_level")]
Opened = tuple[Engine, Tenant, str]


@pytest.fixture(params=RING, ids=[f"{here}-to-{there}" for here, there in RING])
def opened(request: pytest.FixtureRequest, open_engine: Callable[..., Engine]) -> Opened:
    """An engine, a tenant with rows under one strategy, and the strategy to move it to."""
    here, there = request.param
    return *tenant_with_rows(open_engine(), here), there


@pytest.fixture
def one(open_engine: Callable[..., Engine]) -> Opened:
    """The same for what does not depend on the stores."""
    return *tenant_with_rows(open_engine(), "row_level"), "schema_level"


def tenant_with_rows(engine: Engine, strategy: str, token: str = "token") -> tuple[Engine, Tenant]:
    """Beta Labs, placed under the strategy, with rows of every type and a neighbour with others."""
    beta = engine.tenants.get_by_slug("beta-labs")
    engine.catalog.edit_tenant(beta.id, {"isolation": strategy})
    query = engine.query(beta.id)
    for number in range(3):
        query.insert("projects", {"id": f"p{number}", "name": f"{token}{number}", "budget": 0.1, "metadata": [token]})
    query.insert_many("tasks", [{"project_id": "p0", "title": token, "due": date(2026, 1, 2)} for _ in range(30)])
    query.insert("documents", {"title": "\U0001f600", "content": token.encode(), "created_at": None})
    query.insert("documents", {"title": token, "created_at": datetime(2026, 1, 1, tzinfo=UTC), "tags": {"a": [1.5]}})
    engine.query(engine.tenants.get_by_slug("corner-shop").id).insert("projects", {"name": "neighbour"})
    return engine, beta


def rows_of(engine: Engine, tenant: Tenant) -> dict[str, Any]:
    query = engine.query(tenant.id)
    return {str(table): query.select(table, order_by="id") for table in engine.catalog.tables}


def actions(engine: Engine, tenant: Tenant) -> list[str]:
    return [record.action for record in engine.audit.records(tenant.id, limit=1000)]


def place(engine: Engine, tenant: Tenant) -> str:
    placement = engine.isolation.placement(tenant.id)
    assert placement is not None
    return str(placement.strategy)


def test_a_move_takes_every_row_and_held_handles_follow(opened: Opened) -> None:
    engine, beta, there = opened
    held = engine.query(beta.id)
    page = held.page("tasks", order_by="id", limit=10)
    before = rows_of(engine, beta)
    old_scope = engine.isolation._scope(beta.id)
    moved = engine.isolation.move(beta.id, to=there)
    assert moved == Move(beta.id, moved.source, moved.target, rows=35, destroyed=True)
    assert place(engine, beta) == there
    assert rows_of(engine, beta) == before
    rest = held.page("tasks", order_by="id", limit=30, cursor=page.cursor)
    assert page.rows + rest.rows == before["tasks"]
    held.update("projects", "p0", {"name": "after"})
    assert held.get("projects", "p0") == {**before["projects"][0], "name": "after"}
    with pytest.raises(Retired), old_scope.unit(writes=False, transactional=False, timeout=1):
        pass
    assert actions(engine, beta)[-3:] == ["tenant.moved", "tenant.changed", "tenant.place_destroyed"]
    assert engine.isolation.pending_moves() == []
    assert engine.tenants.get(beta.id).isolation == there
    assert engine.query(engine.tenants.get_by_slug("corner-shop").id).count("projects") == 1


def test_g11_after_a_move_no_byte_is_left_in_the_old_place(
    opened: Opened, open_engine: Callable[..., Engine], data_folder: Path
) -> None:
    engine, beta, there = opened
    token = secrets.token_hex(16)
    engine.query(beta.id).insert("documents", {"title": token, "content": token.encode()})
    source = engine.isolation.move(beta.id, to=there).source
    folders = [path for path in (data_folder / "var").rglob(source.backend) if path.is_dir()]
    assert folders
    assert [path for folder in folders for path in holding(folder, token)] == []
    assert holding(data_folder / "var", token)
    engine.close()
    again = open_engine()
    assert again.query(beta.id).count("documents", {"title": token}) == 1
    assert again.isolation.move(beta.id, to=there).rows == 0


def holding(folder: Path, token: str) -> list[str]:
    """The files below the folder that hold the token, read by another process: reading them here would drop locks."""
    found = subprocess.run(["grep", "-rlaF", token, str(folder)], capture_output=True, text=True, check=False)
    return found.stdout.splitlines()


def test_g5_a_move_waits_for_an_open_transaction(opened: Opened) -> None:
    engine, beta, there = opened
    handle = engine.query(beta.id)
    inside, go_on = threading.Event(), threading.Event()

    def work() -> None:
        with handle.transaction():
            handle.insert("projects", {"name": "last"})
            inside.set()
            assert go_on.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(10)
    moved: list[Move] = []
    mover = threading.Thread(target=lambda: moved.append(engine.isolation.move(beta.id, to=there)))
    mover.start()
    assert moved == []
    go_on.set()
    thread.join()
    mover.join()
    assert moved[0].rows == 36
    assert handle.count("projects", {"name": "last"}) == 1


def test_g5_a_move_that_waits_too_long_changes_nothing(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, beta, there = opened
    here = place(engine, beta)
    handle = engine.query(beta.id)
    monkeypatch.setattr(moving, "_PATIENCE", 0.01)
    refused: list[BaseException] = []

    def move() -> None:
        try:
            engine.isolation.move(beta.id, to=there)
        except PartywallError as error:
            refused.append(error)

    with handle.transaction():
        handle.insert("projects", {"name": "last"})
        move()  # this thread's own transaction would never end
        other = threading.Thread(target=move)
        other.start()
        other.join()
        handle.insert("projects", {"name": "very last"})
    assert [type(error) for error in refused] == [TenantConflict, TenantConflict]
    assert place(engine, beta) == here
    assert handle.count("projects") == 5
    assert "tenant.moved" not in actions(engine, beta)
    assert engine.tenants.get(beta.id).isolation == here


def during_copy(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> list[object]:
    """Does something once a page was read and before anything of it is written; returns what came of it."""
    outcome: list[object] = []

    def insert(*arguments: Any) -> Insert:
        if not outcome:
            outcome.append("begun")
            try:
                outcome.append(work())
            except PartywallError as error:
                outcome.append(type(error))
        return Insert(*arguments)

    monkeypatch.setattr(copying, "Insert", insert)
    return outcome


def test_reads_go_on_during_the_copy_and_writes_wait(one: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, beta, there = one
    handle = engine.query(beta.id)
    written = threading.Event()

    def write() -> None:
        handle.insert("projects", {"name": "meanwhile"})
        written.set()

    writer = threading.Thread(target=write)

    def work() -> tuple[int, bool]:
        writer.start()
        return handle.count("projects"), written.wait(0.2)

    outcome = during_copy(monkeypatch, work)
    moved = engine.isolation.move(beta.id, to=there)
    writer.join()
    assert outcome == ["begun", (3, False)]
    assert moved.rows == 35
    assert handle.count("projects") == 4


def test_a_long_statement_holds_up_the_move_and_not_the_others(one: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, beta, there = one
    monkeypatch.setattr(scopes, "_HOLD", 0.01)
    handle = engine.query(beta.id)
    moved: list[Move] = []
    copied = during_copy(monkeypatch, lambda: None)
    with engine.isolation._scope(beta.id).unit(writes=False, transactional=False, timeout=1) as long:
        mover = threading.Thread(target=lambda: moved.append(engine.isolation.move(beta.id, to=there)))
        mover.start()
        while engine.isolation._scope(beta.id)._held is False:
            assert handle.count("projects") == 3
        assert [handle.count("projects") for _ in range(20)] == [3] * 20
        assert (copied, moved, long.over) == (["begun", None], [], False)
    mover.join()
    assert moved[0].rows == 35
    assert handle.count("projects") == 3


def test_async_writers_wait_for_a_move_and_follow_it(one: Opened) -> None:
    engine, beta, there = one

    async def main() -> int:
        query = await engine.aio.query(beta.id)
        move = asyncio.create_task(engine.aio.isolation.move(beta.id, to=there))
        await asyncio.gather(*(query.insert("projects", {"name": f"async {number}"}) for number in range(5)))
        assert (await move).destroyed
        return await query.count("projects")

    assert asyncio.run(main()) == 8
    assert place(engine, beta) == there


def test_a_move_whose_await_is_cancelled_changes_nothing(one: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, beta, there = one
    cancelled = threading.Event()
    cancel = CancelToken.cancel
    monkeypatch.setattr(CancelToken, "cancel", lambda token: (cancel(token), cancelled.set()))

    async def main() -> None:
        move = asyncio.create_task(engine.aio.isolation.move(beta.id, to=there))
        loop = asyncio.get_running_loop()
        during_copy(monkeypatch, lambda: (loop.call_soon_threadsafe(move.cancel), cancelled.wait(10)))
        with pytest.raises(asyncio.CancelledError):
            await move

    asyncio.run(main())
    assert cancelled.is_set()
    assert place(engine, beta) == "row_level"
    assert engine.query(beta.id).count("projects") == 3
    assert engine.isolation.move(beta.id, to=there).rows == 35


def test_a_suspension_during_the_copy_is_in_force_at_once(one: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, beta, there = one
    handle = engine.query(beta.id)

    def work() -> int:
        engine.tenants.suspend(beta.id, reason="unpaid")
        return handle.count("projects")

    outcome = during_copy(monkeypatch, work)
    assert engine.isolation.move(beta.id, to=there).destroyed
    assert outcome == ["begun", TenantSuspended]
    with pytest.raises(TenantSuspended):
        handle.count("projects")
    engine.tenants.resume(beta.id)
    assert handle.count("projects") == 3


def test_g7_a_tenant_that_is_being_moved_is_neither_moved_again_nor_purged(
    one: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, beta, there = one
    refusals: list[type] = []

    def refused(attempt: Callable[[], object]) -> None:
        with pytest.raises(TenantConflict) as error:
            attempt()
        refusals.append(error.type)

    def work() -> None:
        refused(lambda: engine.isolation.move(beta.id, to=there))
        engine.tenants.delete(beta.id)
        refused(lambda: engine.tenants.purge(beta.id, before_due=True))

    during_copy(monkeypatch, work)
    engine.isolation.move(beta.id, to=there)
    assert len(refusals) == 2
    with pytest.raises(TenantConflict):
        engine.isolation.move(beta.id, to="row_level", region="us")
    engine.tenants.restore(beta.id)
    assert engine.query(beta.id).count("projects") == 3


def test_a_copy_that_is_not_equal_is_thrown_away(one: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, beta, there = one
    before = rows_of(engine, beta)

    def forged(table: Any, rows: Any) -> Insert:
        return Insert(table, [{**rows[0], "created_at": None}, *rows[1:]])

    with monkeypatch.context() as patched:
        patched.setattr(copying, "Insert", forged)
        with pytest.raises(BackendError, match="not equal"):
            engine.isolation.move(beta.id, to=there)
    assert place(engine, beta) != there
    assert rows_of(engine, beta) == before
    assert engine.isolation.move(beta.id, to=there).rows == 35
    assert rows_of(engine, beta) == before


def test_an_old_place_that_cannot_be_destroyed_yet_is_destroyed_later(
    one: Opened, monkeypatch: pytest.MonkeyPatch, data_folder: Path
) -> None:
    engine, beta, there = one
    source = engine.isolation.placement(beta.id)
    assert source is not None
    backend = engine._stores.backend(source.backend)
    token = secrets.token_hex(16)
    engine.query(beta.id).insert("documents", {"title": token})

    def busy(_placement: object) -> None:
        raise BackendError("busy")

    with monkeypatch.context() as patched:
        patched.setattr(backend, "drop", busy)
        moved = engine.isolation.move(beta.id, to=there)
        assert not moved.destroyed
        assert place(engine, beta) == there
        engine.isolation.finish_moves()
    engine.query(beta.id).insert("projects", {"name": "in the new place"})
    engine.isolation.finish_moves()
    assert actions(engine, beta)[-1] == "tenant.place_destroyed"
    assert engine.query(beta.id).count("projects") == 4
    folders = [path for path in (data_folder / "var").rglob(source.backend) if path.is_dir()]
    assert [path for folder in folders for path in holding(folder, token)] == []


def test_a_move_that_is_told_nothing_goes_where_the_file_wishes(open_engine: Callable[..., Engine]) -> None:
    engine, beta = tenant_with_rows(open_engine(), "row_level")
    engine.catalog.edit_tenant(beta.id, {"isolation": "schema_level", "settings.dataResidency": "us"})
    (pending,) = engine.isolation.pending_moves()
    assert (pending.wanted_strategy, pending.wanted_region) == (Strategy.SCHEMA, "us")
    moved = engine.isolation.move(beta.id)
    assert (moved.target.strategy, moved.target.region) == (Strategy.SCHEMA, "us")
    assert engine.isolation.pending_moves() == []
    assert engine.isolation.move(beta.id).rows == 0
    with pytest.raises(InvalidArgument):
        engine.isolation.move(beta.id, to="somewhere")
    with pytest.raises(BackendError):
        engine.isolation.move(beta.id, region="mars")
    assert place(engine, beta) == "schema_level"


def test_naming_a_strategy_leaves_the_files_wish_for_a_region_pending(open_engine: Callable[..., Engine]) -> None:
    engine, beta = tenant_with_rows(open_engine(), "row_level")
    engine.catalog.edit_tenant(beta.id, {"settings.dataResidency": "us"})
    assert engine.isolation.move(beta.id, to="schema_level").target.region is None
    (pending,) = engine.isolation.pending_moves()
    assert (pending.wanted_strategy, pending.wanted_region) == (Strategy.SCHEMA, "us")
