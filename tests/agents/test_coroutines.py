"""Coroutines that run for a tenant."""

import asyncio
import threading
import time
from concurrent.futures import CancelledError

import pytest

from partywall.agents import AgentState
from partywall.agents.coroutines import CoroutineRun
from partywall.context import TenantContext, current_tenant, entered, require_tenant
from partywall.errors import (
    InvalidArgument,
    PartywallError,
    QuotaExceeded,
    TenantNotFound,
    TenantRequired,
    TenantSuspended,
)
from partywall.model import Status

ACME, BETA = "ten_acme", "ten_beta"


async def value(result=None):
    await asyncio.sleep(0)
    return result


async def forever(started=None):
    if started is not None:
        started.set()
    await asyncio.Event().wait()


def test_without_a_loop_it_runs_on_the_engines_own(agents):
    async def where():
        return threading.current_thread().name

    assert agents.spawn(ACME, where()).result(5) == "partywall-agents"


def test_from_async_code_it_runs_on_the_callers_loop_without_waiting(agents):
    async def main():
        async def where():
            return asyncio.get_running_loop()

        agent = agents.spawn(ACME, where())
        assert agent.state == "running"
        return await agent.wait() is asyncio.get_running_loop()

    assert asyncio.run(main())


def test_from_a_worker_thread_it_runs_on_the_named_loop(agents):
    async def main():
        async def where():
            return asyncio.get_running_loop()

        loop = asyncio.get_running_loop()
        agent = await asyncio.to_thread(agents.spawn, ACME, where(), loop=loop)
        return await agent.wait() is loop

    assert asyncio.run(main())


def test_it_runs_in_its_tenants_context_and_the_caller_stays_in_its_own(world):
    async def seen():
        return current_tenant()

    context = TenantContext(ACME, world.directory.tenant(ACME), "u7", frozenset({"projects:read"}))
    with entered(context):
        own = world.agents.spawn(ACME, seen()).result(5)
        other = world.agents.spawn(BETA, seen()).result(5)
        assert current_tenant() is context
    assert (own.tenant_id, own.user_id, own.permissions) == (ACME, "u7", {"projects:read"})
    assert (other.tenant_id, other.user_id, other.permissions) == (BETA, None, frozenset())
    assert current_tenant() is None


def test_a_finished_agent_has_its_value_and_leaves_its_place(agents):
    agent = agents.spawn(ACME, value(7), name="seven")
    assert agent.result(5) == 7
    assert (agent.state, agent.kind, agent.name, agent.tenant_id) == ("finished", "coroutine", "seven", ACME)
    assert (agents.list(), agents.count(ACME)) == ([], 0)


def test_what_a_coroutine_raises_is_raised_by_result(agents):
    async def fail():
        raise KeyError("k")

    agent = agents.spawn(ACME, fail())
    with pytest.raises(KeyError):
        agent.result(5)
    assert agent.state == "failed"


def test_an_agent_that_tries_to_end_the_process_ends_alone(agents):
    async def leave():
        raise SystemExit(3)

    async def interrupt():
        raise KeyboardInterrupt

    for work in (leave(), interrupt()):
        with pytest.raises(PartywallError, match="raised"):
            agents.spawn(ACME, work).result(5)
    assert agents.spawn(BETA, value("alive")).result(5) == "alive"


def test_result_times_out_and_the_agent_runs_on(agents):
    agent = agents.spawn(ACME, forever())
    with pytest.raises(TimeoutError):
        agent.result(0.01)
    assert agent.state == "running"


def test_list_shows_one_tenants_agents_or_all(agents):
    a, b = agents.spawn(ACME, forever()), agents.spawn(BETA, forever())
    assert [agent.id for agent in agents.list(ACME)] == [a.id]
    assert [agent.id for agent in agents.list()] == [a.id, b.id]


