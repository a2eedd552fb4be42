"""Class F: where the tenant context goes, and where it does not."""

import asyncio
import concurrent.futures
import gc
import itertools
import queue
import random
import threading
from contextvars import copy_context
from functools import partial

import pytest

from partywall.context import carry, current_tenant, require_tenant
from partywall.errors import TenantRequired

WAIT = 10


@pytest.fixture
def world(still_world):
    return still_world


@pytest.fixture
def a(world):
    return partial(world.gate.admit, world.request("token-a", tenant="acme"))


@pytest.fixture
def b(world):
    return partial(world.gate.admit, world.request("token-b", tenant="beta"))


def who():
    context = current_tenant()
    return context.tenant_id if context else None


async def who_async():
    await asyncio.sleep(0)
    return who()


async def by_task():
    return await asyncio.create_task(who_async())


async def by_gather():
    return (await asyncio.gather(who_async(), who_async()))[1]


async def by_task_group():
    async with asyncio.TaskGroup() as group:
        task = group.create_task(who_async())
    return task.result()


async def by_to_thread():
    return await asyncio.to_thread(who)


async def by_call_soon():
    seen = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(lambda: seen.set_result(who()))
    return await seen


async def by_call_later():
    seen = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0, lambda: seen.set_result(who()))
    return await seen


async def by_done_callback():
    seen = asyncio.get_running_loop().create_future()
    asyncio.create_task(asyncio.sleep(0)).add_done_callback(lambda _: seen.set_result(who()))
    return await seen


CARRIED = [who_async, by_task, by_gather, by_task_group, by_to_thread, by_call_soon, by_call_later, by_done_callback]


@pytest.mark.parametrize("way", CARRIED, ids=lambda way: way.__name__)
def test_the_context_follows_what_asyncio_does(a, way):
    async def main():
        with a():
            assert await way() == "ten_acme"
        assert await way() is None

    asyncio.run(main())


def in_thread(function):
    seen = queue.SimpleQueue()
    threading.Thread(target=lambda: seen.put(function())).start()
    return seen.get(timeout=WAIT)


def in_executor(function):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(WAIT)


def in_timer(function):
    seen = queue.SimpleQueue()
    threading.Timer(0, lambda: seen.put(function())).start()
    return seen.get(timeout=WAIT)


def in_worker_of_a_queue(function):
    jobs, seen = queue.SimpleQueue(), queue.SimpleQueue()
    threading.Thread(target=lambda: seen.put(jobs.get(timeout=WAIT)())).start()
    jobs.put(function)
    return seen.get(timeout=WAIT)


def refused():
    try:
        return require_tenant().tenant_id
    except TenantRequired:
        return "refused"


PLACES = [in_thread, in_executor, in_timer, in_worker_of_a_queue]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_f1_f7_threads_executors_timers_and_queue_workers_have_no_tenant_and_are_refused(a, place):
    with a():
        assert place(refused) == "refused"


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_f1_carry_takes_the_context_along_on_purpose(a, b, place):
    with a():
        carried = carry(who)
    with b():
        assert place(carried) == "ten_acme"
        assert place(refused) == "refused"
        assert who() == "ten_beta"


def test_f1_an_executors_worker_does_not_keep_the_last_tenant(a, b):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        for admit in (a, b):
            with admit():
                pool.submit(carry(who)).result(WAIT)
                assert pool.submit(refused).result(WAIT) == "refused"


def test_f1_call_soon_threadsafe_from_a_thread_has_no_tenant(a):
    async def main():
        loop, seen = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
        with a():
            threading.Thread(target=lambda: loop.call_soon_threadsafe(lambda: seen.set_result(refused()))).start()
            return await asyncio.wait_for(seen, WAIT)

    assert asyncio.run(main()) == "refused"


def test_f1_carry_without_a_context_is_refused():
    with pytest.raises(TenantRequired):
        carry(who)


def test_f4_an_async_generator_closed_in_another_task_neither_crashes_nor_leaks(a, b):
    async def main():
        async def rows():
            with a():
                yield who()
                yield who()

        made = rows()
        assert await asyncio.create_task(anext(made)) == "ten_acme"

        async def close():
            with b():
                await made.aclose()
                return who()

        assert await asyncio.create_task(close()) == "ten_beta"
        assert who() is None

    asyncio.run(main())


def test_f4_a_generator_begun_under_a_brings_nobody_back_when_it_is_closed_elsewhere(a, b):
    """The block around the generator's own was a's: closing it under b, or under nobody, must not restore that."""

    def steps():
        with b():
            yield who()

    with a():
        under_b, under_nobody = steps(), steps()
        assert (next(under_b), next(under_nobody)) == ("ten_beta", "ten_beta")
    assert who() is None
    with b():
        under_b.close()
        assert who() == "ten_beta"
    under_nobody.close()
    assert who() is None


