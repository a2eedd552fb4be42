"""The awaitable twin: the same names, cancellable, and never two threads on one transaction."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest

from partywall import BackendError, ConstraintViolation, Engine, QueryError, TenantSuspended, current_tenant
from partywall.isolation import ScopedQuery
from partywall.model import Tenant


def test_each_method_takes_what_its_twin_takes(engine: Engine) -> None:
    rooms = ("tenants", "quotas", "usage", "isolation", "agents", "audit")
    for room in rooms:
        sync, twin = getattr(engine, room), getattr(engine.aio, room)
        names = [name for name, _ in inspect.getmembers(type(twin), inspect.iscoroutinefunction)]
        assert names
        for name in names:
            original = getattr(sync, f"{name}_async", None) or getattr(sync, name)
            assert inspect.signature(getattr(twin, name)) == inspect.signature(original), (room, name)


@contextmanager
def transaction_held(query: ScopedQuery) -> Iterator[threading.Event]:
    """A transaction that another thread keeps open until the event is set, or the block ends."""
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with query.transaction():
            held.set()
            assert release.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(10)
        yield release
    finally:
        release.set()
        thread.join()


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(work(), 30)

    asyncio.run(bounded())


def test_rows_are_reached_by_the_same_names(engine: Engine, acme: Tenant, beta: Tenant) -> None:
    async def work() -> None:
        query = await engine.aio.query(acme.id)
        row = await query.insert("projects", {"name": "x"})
        assert await query.get("projects", row["id"]) == row
        assert await query.update("projects", row["id"], {"name": "y"}) == 1
        assert await query.select("projects", {"name": "y"}, order_by="-name", limit=5)
        assert await (await engine.aio.query(beta.id)).count("projects") == 0
        assert await query.delete("projects", row["id"]) == 1

    run(work)


def test_the_tenant_context_follows_into_the_worker(engine: Engine, acme: Tenant, beta: Tenant) -> None:
    async def one(tenant: Tenant) -> str:
        with engine.tenant_context(tenant.id):
            query = await engine.aio.query()
            await query.insert("projects", {"name": tenant.slug})
            await asyncio.sleep(0)
            context = current_tenant()
            assert context is not None
            assert context.tenant_id == tenant.id
            return ",".join(row["name"] for row in await query.select("projects"))

    async def work() -> None:
        assert await asyncio.gather(one(acme), one(beta)) == ["acme", "beta-labs"]
        assert current_tenant() is None

    run(work)


def test_a_transaction_commits_or_rolls_back_as_one(engine: Engine, acme: Tenant) -> None:
    async def work() -> None:
        query = await engine.aio.query(acme.id)
        async with query.transaction() as same:
            assert same is query
            project = await query.insert("projects", {"name": "x"})
            await asyncio.gather(
                *(query.insert("tasks", {"project_id": project["id"], "title": str(n)}) for n in range(5))
            )
        assert await query.count("tasks") == 5

        async def colliding() -> None:
            async with query.transaction():
                await query.insert("projects", {"name": "y"})
                await query.insert("projects", {"name": "x"})

        with pytest.raises(ConstraintViolation):
            await colliding()
        assert await query.count("projects") == 1

    run(work)


def test_a_cancelled_await_rolls_its_transaction_back_and_frees_the_writer(engine: Engine, acme: Tenant) -> None:
    async def work() -> None:
        query = await engine.aio.query(acme.id)
        inside = asyncio.Event()

        async def cancelled() -> None:
            async with query.transaction():
                await query.insert("projects", {"name": "never"})
                inside.set()
                await asyncio.sleep(60)

        task = asyncio.create_task(cancelled())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await query.count("projects") == 0
        await query.insert("projects", {"name": "after"})

    run(work)


def test_a_cancelled_wait_for_the_writers_turn_leaves_no_lock_behind(engine: Engine, acme: Tenant) -> None:
    async def work() -> None:
        query = await engine.aio.query(acme.id)

        async def waiting() -> None:
            async with query.transaction():
                await query.insert("projects", {"name": "never"})

        task = asyncio.create_task(waiting())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        release.set()
        await query.insert("projects", {"name": "after"})
        assert await query.count("projects") == 1

    with transaction_held(engine.query(acme.id)) as release:
        run(work)


def test_agents_run_on_the_callers_loop_and_stop_with_the_tenant(engine: Engine, acme: Tenant) -> None:
    async def work() -> None:
        loops: list[asyncio.AbstractEventLoop] = []

        async def agent() -> None:
            loops.append(asyncio.get_running_loop())
            await asyncio.sleep(60)

        spawned = await engine.aio.agents.spawn(acme.id, agent())
        await asyncio.sleep(0)
        suspension = await engine.aio.tenants.suspend(acme.id, reason="unpaid")
        assert suspension.stopped == (spawned.id,)
        assert loops == [asyncio.get_running_loop()]
        with pytest.raises(TenantSuspended):
            await engine.aio.query(acme.id)

    run(work)


def test_statements_of_one_transaction_may_be_gathered_however_long_they_take(engine: Engine, acme: Tenant) -> None:
    async def work() -> None:
        query = await engine.aio.query(acme.id)

        async def one(number: int) -> int:
            await asyncio.sleep(number / 50)
            return len(await query.insert_many("projects", [{"name": f"{number}-{n}"} for n in range(3_000)]))

        async with query.transaction():
            assert await asyncio.gather(*map(one, range(4))) == [3_000] * 4
        assert await query.count("projects") == 12_000

    run(work)


def test_a_statement_that_is_cancelled_spoils_its_transaction_even_if_nobody_passes_it_on(
    engine: Engine, acme: Tenant
) -> None:
    async def work() -> None:
        query = await engine.aio.query(acme.id)

        async def swallowing() -> None:
            async with query.transaction():
                await query.insert("projects", {"name": "x"})
                task = asyncio.create_task(query.insert_many("projects", [{"name": str(n)} for n in range(20_000)]))
                await asyncio.sleep(0.05)
                task.cancel()
                await asyncio.wait([task])
                assert task.cancelled()

        with pytest.raises(BackendError):
            await swallowing()
        assert await query.count("projects") == 0

    run(work)


def test_f4_what_was_begun_within_a_transaction_goes_on_after_it(engine: Engine, acme: Tenant) -> None:
    async def work() -> None:
        query, ended = await engine.aio.query(acme.id), asyncio.Event()
        sync = engine.query(acme.id)

        async def later() -> tuple[int, int]:
            await ended.wait()
            return await query.count("projects"), sync.count("projects")

        async with query.transaction():
            await query.insert("projects", {"name": "x"})
            task = asyncio.create_task(later())
        with sync.transaction():
            other = asyncio.create_task(later())
        ended.set()
        assert await task == await other == (1, 1)

        async def rows() -> AsyncIterator[int]:
            async with query.transaction():
                await query.insert("projects", {"name": "never"})
                yield 1
                yield 2

        opened = rows()
        assert await anext(opened) == 1
        await asyncio.create_task(opened.aclose())  # type: ignore[arg-type]  # a coroutine, whatever its type says
        assert await query.count("projects") == 1

    run(work)


def test_transactions_do_not_nest_and_say_so_at_once(engine: Engine, acme: Tenant) -> None:
    async def work() -> None:
        query = await engine.aio.query(acme.id)
        with pytest.raises(QueryError, match="nest"):
            async with query.transaction(), query.transaction():
                pass

    run(work)


def test_a_closed_engine_says_so_to_those_who_await_too(engine: Engine, acme: Tenant) -> None:
    async def work() -> None:
        query = await engine.aio.query(acme.id)
        await asyncio.to_thread(engine.close)
        for call in (query.count("projects"), engine.aio.usage.totals(acme.id), engine.aio.query(acme.id)):
            with pytest.raises(BackendError, match="closed"):
                await call

    run(work)


def test_one_tenants_waiting_writers_keep_no_other_tenant_from_its_rows(
    engine: Engine, acme: Tenant, beta: Tenant
) -> None:
    engine.query(beta.id).insert("projects", {"name": "beta's"})

    async def work() -> None:
        mine, theirs = await engine.aio.query(acme.id), await engine.aio.query(beta.id)

        async def transaction(name: str) -> None:
            async with mine.transaction():
                await mine.insert("projects", {"name": name})

        waiting = [asyncio.create_task(mine.insert("projects", {"name": f"s{n}"})) for n in range(40)]
        waiting += [asyncio.create_task(transaction(f"t{n}")) for n in range(40)]
        await asyncio.sleep(0.05)
        assert await asyncio.wait_for(theirs.count("projects"), 3) == 1
        assert not any(task.done() for task in waiting)
        assert threading.active_count() < len(waiting) // 2
        release.set()
        await asyncio.gather(*waiting)
        assert await mine.count("projects") == 80

    with transaction_held(engine.query(acme.id)) as release:
        run(work)
