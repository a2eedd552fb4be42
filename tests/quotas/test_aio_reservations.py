"""Reservations in async code: nothing blocks the loop, and no cancellation leaves a hold behind."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from partywall import Engine, TenantConflict
from partywall.model import Tenant

HELD = 1000


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(work(), 30)

    asyncio.run(bounded())


def tokens(engine: Engine, tenant: Tenant) -> tuple[int, int]:
    status = engine.quotas.check(tenant.id).tokens
    return status.current, status.reserved


def test_the_twin_takes_what_the_original_takes(engine: Engine) -> None:
    twin, original = inspect.signature(engine.aio.quotas.reserve), inspect.signature(engine.quotas.reserve)
    assert twin.parameters == original.parameters


def test_a_handle_is_awaited_or_entered_at_once(engine: Engine, acme: Tenant) -> None:
    async def work() -> None:
        async with engine.aio.quotas.reserve(acme.id, tokens=HELD) as held:
            assert (held.tenant_id, held.amounts) == (acme.id, {"tokens": HELD})
            settlement = await held.commit(tokens=900)
            assert settlement.given_back == {"tokens": 100}
        awaited = await engine.aio.quotas.reserve(acme.id, tokens=HELD, lease=10)
        await awaited.extend(60)
        async with awaited:
            assert tokens(engine, acme) == (900, HELD)
        assert tokens(engine, acme) == (900, 0)
        with pytest.raises(TenantConflict):
            await awaited.commit()
        async with await engine.aio.quotas.reserve(acme.id, tokens=HELD) as both:
            await both.release()

    run(work)
    assert tokens(engine, acme) == (900, 0)


def test_nothing_is_reserved_before_it_is_awaited(engine: Engine, acme: Tenant) -> None:
    async def work() -> None:
        engine.aio.quotas.reserve(acme.id, tokens=HELD)

    run(work)
    assert tokens(engine, acme) == (0, 0)


def block_the_ledger(engine: Engine) -> tuple[threading.Event, threading.Event]:
    """The ledger's writer is busy from the first event until the second is set."""
    busy, free = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        busy.set()
        assert free.wait(20)

    threading.Thread(target=engine._ledger.write, args=(hold,)).start()
    assert busy.wait(10)
    return busy, free


def test_the_loop_goes_on_while_a_commit_waits_for_the_ledger(engine: Engine, acme: Tenant) -> None:
    async def work() -> None:
        async with engine.aio.quotas.reserve(acme.id, tokens=HELD) as held:
            _, free = block_the_ledger(engine)
            commit = asyncio.create_task(held.commit(tokens=7))
            for _ in range(20):
                await asyncio.sleep(0)
            assert not commit.done()
            free.set()
            await commit

    run(work)
    assert tokens(engine, acme) == (7, 0)


def test_l14_a_reservation_made_for_a_cancelled_await_is_given_back(engine: Engine, acme: Tenant) -> None:
    async def work() -> None:
        _, free = block_the_ledger(engine)

        async def reserving() -> None:
            await engine.aio.quotas.reserve(acme.id, tokens=HELD)

        task = asyncio.create_task(reserving())
        while not engine._ledger._writer._queue.qsize():  # type: ignore[attr-defined]
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.sleep(0)
        free.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(work)
    assert tokens(engine, acme) == (0, 0)


def test_l14_a_cancelled_commit_is_done_and_its_block_gives_nothing_back(engine: Engine, acme: Tenant) -> None:
    async def work() -> None:
        async def committing(free_again: list[threading.Event]) -> None:
            async with engine.aio.quotas.reserve(acme.id, tokens=HELD) as held:
                free_again.append(block_the_ledger(engine)[1])
                await held.commit(tokens=7)

        free_again: list[threading.Event] = []
        task = asyncio.create_task(committing(free_again))
        while not free_again or not engine._ledger._writer._queue.qsize():  # type: ignore[attr-defined]
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.sleep(0)
        free_again[0].set()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(work)
    assert tokens(engine, acme) == (7, 0)


def test_l14_an_aborted_async_stream_releases_what_it_held(engine: Engine, acme: Tenant) -> None:
    async def stream() -> AsyncIterator[str]:
        async with engine.aio.quotas.reserve(acme.id, tokens=HELD) as held:
            yield "a"
            await held.commit(tokens=1)

    async def work() -> None:
        aborted = stream()
        assert await anext(aborted) == "a"
        assert tokens(engine, acme) == (0, HELD)
        await aborted.aclose()  # type: ignore[attr-defined]
        assert tokens(engine, acme) == (0, 0)

        async def serving() -> None:
            async with engine.aio.quotas.reserve(acme.id, tokens=HELD):
                served.set()
                await asyncio.sleep(60)

        served = asyncio.Event()
        task = asyncio.create_task(serving())
        await served.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(work)
    assert tokens(engine, acme) == (0, 0)
