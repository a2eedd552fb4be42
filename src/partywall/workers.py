"""Worker threads for async code: a call runs in a thread, and cancelling its await reaches into it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from contextvars import Context, ContextVar, copy_context
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

from partywall.errors import BackendError, QueryError
from partywall.isolation import CancelToken, cancel_token

__all__ = ["Entering", "Workers"]

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A", bound=AbstractAsyncContextManager[Any])
M = TypeVar("M", bound=AbstractContextManager[Any])

_lease: ContextVar[dict[int, Lease]] = ContextVar("partywall_lease")


class Lease:
    """One worker thread and one context, kept for one transaction."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="partywall-transaction")
        self._context = copy_context()
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

    async def run(self, owner: object, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function in a thread, under the caller's context.

        Inside a transaction of ``owner`` it is the transaction's own thread. When the await is cancelled the
        call is interrupted, what it wrote in a transaction is rolled back, and the cancellation goes on once
        the thread stands still.
        """
        lease = _leased(owner)
        if lease is not None:
            return await lease.run(function, *args, **kwargs)
        return await _awaited(self._pool, copy_context(), partial(function, *args, **kwargs))

    @asynccontextmanager
    async def transaction(self, owner: object, manager: AbstractContextManager[Any]) -> AsyncIterator[None]:
        """Run the block with one worker of its own for ``owner``, inside a blocking context manager."""
        if _leased(owner) is not None:
            raise QueryError("this handle is in a transaction already; transactions do not nest")
        lease = Lease()
        before = _lease.get({})
        entered: list[bool] = []
        try:
            await lease.run(lambda: entered.append(bool(manager.__enter__()) or True))
            _lease.set({**before, id(owner): lease})
            yield
        except BaseException as error:
            # A cancelled await may have entered all the same; what was entered is left, in the same thread.
            if entered:
                await _finished(lease.run(manager.__exit__, type(error), error, error.__traceback__))
            raise
        else:
            await _finished(lease.run(manager.__exit__, None, None, None))
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
    try:
        return await asyncio.shield(asyncio.wrap_future(running))
    except asyncio.CancelledError:
        if not running.cancel():
            await _finished(_interrupted(token, running))
        raise


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
