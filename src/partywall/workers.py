"""Worker threads for async code: a call runs in a thread, and cancelling its await reaches into it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from contextvars import Context, ContextVar, copy_context
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar
from weakref import WeakValueDictionary

from partywall.errors import BackendError, QueryError
from partywall.isolation import CancelToken, TurnTaken, cancel_token, may_wait

__all__ = ["Entering", "Workers"]

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A", bound=AbstractAsyncContextManager[Any])
M = TypeVar("M", bound=AbstractContextManager[Any])

_PATIENCE = 10.0
"""Seconds that a writer waits for the tenant's other writers."""
_lease: ContextVar[dict[int, Lease]] = ContextVar("partywall_lease")


class Lease:
    """One worker thread and one context, kept for one transaction."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="partywall-transaction")
        self._context = _impatient()
        self.over = False
        """Whether the transaction has ended; tasks that were begun within it may live on."""

    async def run(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function in this worker."""
        return await _awaited(self._thread, self._context, partial(function, *args, **kwargs))

    def release(self) -> None:
        """Give the thread back."""
        self.over = True
        self._thread.shutdown(wait=False)


class Entering(Generic[A]):
    """A handle that is on its way: awaited for the handle, or entered at once with ``async with``."""

    def __init__(self, make: Callable[[], Awaitable[A]]) -> None:
        self._make = make
        self._made: A | None = None

    def __await__(self) -> Generator[Any, Any, A]:
        return self._make().__await__()

    async def __aenter__(self) -> A:
        self._made = await self._make()
        await self._made.__aenter__()
        return self._made

    async def __aexit__(self, *error: Any) -> None:
        if self._made is not None:
            await self._made.__aexit__(*error)


class Workers:
    """The threads in which blocking calls of async code run."""

    def __init__(self, threads: int = 16) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="partywall-worker")
        self._turns: WeakValueDictionary[tuple[int, str], asyncio.Lock] = WeakValueDictionary()

    async def run(self, owner: object, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function in a thread, under the caller's context.

        Inside a transaction of ``owner`` it is the transaction's own thread. When the await is cancelled the
        call is interrupted, what it wrote in a transaction is rolled back, and the cancellation goes on once
        the thread stands still.
        """
        lease = _leased(owner)
        if lease is not None:
            return await lease.run(function, *args, **kwargs)
        return await _in_turn(lambda: _awaited(self._pool, _impatient(), partial(function, *args, **kwargs)))

    @asynccontextmanager
    async def transaction(
        self, owner: object, tenant_id: str, begin: Callable[[], AbstractContextManager[Any]]
    ) -> AsyncIterator[None]:
        """Run the block with one worker of its own for ``owner``, inside the blocking context manager it begins.

        Transactions of one tenant take turns before any of them takes a thread.
        """
        if _leased(owner) is not None:
            raise QueryError("this handle is in a transaction already; transactions do not nest")
        async with self._turn(tenant_id), self._entered(owner, begin):
            yield

    @asynccontextmanager
    async def _turn(self, tenant_id: str) -> AsyncIterator[None]:
        turn = self._turns.setdefault((id(asyncio.get_running_loop()), tenant_id), asyncio.Lock())
        try:
            await asyncio.wait_for(turn.acquire(), _PATIENCE)
        except TimeoutError:
            raise _taken() from None
        try:
            yield
        finally:
            turn.release()

    @asynccontextmanager
    async def _entered(self, owner: object, begin: Callable[[], AbstractContextManager[Any]]) -> AsyncIterator[None]:
        lease = Lease()
        before = _lease.get({})
        entered: list[AbstractContextManager[Any]] = []

        def enter() -> None:
            manager = begin()
            manager.__enter__()
            entered.append(manager)

        try:
            await _in_turn(lambda: lease.run(enter))
            _lease.set({**before, id(owner): lease})
            yield
        except BaseException as error:
            # A cancelled await may have entered all the same; what was entered is left, in the same thread.
            for manager in entered:
                await _finished(lease.run(manager.__exit__, type(error), error, error.__traceback__))
            raise
        else:
            await _finished(lease.run(entered[0].__exit__, None, None, None))
        finally:
            _lease.set(before)
            lease.release()

    async def finish(self, owner: object, function: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Call the function as ``run`` does, and await its end even when the await is cancelled meanwhile."""
        await _finished(self.run(owner, function, *args, **kwargs))

    async def make(self, owner: object, function: Callable[[], M]) -> M:
        """Call a function that makes a context manager; one that was made for a cancelled await is left at once."""
        made: list[M] = []
        try:
            await self.run(owner, lambda: made.append(function()))
        except BaseException as error:
            for manager in made:
                await self.finish(owner, manager.__exit__, type(error), error, error.__traceback__)
            raise
        return made[0]

    def close(self) -> None:
        """Finish what runs and end the threads."""
        self._pool.shutdown(wait=True)


def _impatient() -> Context:
    """The caller's context, in which a writer whose turn it is not gives its thread back instead of waiting."""
    context = copy_context()
    context.run(may_wait.set, False)  # a context variable takes its value so
    return context


def _taken() -> BackendError:
    return BackendError(f"another transaction of this tenant has held the write lock for {_PATIENCE:g} s")


async def _in_turn(attempt: Callable[[], Awaitable[R]]) -> R:
    """Make the attempt again and again until it is the writer's turn: meanwhile no thread is held."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PATIENCE
    pause = 0.001
    while True:
        try:
            return await attempt()
        except TurnTaken:
            if loop.time() >= deadline:
                raise _taken() from None
        await asyncio.sleep(pause)
        pause = min(pause * 2, 0.05)


def _leased(owner: object) -> Lease | None:
    lease = _lease.get({}).get(id(owner))
    return None if lease is None or lease.over else lease


async def _awaited(pool: ThreadPoolExecutor, context: Context, call: Callable[[], R]) -> R:
    token = CancelToken()

    def cancellable() -> R:
        cancel_token.set(token)
        return call()

    try:
        running = pool.submit(context.run, cancellable)
    except RuntimeError:  # the pool is shut down
        raise BackendError("the engine is closed") from None
    awaited = asyncio.wrap_future(running)
    try:
        return await asyncio.shield(awaited)
    except asyncio.CancelledError:
        awaited.add_done_callback(_heard)
        if not running.cancel():
            await _finished(_interrupted(token, running))
        raise


def _heard(future: asyncio.Future[Any]) -> None:
    """Take note of how it ended, so that nobody is told of an error that nobody waits for."""
    if not future.cancelled():
        future.exception()


async def _interrupted(token: CancelToken, running: Future[Any]) -> None:
    await asyncio.to_thread(token.cancel)
    await asyncio.wait([asyncio.wrap_future(running)])
    if not running.cancelled():
        running.exception()


async def _finished(work: Any) -> None:
    """Await something to its end even if the awaiting task is cancelled meanwhile, and cancelled again."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = not task.cancelled()
        except BaseException:  # noqa: BLE001  # raised by task.result() below
            break
    if cancelled:
        raise asyncio.CancelledError
    task.result()