@pytest.mark.parametrize("refused", ["text", b"text", [], None, 7, ["a", 1], ["a\0b"], {"a"}])
def test_what_is_no_coroutine_and_no_sequence_of_texts_is_refused(agents, refused):
    with pytest.raises(InvalidArgument):
        agents.spawn(ACME, refused)
    assert agents.count(ACME) == 0


def test_a_coroutine_that_has_run_is_refused(agents):
    work = value()
    asyncio.run(work)
    with pytest.raises(InvalidArgument):
        agents.spawn(ACME, work)


@pytest.mark.parametrize("status", [Status.SUSPENDED, Status.DELETED, Status.PENDING])
def test_a_tenant_out_of_service_gets_no_agents_and_the_coroutine_is_closed(world, status):
    world.put(ACME, status)
    work = value()
    with pytest.raises(PartywallError) as refused:
        world.agents.spawn(ACME, work)
    assert refused.value.code == f"tenant-{status}"
    assert work.cr_frame is None
    assert world.agents.count(ACME) == 0


def test_an_unknown_tenant_gets_no_agents(agents):
    with pytest.raises(TenantNotFound):
        agents.spawn("ten_nobody", value())


def test_a_closed_loop_is_refused_and_the_place_given_back(agents):
    loop = asyncio.new_event_loop()
    loop.close()
    with pytest.raises(InvalidArgument):
        agents.spawn(ACME, value(), loop=loop)
    assert agents.count(ACME) == 0


def test_a_plain_stop_cancels(agents):
    started = threading.Event()
    agent = agents.spawn(ACME, forever(started))
    assert started.wait(5)
    assert agent.stop().stopped == (agent.id,)
    assert agent.state == "stopped"
    with pytest.raises(CancelledError):
        agent.result(5)
    assert agents.stop(agent.id).stopped == ()


def test_a_task_cancelled_by_the_end_of_its_loop_counts_as_stopped(agents):
    async def main():
        agent = agents.spawn(ACME, forever())
        await asyncio.sleep(0)
        return agent

    agent = asyncio.run(main())
    assert agent.state == "stopped"
    assert agents.count(ACME) == 0


def test_an_agent_on_a_loop_that_was_closed_under_it_is_let_go(agents):
    loop = asyncio.new_event_loop()
    agent = agents.spawn(ACME, value(), loop=loop)
    loop.close()
    assert agent.stop(grace=1).stopped == (agent.id,)
    assert agents.count(ACME) == 0


def test_a_suspension_stops_running_agents_of_that_tenant_only(world):
    started = threading.Event()
    a, b = world.agents.spawn(ACME, forever(started)), world.agents.spawn(BETA, forever())
    assert started.wait(5)
    world.put(ACME, Status.SUSPENDED)
    report = world.agents.stop_tenant(ACME)
    assert (report.stopped, report.not_stopped) == ((a.id,), ())
    with pytest.raises(TenantSuspended):
        a.result(5)
    assert (a.state, b.state) == ("stopped", "running")
    (record,) = world.recorded("agent.stopped")
    assert record.details == {"agents": [a.id], "not_stopped": []}
    assert world.recorded("agent.stopped", BETA) == []


def test_a_suspension_by_file_stops_agents_without_anybody_asking(world):
    agent = world.agents.spawn(ACME, forever())
    world.edit(ACME, status="suspended")
    with pytest.raises(TenantSuspended):
        agent.result(5)
    assert world.agents.stop_tenant(ACME).stopped == (agent.id,)
    assert len(world.recorded("agent.stopped")) == 1


def test_an_agent_that_swallows_cancellation_is_cancelled_again_until_it_ends(agents):
    started = threading.Event()

    async def stubborn():
        started.set()
        for _ in range(3):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue
        return "never seen"

    agent = agents.spawn(ACME, stubborn())
    assert started.wait(5)
    assert agent.stop(grace=2).stopped == (agent.id,)
    with pytest.raises(CancelledError):
        agent.result(5)


