"""Holds: places of a concurrency quota that die with their process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from partywall import Engine, InvalidArgument, QuotaExceeded, TenantConflict, TenantSuspended
from partywall.clock import ManualClock
from partywall.model import Tenant

LIMIT = 5


@pytest.fixture
def engine(data_folder: Path, open_engine: Callable[..., Engine]) -> Engine:
    label = data_folder / "system" / "tenancy" / "tenants" / "acme.yaml"
    label.write_text(f"{label.read_text()}quotas: {{maxConcurrentAgents: {LIMIT}}}\n")
    return open_engine()


def held(engine: Engine, tenant: Tenant) -> int:
    return engine.quotas.check(tenant.id).agents.current


def test_a_hold_counts_as_agents_that_run_until_its_block_ends(engine: Engine, acme: Tenant, beta: Tenant) -> None:
    with engine.quotas.hold(acme.id, agents=2) as hold:
        assert (hold.tenant_id, hold.amounts) == (acme.id, {"agents": 2})
        assert held(engine, acme) == engine.usage.totals(acme.id)["agents"] == 2
        assert held(engine, beta) == 0
        hold.release()
        assert held(engine, acme) == 0
    assert held(engine, acme) == 0

    def fail() -> None:
        with engine.quotas.hold(acme.id, agents=LIMIT):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert held(engine, acme) == 0


def test_l1_of_many_racers_exactly_as_many_hold_as_there_is_room(engine: Engine, acme: Tenant) -> None:
    def race(_: int) -> bool:
        try:
            engine.quotas.hold(acme.id, agents=1)
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(race, range(64))) == LIMIT
    assert held(engine, acme) == LIMIT


def test_holds_and_agents_share_one_quota(engine: Engine, acme: Tenant) -> None:
    async def work() -> None:
        forever = asyncio.Event()
        for _ in range(3):
            engine.agents.spawn(acme.id, forever.wait())
        with engine.quotas.hold(acme.id, agents=2), pytest.raises(QuotaExceeded):
            engine.agents.spawn(acme.id, forever.wait())
        with pytest.raises(QuotaExceeded, match="no room for 3 more: 3 of 5") as caught:
            engine.quotas.hold(acme.id, agents=3)
        assert (caught.value.quota, caught.value.current, caught.value.limit) == ("agents", 3, LIMIT)
        forever.set()

    asyncio.run(asyncio.wait_for(work(), 30))


def test_who_waits_for_places_gets_them_first_come_first_served(engine: Engine, acme: Tenant) -> None:
    first = engine.quotas.hold(acme.id, agents=LIMIT)
    got: list[int] = []

    def wait_for(amount: int) -> None:
        engine.quotas.hold(acme.id, wait=30, agents=amount)
        got.append(amount)

    threads = [threading.Thread(target=wait_for, args=(amount,)) for amount in (4, 1)]
    for queued, thread in enumerate(threads, 1):
        thread.start()
        while engine.quotas.places.queued(acme.id) < queued:
            assert thread.is_alive()
    with pytest.raises(QuotaExceeded):
        engine.quotas.hold(acme.id, wait=0.001, agents=1)
    first.release()
    for thread in threads:
        thread.join(30)
    assert sorted(got) == [1, 4]
    assert held(engine, acme) == LIMIT


def test_who_gives_up_waiting_lets_those_behind_through(engine: Engine, acme: Tenant) -> None:
    async def work() -> None:
        with engine.quotas.hold(acme.id, agents=3):
            large = asyncio.create_task(engine.quotas.hold_async(acme.id, wait=60, agents=4))
            await asyncio.sleep(0)
            small = asyncio.create_task(engine.quotas.hold_async(acme.id, wait=60, agents=2))
            await asyncio.sleep(0)
            assert not small.done()
            large.cancel()
            await small
        assert held(engine, acme) == 2

    asyncio.run(asyncio.wait_for(work(), 30))


def test_a_lease_ends_a_hold_that_nobody_extends(engine: Engine, acme: Tenant, clock: ManualClock) -> None:
    hold = engine.quotas.hold(acme.id, lease=10, agents=LIMIT)
    clock.advance(9)
    hold.extend(10)
    clock.advance(9)
    with pytest.raises(QuotaExceeded):
        engine.quotas.hold(acme.id, agents=1)
    clock.advance(1)
    assert held(engine, acme) == 0
    with pytest.raises(TenantConflict):
        hold.extend(10)
    engine.quotas.hold(acme.id, agents=LIMIT)
    hold.release()
    assert held(engine, acme) == LIMIT


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_l9_a_stepped_wall_clock_ends_no_hold(engine: Engine, acme: Tenant, clock: ManualClock, step: float) -> None:
    engine.quotas.hold(acme.id, lease=60, agents=1)
    clock.step_wall(step)
    clock.advance(59)
    assert held(engine, acme) == 1
    clock.advance(1)
    assert held(engine, acme) == 0


def test_l16_a_suspended_tenant_holds_nothing_new(engine: Engine, acme: Tenant) -> None:
    hold = engine.quotas.hold(acme.id, agents=LIMIT)
    refused: list[BaseException] = []

    def wait_for_a_place() -> None:
        try:
            engine.quotas.hold(acme.id, wait=30, agents=1)
        except TenantSuspended as error:
            refused.append(error)

    waiting = threading.Thread(target=wait_for_a_place)
    waiting.start()
    while not engine.quotas.places.waiting():
        assert waiting.is_alive()
    engine.tenants.suspend(acme.id, reason="unpaid")
    waiting.join(30)
    assert len(refused) == 1
    for attempt in (lambda: engine.quotas.hold(acme.id, agents=1), lambda: hold.extend(10)):
        with pytest.raises(TenantSuspended):
            attempt()
    hold.release()
    engine.tenants.resume(acme.id)
    assert held(engine, acme) == 0


def test_l13_a_tenant_whose_places_are_taken_delays_no_other(engine: Engine, acme: Tenant, beta: Tenant) -> None:
    engine.quotas.hold(acme.id, agents=LIMIT)
    for _ in range(100):
        with pytest.raises(QuotaExceeded):
            engine.quotas.hold(acme.id, agents=1)
    engine.quotas.hold(beta.id, agents=1).release()
    assert held(engine, beta) == 0


@pytest.mark.parametrize("amounts", [{}, {"tokens": 1}, {"agents": 1, "tokens": 1}])
def test_only_what_runs_is_held(engine: Engine, acme: Tenant, amounts: dict[str, int]) -> None:
    with pytest.raises(InvalidArgument, match="reserve"):
        engine.quotas.hold(acme.id, **amounts)


@pytest.mark.parametrize("amount", [0, -1, 1.0, True, float("nan"), 2**63, "1"])
def test_l11_a_held_amount_is_a_whole_number_above_zero(engine: Engine, acme: Tenant, amount: Any) -> None:
    with pytest.raises(InvalidArgument):
        engine.quotas.hold(acme.id, agents=amount)
    assert held(engine, acme) == 0


def test_async_code_awaits_or_enters_a_hold_and_a_cancelled_await_holds_nothing(engine: Engine, acme: Tenant) -> None:
    async def work() -> None:
        async with engine.aio.quotas.hold(acme.id, agents=LIMIT) as hold:
            assert hold.amounts == {"agents": LIMIT}
            with pytest.raises(InvalidArgument, match="event loop"):
                engine.quotas.hold(acme.id, wait=1, agents=1)
            task = asyncio.create_task(waited(engine.aio.quotas.hold(acme.id, wait=60, agents=1)))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert held(engine, acme) == 0
        hold = await engine.aio.quotas.hold(acme.id, agents=1)
        assert held(engine, acme) == 1
        hold.release()

    async def waited(entering: Awaitable[object]) -> None:
        await entering

    asyncio.run(asyncio.wait_for(work(), 30))
    assert held(engine, acme) == 0


HOLDER = """
import sys, time
import partywall
engine = partywall.open(sys.argv[1], watch=False)
engine.quotas.hold(engine.tenants.get_by_slug("acme").id, agents=5)
print("held", flush=True)
time.sleep(60)
"""


def test_l2_what_a_killed_process_held_is_free_at_the_next_start(
    engine: Engine, acme: Tenant, data_folder: Path, open_engine: Callable[..., Engine]
) -> None:
    engine.close()
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(data_folder)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        os.kill(holder.pid, 9)
    after = open_engine()
    with after.quotas.hold(acme.id, agents=LIMIT):
        assert held(after, acme) == LIMIT


@pytest.mark.parametrize("wait", [-1, float("nan"), float("inf"), "1", True])
def test_l11_a_wait_that_is_no_number_of_seconds_is_refused(engine: Engine, acme: Tenant, wait: object) -> None:
    with pytest.raises(InvalidArgument, match="wait is a number of seconds"):
        engine.quotas.hold(acme.id, wait=wait, agents=1)
    assert held(engine, acme) == 0
