"""The gate of one store: statements pass through together, housekeeping waits for a moment alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from partywall.errors import BackendError

__all__ = ["INTERRUPTED", "PATIENCE", "Busy", "Gate"]

INTERRUPTED: Final = "the statement was interrupted; nothing was written"
PATIENCE: Final = 30.0
"""Seconds that a statement waits for housekeeping to end, and a purge for transactions that are open."""

_STOP: Final = 1.0
"""Seconds for which housekeeping that waits its turn may keep others out, before it lets them through again."""
_BREATH: Final = 0.02


class Busy(Exception):
    """Housekeeping found no moment alone; it comes back later."""


def _never() -> bool:
    return False


class Gate:
    """Counts who is inside. Its lock is held for the counting only, never while the store works."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = {True: 0, False: 0}
        self._writes_stopped = False
        self._reads_stopped = False

    def enter(self, *, writing: bool, patience: float, given_up: Callable[[], bool] = _never) -> None:
        """Go in, for a statement or a transaction. BackendError after ``patience`` seconds, or once given up."""
        with self._changed:
            in_time = self._changed.wait_for(lambda: self._open(writing) or given_up(), patience)
            if given_up():
                raise BackendError(INTERRUPTED)
            if not in_time:
                raise BackendError("the store is busy with housekeeping; nothing was written, try again")
            self._inside[writing] += 1

    def leave(self, *, writing: bool) -> None:
        """Go out again."""
        with self._changed:
            self._inside[writing] -= 1
            self._changed.notify_all()

    def wake(self) -> None:
        """Make those who wait to go in ask again whether they have given up."""
        with self._changed:
            self._changed.notify_all()

    @contextmanager
    def writes_stopped(self, patience: float) -> Iterator[None]:
        """No writer is inside the block, and no writing transaction is open; readers go on. Raises Busy."""
        self._stop(patience, readers=False)
        try:
            yield
        finally:
            self._resume(readers=False)

    @contextmanager
    def all_stopped(self, patience: float) -> Iterator[None]:
        """Nobody at all is inside the block; to be used within ``writes_stopped``. Raises Busy."""
        self._stop(patience, readers=True)
        try:
            yield
        finally:
            self._resume(readers=True)

    def _open(self, writing: bool) -> bool:
        return not self._reads_stopped and not (writing and self._writes_stopped)

    def _stop(self, patience: float, *, readers: bool) -> None:
        deadline = time.monotonic() + patience
        with self._changed:
            while True:
                self._set(True, readers=readers)
                if self._changed.wait_for(lambda: not self._inside[not readers], min(_STOP, patience)):
                    return
                self._set(False, readers=readers)
                if time.monotonic() >= deadline:
                    raise Busy
                self._changed.wait(_BREATH)

    def _resume(self, *, readers: bool) -> None:
        with self._changed:
            self._set(False, readers=readers)

    def _set(self, stopped: bool, *, readers: bool) -> None:
        if readers:
            self._reads_stopped = stopped
        else:
            self._writes_stopped = stopped
        self._changed.notify_all()