def test_g14_an_agent_that_never_ends_is_named_and_keeps_its_place_until_it_does(world):
    started, release = threading.Event(), threading.Event()

    async def deaf():
        started.set()
        while not release.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue

    agent = world.agents.spawn(ACME, deaf())
    assert started.wait(5)
    world.put(ACME, Status.SUSPENDED)
    began = time.monotonic()
    report = world.agents.stop_tenant(ACME, grace=0.2)
    assert time.monotonic() - began < 4, "the shorter grace hurries the stop that the suspension began"
    assert (report.stopped, report.not_stopped) == ((), (agent.id,))
    assert agent.state is AgentState.NOT_STOPPED
    assert [listed.id for listed in world.agents.list(ACME)] == [agent.id]
    assert world.agents.count(ACME) == 1
    (record,) = world.recorded("agent.stopped")
    assert record.details["not_stopped"] == [agent.id]
    release.set()
    with pytest.raises(TenantSuspended):
        agent.result(5)
    assert agent.state == "stopped"
    assert world.agents.list() == []


def test_f6_an_agent_spawned_while_its_tenant_is_suspended_never_begins(world, monkeypatch):
    """The suspension falls between the first look at the tenant and the start of the agent."""
    began = []

    async def work():
        began.append(True)

    world.edit(ACME, agent_spawns=5)
    monkeypatch.setattr(world.limiter, "require", lambda *_: world.put(ACME, Status.SUSPENDED))
    with pytest.raises(TenantSuspended):
        world.agents.spawn(ACME, work())
    assert (began, world.agents.count(ACME), world.agents.list()) == ([], 0, [])


def test_f6_an_agent_condemned_before_its_loop_gets_to_it_never_begins(world):
    began = []

    async def work():
        began.append(True)

    async def main():
        context = TenantContext(ACME, world.directory.tenant(ACME))
        run = CoroutineRun(work(), context, asyncio.get_running_loop(), name=None, started_at=0.0)
        run.condemn(TenantSuspended("suspended"))
        run.start()
        await asyncio.sleep(0)
        return run

    run = asyncio.run(main())
    assert (began, run.state) == ([], "stopped")
    assert isinstance(run.outcome.exception(0), TenantSuspended)


def test_stop_from_the_agents_own_loop_does_not_block_it(world):
    async def main():
        agent = world.agents.spawn(ACME, forever())
        await asyncio.sleep(0)
        world.put(ACME, Status.SUSPENDED)
        report = world.agents.stop_tenant(ACME, grace=30)
        with pytest.raises(TenantSuspended):
            await asyncio.wait_for(agent.wait(), 5)
        return agent, report

    agent, report = asyncio.run(main())
    assert report.not_stopped == (agent.id,)
    assert agent.state == "stopped"


def test_after_close_nothing_runs_and_nothing_starts(agents):
    agent = agents.spawn(ACME, forever())
    agents.close()
    assert agent.state == "stopped"
    with pytest.raises(PartywallError, match="closed"):
        agents.spawn(ACME, value())
    assert agents.count(ACME) == 0


def test_quota_the_next_agent_is_refused_and_closed(world):
    world.edit(ACME, agents=1)
    world.agents.spawn(ACME, forever())
    work = value()
    with pytest.raises(QuotaExceeded) as refused:
        world.agents.spawn(ACME, work)
    error = refused.value
    assert (error.quota, error.current, error.limit, error.requested) == ("agents", 1, 1, 1)
    assert work.cr_frame is None
    assert world.agents.spawn(BETA, value(1)).result(5) == 1


def test_no_tenant_context_reaches_threads_of_an_agent(agents):
    async def work():
        caught = []

        def alone():
            try:
                require_tenant()
            except TenantRequired as error:
                caught.append(error)

        thread = threading.Thread(target=alone)
        thread.start()
        await asyncio.to_thread(thread.join)
        return len(caught)

    assert agents.spawn(ACME, work()).result(5) == 1
