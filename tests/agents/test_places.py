"""Places: first come, first served, and nobody pays for another tenant's queue."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

from partywall.errors import InvalidArgument, PartywallError, QuotaExceeded, RateLimited, TenantSuspended
from partywall.model import Status
from partywall.quotas.places import Asked, Places

ACME, BETA = "ten_acme", "ten_beta"


class Granting:
    """Grants every tenant the same number of agents."""

    def __init__(self, agents):
        self.quotas = SimpleNamespace(agents=agents)

    def grants(self, tenant_id):
        return self


async def forever():
    await asyncio.Event().wait()


async def value(result=None):
    return result


class Asking(threading.Thread):
    """Somebody who waits for a place; known to be in the queue once made."""

    def __init__(self, world, tenant=ACME, wait=30.0):
        super().__init__(daemon=True)
        self.world, self.tenant, self.wait = world, tenant, wait
        self.outcome = None
        places = world.agents._places
        before = places.queued(tenant)
        self.start()
        bounded = threading.Event()
        for _ in range(500):
            if places.queued(tenant) > before:
                return
            bounded.wait(0.01)
        raise AssertionError("never came into the queue")

    def run(self):
        try:
            self.outcome = self.world.agents.spawn(self.tenant, forever(), wait=self.wait)
        except PartywallError as error:
            self.outcome = error

    def ended(self):
        self.join(5)
        assert not self.is_alive()
        return self.outcome


def test_a_waiter_gets_the_place_that_becomes_free(world):
    world.edit(ACME, agents=1)
    first = world.agents.spawn(ACME, forever())
    waiting = Asking(world)
    first.stop()
    assert waiting.ended().state == "running"
    assert world.agents.count(ACME) == 1


def test_waiters_are_served_in_order_and_nobody_overtakes_them(world):
    world.edit(ACME, agents=1)
    running = world.agents.spawn(ACME, forever())
    queue = [Asking(world) for _ in range(3)]
    for expected in queue:
        with pytest.raises(QuotaExceeded):
            world.agents.spawn(ACME, forever())
        running.stop()
        running = expected.ended()
        assert [later.outcome for later in queue if later.is_alive()] == [None] * sum(a.is_alive() for a in queue)
    assert world.agents.count(ACME) == 1


def test_a_wait_that_ends_without_a_place_is_a_quota_error_and_leaves_the_queue(world):
    world.edit(ACME, agents=1)
    world.agents.spawn(ACME, forever()).name  # noqa: B018  # holds the place
    with pytest.raises(QuotaExceeded):
        world.agents.spawn(ACME, forever(), wait=0.02)
    assert world.agents._places.waiting() == []


def test_l13_one_tenants_queue_starves_nobody(world):
    world.edit(ACME, agents=1)
    world.edit(BETA, agents=1)
    held = world.agents.spawn(ACME, forever())
    queue = [Asking(world) for _ in range(20)]
    for _ in range(20):
        assert world.agents.spawn(BETA, value(1)).result(5) == 1
    world.put(ACME, Status.SUSPENDED)
    assert all(isinstance(each.ended(), TenantSuspended) for each in queue)
    assert held.state in ("running", "stopped")


def test_waiters_of_a_suspended_tenant_are_refused_though_no_place_becomes_free(world):
    started, release = threading.Event(), threading.Event()

    async def deaf():
        started.set()
        while not release.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue

    world.edit(ACME, agents=1)
    held = world.agents.spawn(ACME, deaf())
    assert started.wait(5)
    waiting = Asking(world)
    world.put(ACME, Status.SUSPENDED)
    assert isinstance(waiting.ended(), TenantSuspended)
    assert held.state == "running"
    release.set()


def test_close_sends_waiters_away(world):
    world.edit(ACME, agents=1)
    world.agents.spawn(ACME, forever())
    waiting = Asking(world)
    world.agents.close()
    assert "closed" in str(waiting.ended())


def test_a_raised_quota_serves_the_queue(world):
    world.edit(ACME, agents=1)
    world.agents.spawn(ACME, forever())
    waiting = Asking(world)
    world.edit(ACME, agents=2)
    assert waiting.ended().state == "running"


def test_a_lowered_quota_stops_nobody_and_admits_nobody(world):
    world.edit(ACME, agents=2)
    running = [world.agents.spawn(ACME, forever()) for _ in range(2)]
    world.edit(ACME, agents=1)
    running[0].stop()
    with pytest.raises(QuotaExceeded):
        world.agents.spawn(ACME, forever())
    assert running[1].state == "running"


@pytest.mark.parametrize("wait", [-1, float("nan"), float("inf")])
def test_a_wait_that_is_no_time_is_refused(agents, wait):
    with pytest.raises(InvalidArgument):
        agents.spawn(ACME, forever(), wait=wait)


def test_l1_of_many_racers_as_many_win_as_there_are_places(world):
    world.edit(ACME, agents=3)
    go, outcomes = threading.Event(), []

    def race():
        go.wait(5)
        try:
            outcomes.append(world.agents.spawn(ACME, forever()))
        except QuotaExceeded as error:
            outcomes.append(error)

    racers = [threading.Thread(target=race) for _ in range(24)]
    for racer in racers:
        racer.start()
    go.set()
    for racer in racers:
        racer.join(5)
    assert sum(not isinstance(outcome, QuotaExceeded) for outcome in outcomes) == 3
    assert (len(outcomes), world.agents.count(ACME)) == (24, 3)


def test_a_rate_refusal_gives_the_place_back_and_closes_the_coroutine(world):
    world.edit(ACME, agents=1, agent_spawns=1)
    world.agents.spawn(ACME, value()).result(5)
    work = value()
    with pytest.raises(RateLimited):
        world.agents.spawn(ACME, work)
    assert (work.cr_frame, world.agents.count(ACME)) == (None, 0)


def test_a_quota_refusal_takes_no_permit(world):
    world.edit(ACME, agents=1, agent_spawns=2)
    running = world.agents.spawn(ACME, forever())
    for _ in range(5):
        with pytest.raises(QuotaExceeded):
            world.agents.spawn(ACME, forever())
    running.stop()
    assert world.agents.spawn(ACME, value(1)).result(5) == 1


def test_waiting_in_an_event_loop_is_refused_rather_than_stopping_it(world):
    world.edit(ACME, agents=1)

    async def main():
        world.agents.spawn(ACME, forever())
        with pytest.raises(InvalidArgument):
            world.agents.spawn(ACME, forever(), wait=30)

    asyncio.run(main())
    assert world.agents._places.waiting() == []


def test_the_awaitable_twin_waits_for_a_place_on_no_thread(world):
    world.edit(ACME, agents=1)

    async def main():
        first = world.agents.spawn(ACME, forever())
        threads = threading.active_count()
        waiting = [asyncio.create_task(world.agents.spawn_async(ACME, value(n), wait=30)) for n in range(50)]
        await asyncio.sleep(0)
        assert world.agents._places.queued(ACME) == 50
        assert threading.active_count() == threads
        await asyncio.to_thread(first.stop)
        return [await (await each).wait() for each in waiting]

    assert asyncio.run(main()) == list(range(50))
    assert world.agents.count(ACME) == 0


def test_a_cancelled_or_expired_wait_leaves_no_place_behind(world):
    world.edit(ACME, agents=1)

    async def main():
        first = world.agents.spawn(ACME, forever())
        waiting = asyncio.create_task(world.agents.spawn_async(ACME, value(), wait=30))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(QuotaExceeded):
            await world.agents.spawn_async(ACME, value(), wait=0.01)
        assert world.agents._places.waiting() == []
        await asyncio.to_thread(first.stop)
        return await (await world.agents.spawn_async(ACME, value("in"))).wait()

    assert asyncio.run(main()) == "in"


def ask(places, *, queue, amount=1):
    asked = Asked(amount)
    places.ask(ACME, asked, queue=queue)
    return asked


def test_a_place_given_to_somebody_who_just_went_away_is_taken_back():
    places = Places(Granting(1))
    ask(places, queue=False)
    late = ask(places, queue=True)
    places.give_back(ACME)
    assert late.done()
    places.withdraw(ACME, late)
    assert places.count(ACME) == 0


def test_nobody_overtakes_the_queue_while_a_raised_quota_is_not_heard_of_yet():
    tenants = Granting(1)
    places = Places(tenants)
    ask(places, queue=False)
    waiting = ask(places, queue=True)
    tenants.quotas.agents = 2
    with pytest.raises(QuotaExceeded):
        ask(places, queue=False)
    places.look_again([ACME])
    assert waiting.done()


def test_what_can_never_fit_is_refused_at_once_and_keeps_nobody_waiting():
    places = Places(Granting(2))
    for queue in (False, True):
        with pytest.raises(QuotaExceeded, match="no room for 3 more: it is 2 in all"):
            ask(places, queue=queue, amount=3)
    assert ask(places, queue=False, amount=2).done()


def test_who_waits_for_more_than_a_lowered_limit_is_sent_away_and_those_behind_are_served():
    tenants = Granting(4)
    places = Places(tenants)
    ask(places, queue=False)
    large, small = ask(places, queue=True, amount=4), ask(places, queue=True)
    with pytest.raises(QuotaExceeded, match="no room for 1 more: 1 of 4 agents are running, and 2 wait before you"):
        ask(places, queue=False)
    tenants.quotas.agents = 3
    places.look_again([ACME])
    with pytest.raises(QuotaExceeded, match="no room for 4 more: it is 3 in all"):
        large.result(0)
    assert small.done()
    assert places.count(ACME) == 2


def test_a_suspension_refuses_awaiting_spawns_at_once(world):
    world.edit(ACME, agents=1)

    async def main():
        world.agents.spawn(ACME, forever())
        waiting = asyncio.create_task(world.agents.spawn_async(ACME, value(), wait=30))
        await asyncio.sleep(0)
        world.put(ACME, Status.SUSPENDED)
        with pytest.raises(TenantSuspended):
            await asyncio.wait_for(waiting, 5)

    asyncio.run(main())