def test_f_tasks_that_begin_their_successors_keep_no_chain_of_contexts(a):
    async def main():
        done = asyncio.get_running_loop().create_future()

        async def tick(left):
            with a():
                if left:
                    latest[0] = asyncio.create_task(tick(left - 1))
                else:
                    await asyncio.sleep(0)
                    done.set_result(len([each for each in gc.get_objects() if type(each).__name__ == "_Entry"]))

        latest = [asyncio.create_task(tick(50))]
        return await done

    assert asyncio.run(main()) < 10


def test_f4_an_abandoned_async_generator_leaves_nothing_behind(a):
    async def main():
        async def rows():
            with a():
                yield 1

        made = rows()
        await asyncio.create_task(anext(made))
        del made
        gc.collect()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return who()

    assert asyncio.run(main()) is None


def test_f13_a_then_b_then_a_again_with_an_exception_in_between(a, b):
    with a():
        with pytest.raises(KeyError), b():
            raise KeyError(who())
        assert who() == "ten_acme"
        with b():
            with a():
                assert who() == "ten_acme"
            assert who() == "ten_beta"
        assert who() == "ten_acme"
    assert who() is None


def test_f18_a_task_begun_under_a_stays_as_after_the_response(a, b):
    async def main():
        go = asyncio.Event()

        async def background():
            await go.wait()
            return who()

        with a():
            task = asyncio.create_task(background())
        with b():
            go.set()
            return await task

    assert asyncio.run(main()) == "ten_acme"


def test_f_a_copied_context_keeps_its_tenant_wherever_it_runs(a, b):
    with a():
        copied = copy_context()
    with b():
        assert in_thread(lambda: copied.run(who)) == "ten_acme"
        assert who() == "ten_beta"


async def serve(world, tenant, moments, wrong):
    """One request, that gives way at some moments and looks at itself each time."""
    letter = tenant[4]
    async with world.gate_async.admit_async(world.request(f"token-{letter}", tenant=tenant)):
        for _ in range(moments):
            await asyncio.sleep(0)
            if who() != tenant:
                wrong.append((tenant, who()))


async def serve_many(world, requests, seed):
    choice, wrong = random.Random(seed), []
    wave = 500
    for _ in range(requests // wave):
        served = [
            serve(world, choice.choice(["ten_acme", "ten_beta"]), choice.randrange(4), wrong) for _ in range(wave)
        ]
        await asyncio.gather(*served)
        if who() is not None:
            wrong.append((None, who()))
    return wrong


def serve_in_threads(world, requests, threads=4):
    wrong = []

    def work(seed):
        choice = random.Random(seed)
        for _ in range(requests // threads):
            tenant = choice.choice(["ten_acme", "ten_beta"])
            with world.gate.admit(world.request(f"token-{tenant[4]}", tenant=tenant)):
                if who() != tenant:
                    wrong.append((tenant, who()))
            if who() is not None:
                wrong.append((None, who()))

    working = [threading.Thread(target=work, args=[seed]) for seed in range(threads)]
    for thread in working:
        thread.start()
    for thread in working:
        thread.join()
    return wrong


def switched(world, requests):
    async def authenticate(token, tenant_id):
        await asyncio.sleep(0)
        return world.members.get((token, tenant_id))

    world.gate_async = world.gated(authenticate)
    world.gate = world.gated(lambda token, tenant_id: world.members.get((token, tenant_id)))
    wrong = asyncio.run(serve_many(world, requests // 2, seed=1)) + serve_in_threads(world, requests // 2)
    assert wrong == []


@pytest.fixture
def busy_world(tmp_path, still_world):
    made = type(still_world)(tmp_path)
    yield made
    made.close()


def test_f14_twenty_thousand_switched_requests_and_none_under_the_wrong_tenant(busy_world):
    switched(busy_world, 20_000)


@pytest.mark.long
@pytest.mark.timeout(1_800)
def test_f14_one_million_switched_requests_and_none_under_the_wrong_tenant(busy_world):
    switched(busy_world, 1_000_000)


def test_f5_a_generator_begun_under_a_sees_whoever_resumes_it_so_handles_are_bound_instead(a, b):
    """What a plain generator does by itself: it has no context of its own. Handles to rows bind their tenant."""

    def steps():
        for _ in itertools.count():
            yield who()

    made = steps()
    with a():
        assert next(made) == "ten_acme"
    with b():
        assert next(made) == "ten_beta"
    made.close()
