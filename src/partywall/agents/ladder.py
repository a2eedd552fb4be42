"""The suspension ladder: ask, ask again, kill, and name what is still there."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial

from partywall.agents.run import Run
from partywall.errors import InvalidArgument

__all__ = ["Ladder", "StopReport"]


@dataclass(frozen=True, slots=True)
class StopReport:
    """What became of the agents that were told to stop, by id."""

    stopped: tuple[str, ...] = ()
    not_stopped: tuple[str, ...] = ()
    """Still there. Whatever they hold of the engine's is refused all the same."""


class Ladder:
    """Stops some runs within a grace, on a thread of its own.

    Coroutines are cancelled until the grace ends; commands get SIGTERM, and SIGKILL after half of it.
    """

    def __init__(self, runs: Iterable[Run], grace: float, then: Callable[[StopReport], None]) -> None:
        if not (math.isfinite(grace) and grace >= 0):
            raise InvalidArgument("grace is a number of seconds, at least 0")
        self.over = threading.Event()
        self._left = tuple(runs)
        self._gone: tuple[str, ...] = ()
        self._then = then
        self._kill_at = self._ends_at = math.inf
        self._step = min(max(grace / 20, 0.01), 0.25)
        self.hurry(grace)

    def start(self) -> None:
        """Begin to climb, in the name of whoever calls this."""
        climb = partial(copy_context().run, self._climb)
        threading.Thread(target=climb, name="partywall-stop", daemon=True).start()

    def hurry(self, grace: float) -> None:
        """Let the grace end no later than this many seconds from now."""
        # The grace is given to real processes and tasks: real time, whatever the engine's clock says.
        now = time.monotonic()
        self._kill_at = min(self._kill_at, now + grace / 2)
        # A kill takes a moment to be seen, even by those who grant no grace.
        self._ends_at = min(self._ends_at, now + max(grace, 0.2))

    def wait(self) -> StopReport:
        """Wait until the top, and report. What only the calling thread could let end is not waited for."""
        runs = self._left
        if any(run.waits_on_this_thread() for run in runs):
            for run in runs:
                if not run.waits_on_this_thread():
                    run.over.wait(max(0.0, self._ends_at - time.monotonic()))
        else:
            self.over.wait()
        return self.report()

    def report(self) -> StopReport:
        """Who has stopped by now, and who has not."""
        gone, left = self._gone, self._left
        return StopReport(
            stopped=gone + tuple(run.id for run in left if run.over.is_set()),
            not_stopped=tuple(run.id for run in left if not run.over.is_set()),
        )

    def _climb(self) -> None:
        try:
            left = self._pending_at_the_end()
            for run in left:
                run.give_up()
            self._then(self.report())
        finally:
            self.over.set()

    def _pending_at_the_end(self) -> list[Run]:
        pending = list(self._left)
        while pending := [run for run in pending if not run.over.is_set()]:
            now = time.monotonic()
            self._press(pending, kill=now >= self._kill_at)
            if now >= self._ends_at:
                break
            pending[0].over.wait(min(self._step, self._ends_at - now))
        return [run for run in pending if not run.over.is_set()]

    def _press(self, runs: Iterable[Run], *, kill: bool) -> None:
        for run in runs:
            if kill:
                run.kill()
            else:
                run.ask(self._kill_at)
