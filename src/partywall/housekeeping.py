"""What the engine does by itself: queued commands, stores' upkeep, purges that are due, telling plugins."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

from partywall.clock import Clock

__all__ = ["Announcer", "Housekeeper"]

_log: Final = logging.getLogger("partywall.housekeeping")
_TICK: Final = 0.1
"""Seconds between two looks; a command of another process waits about this long."""
_PATIENCE: Final = 5.0
"""Seconds that closing waits for plugins to hear the last news."""


class Housekeeper:
    """A thread that runs each chore when it is due; a chore that fails is logged and tried again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._chores: list[tuple[str, float, Callable[[], object]]] = []
        self._due: dict[str, float] = {}
        self._failing: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="partywall-housekeeping", daemon=True)

    def add(self, name: str, every: float, chore: Callable[[], object]) -> None:
        """Run the chore every so many seconds."""
        self._chores.append((name, every, chore))

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the chore that is under way."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_TICK):
            for name, every, chore in self._chores:
                if self._clock.monotonic() >= self._due.get(name, 0.0) and not self._stopping.is_set():
                    self._due[name] = self._clock.monotonic() + every
                    self._attempt(name, chore)

    def _attempt(self, name: str, chore: Callable[[], object]) -> None:
        try:
            chore()
        except Exception:  # noqa: BLE001  # whatever fails, the other chores go on
            if name not in self._failing:
                _log.exception("%s failed; it is tried again", name)
            self._failing.add(name)
        else:
            self._failing.discard(name)


class Announcer:
    """Tells plugins, in order, on a thread of its own: a plugin may call the engine, and waits for nobody's lock."""

    def __init__(self) -> None:
        self._news: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def tell(self, telling: Callable[[], object]) -> None:
        """Call the function soon; what it raises is logged."""
        with self._lock:
            self._news.put(telling)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="partywall-news", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Let plugins hear what was to be told, and end the thread."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._news.put(None)
            if thread is not threading.current_thread():
                thread.join(_PATIENCE)

    def _run(self) -> None:
        for telling in iter(self._news.get, None):
            try:
                telling()
            except Exception:  # noqa: BLE001  # a plugin's failure is its own
                _log.exception("a plugin failed on news")
