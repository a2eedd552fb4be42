"""Coroutines as agents: a task in the tenant's context, on the caller's loop or on the engine's own."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from typing import Any, Final

from partywall.agents.run import STOPPED, Run
from partywall.context import TenantContext, entered
from partywall.errors import InvalidArgument, PartywallError

__all__ = ["CoroutineRun", "LoopThread", "running_loop"]


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in the calling thread, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class LoopThread:
    """An event loop on a thread of its own, started when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, running."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                # A daemon: an agent that never yields must not keep the process from ending.
                self._thread = threading.Thread(
                    target=self._run, args=[self._loop], name="partywall-agents", daemon=True
                )
                self._thread.start()
            return self._loop

    def close(self, timeout: float = 1.0) -> None:
        """Let the loop end. A thread that an agent holds for longer than ``timeout`` seconds is left to it."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is not None and thread is not None and not loop.is_closed():
            loop.call_soon_threadsafe(loop.stop)
            if thread is not threading.current_thread():
                thread.join(timeout)

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()


class CoroutineRun(Run):
    """A coroutine that runs as a task."""

    kind = "coroutine"

    def __init__(
        self,
        work: Coroutine[Any, Any, Any],
        context: TenantContext,
        loop: asyncio.AbstractEventLoop,
        *,
        name: str | None,
        started_at: float,
    ) -> None:
        super().__init__(context.tenant_id, name, started_at)
        self._work: Final = work
        self._context: Final = context
        self._loop: Final = loop
        self._variables: Final = contextvars.copy_context()
        self._task: asyncio.Task[Any] | None = None

    def start(self) -> None:
        """Begin at once on this thread's loop, or as soon as the other loop gets to it."""
        if self.waits_on_this_thread():
            self._begin()
        elif not self._tell(self._begin):
            raise InvalidArgument("the event loop is closed; name one that runs")

    def ask(self, kill_at: float) -> None:  # noqa: ARG002  # there is no kill to come
        """Cancel the task; one that swallows it is cancelled again at the next call."""
        if not self._tell(self._cancel):
            # Nothing will ever run on a closed loop again, this task included.
            if self._task is None:
                self._work.close()
            self.condemn(CancelledError(STOPPED))
            self.end()

    def kill(self) -> None:
        """Cancel once more: Python has no force to apply to a task."""
        self.ask(0.0)

    def waits_on_this_thread(self) -> bool:
        """Whether the task's loop is the one that runs in the calling thread."""
        return running_loop() is self._loop

    def _tell(self, callback: Callable[[], None]) -> bool:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            return False
        return True

    def _begin(self) -> None:
        with self.lock:
            if self.condemned:
                self._work.close()
                self.end()
                return
            self._task = self._loop.create_task(self._inside(), name=self.name, context=self._variables)
            self._task.add_done_callback(self._finished)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _inside(self) -> Any:
        with entered(self._context):
            try:
                return await self._work
            except (SystemExit, KeyboardInterrupt) as leaving:
                if isinstance(leaving, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
                    raise  # the operator's own
                # It would end the loop, and with it everybody else's agents.
                raise PartywallError(f"the agent raised {type(leaving).__name__}") from None

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._work.close()  # a task that is cancelled before its first step leaves it unawaited
        if task.cancelled():
            self.condemn(CancelledError(STOPPED))
            self.end()
        elif (error := task.exception()) is not None:
            self.end(error=error)
        else:
            self.end(task.result())
