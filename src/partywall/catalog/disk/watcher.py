"""Noticing edits: events for speed, a sweep for truth, and a supervisor that keeps both going.

The handler of events only adds names to a set: an exception there would end watchdog's thread for good,
and its queue loses events when a burst is handled slowly. One worker thread reads what events tell of; another
looks at every file from time to time, so that with very many files no edit waits for that.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from partywall.catalog.disk.reader import FIXED, Folder, counts

__all__ = ["Target", "Watcher"]

_log = logging.getLogger("partywall.catalog")
_EVENTS: Final[list[type[FileSystemEvent]]] = [
    FileClosedEvent,
    FileMovedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    DirMovedEvent,
    DirCreatedEvent,
    DirDeletedEvent,
]
_LINKS: Final = ("tenancy", "tenants")
"""What may be a link to a release."""
CREATED_SECONDS: Final = 0.03
"""A file that appears may still be written; one that is linked or renamed into place tells nothing more."""
QUIET_SECONDS: Final = 0.1
BURST_SECONDS: Final = 2.0
BURST_FILES: Final = 16
DEAD_SWEEP_SECONDS: Final = 1.0
_REST: Final = 9
"""So many times as long as a look at very many files takes, nobody looks at them all again."""


@dataclass(frozen=True, slots=True)
class Target:
    """What the watcher drives: the catalog."""

    look: Callable[[set[str]], set[str]]
    """Read these files now and publish; returns those to be looked at again soon."""
    sweep: Callable[[bool], bool]
    """Look at every file; True when some has not settled yet. Given true, it waits longer for a file to settle."""
    next_expiry: Callable[[], float | None]
    """Seconds until a vanished file's grace ends."""


class _Dirty(FileSystemEventHandler):
    """Turns events into keys that are due, each at its moment."""

    def __init__(self, folder: Path, prefix: str, wake: Callable[[str | None, float], None]) -> None:
        self._folder = os.fspath(folder)
        self._prefix = prefix
        self._wake = wake

    def dispatch(self, event: FileSystemEvent) -> None:
        try:
            delay = CREATED_SECONDS if isinstance(event, FileCreatedEvent) else 0.0
            for path in (event.src_path, event.dest_path):
                if path:
                    self._path(os.fsdecode(path), delay)
        except Exception:  # noqa: BLE001  # it would end the thread for good
            _log.exception("an event of the catalog's folder was not understood; the sweep will see the file")
            self._wake(None, 0.0)

    def _path(self, path: str, delay: float) -> None:
        parent, name = os.path.split(path)
        if parent != self._folder or name.startswith("..") or name in _LINKS:
            # The folder itself, a swapped release directory or link to one: anything may have changed.
            self._wake(None, delay)
        elif self._prefix and counts(name):
            self._wake(self._prefix + name, delay)
        elif not self._prefix and name in FIXED:
            self._wake(name, delay)


class _Overflow(logging.Handler):
    """Hears watchdog say that events were lost; it says so nowhere else."""

    def __init__(self, wake: Callable[[str | None, float], None]) -> None:
        super().__init__(logging.WARNING)
        self._wake = wake

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage():
            self._wake(None, 0.0)


class Watcher:
    """The observer, and the worker thread that acts on what it sees."""

    def __init__(self, folder: Folder, target: Target, sweep_seconds: float) -> None:
        self._folder = folder
        self._target = target
        self._sweep_seconds = sweep_seconds
        self._condition = threading.Condition()
        self._due: dict[str, float] = {}
        self._first_due = 0.0
        self._last_event = 0.0
        self._recent: list[float] = []
        self._next_sweep = 0.0
        self._swapped = False
        self._closing = False
        self._observer: Any = None
        self._watched: tuple[object, ...] = ()
        self._overflow = _Overflow(self._wake)
        self._threads = (
            threading.Thread(target=self._run, args=(self._look_once,), name="partywall-catalog", daemon=True),
            threading.Thread(target=self._run, args=(self._sweep_once,), name="partywall-sweep", daemon=True),
        )

    @property
    def events(self) -> bool:
        """Whether events arrive; without them, sweeps come every second."""
        observer = self._observer
        return observer is not None and observer.is_alive() and all(part.is_alive() for part in observer.emitters)

    def start(self) -> None:
        """Watch from now on."""
        logging.getLogger("watchdog.observers.inotify_c").addHandler(self._overflow)
        self._observe()
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop the threads and wait for them, unless called from one of them."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        for thread in self._threads:
            if thread.is_alive() and threading.current_thread() is not thread:
                thread.join(timeout=30)
        self._stop_observer()
        logging.getLogger("watchdog.observers.inotify_c").removeHandler(self._overflow)

    def _wake(self, key: str | None, delay: float) -> None:
        now = time.monotonic()
        with self._condition:
            if key is None:
                self._swapped = True
                self._next_sweep = min(self._next_sweep, now + delay)
            else:
                if not self._due:
                    self._first_due = now
                self._due[key] = max(now + delay, self._due.get(key, 0.0)) if delay else now
                self._last_event = now
            self._condition.notify_all()

    def _places(self) -> list[tuple[Path, str]]:
        pairs = ((self._folder.tenancy.parent, ""), (self._folder.tenancy, ""), (self._folder.tenants, "tenants/"))
        return [(folder.resolve(), prefix) for folder, prefix in pairs if folder.is_dir()]

    def _observe(self) -> None:
        """Watch the real folders; when the system has no watches left, sweeps alone go on."""
        self._stop_observer()
        try:
            self._watched = self._folder.place()
            observer = self._observer = Observer()
            for folder, prefix in self._places():
                handler = _Dirty(folder, prefix, self._wake)
                observer.schedule(handler, os.fspath(folder), recursive=False, event_filter=_EVENTS)
            observer.start()
        except Exception as error:  # noqa: BLE001  # whatever the system lacks, the sweep does without
            _log.warning("edits are found by looking every second, because watching failed: %s", error)
            self._stop_observer()

    def _stop_observer(self) -> None:
        observer, self._observer = self._observer, None
        if observer is not None:
            _stop(observer)

    def _run(self, once: Callable[[], None]) -> None:
        while not self._closing:
            try:
                once()
            except Exception:  # noqa: BLE001  # the thread lives as long as the catalog
                _log.exception("reloading failed; what is in force stays, and the next look tries again")
                self._plan_sweep(time.monotonic() + DEAD_SWEEP_SECONDS)

    def _look_once(self) -> None:
        """Sleep until files are due, and read them."""
        with self._condition:
            while (moment := self._moment(now := time.monotonic())) > now:
                self._condition.wait(min(moment - now, threading.TIMEOUT_MAX))
                if self._closing:
                    return
            keys = {key for key, due in self._due.items() if due <= now}
            for key in keys:
                del self._due[key]
        if keys:
            self._look(keys)

    def _sweep_once(self) -> None:
        """Sleep until every file is to be looked at, and do so."""
        with self._condition:
            while self._next_sweep > (now := time.monotonic()):
                self._condition.wait(min(self._next_sweep - now, threading.TIMEOUT_MAX))
                if self._closing:
                    return
            self._next_sweep = float("inf")
        self._sweep()

    def _moment(self, now: float) -> float:
        """When the next files are to be read: at once, or, in a burst, when it is over or goes on for too long."""
        if not self._due:
            return float("inf")
        due = min(self._due.values())
        self._recent = [moment for moment in self._recent if moment > now - QUIET_SECONDS]
        if len(self._due) + len(self._recent) <= BURST_FILES:
            return due
        return max(due, min(self._last_event + QUIET_SECONDS, self._first_due + BURST_SECONDS))

    def _look(self, keys: set[str]) -> None:
        self._recent += [time.monotonic()] * len(keys)
        for key in self._target.look(keys):
            self._wake(key, QUIET_SECONDS)
        self._plan_sweep(self._expiry())

    def _sweep(self) -> None:
        begun = time.monotonic()
        moved = self._watched != self._folder.place()
        if not self.events or moved:
            self._observe()
        # What a swapped link brings was finished before, so it need not rest for long.
        self._swapped |= moved
        alive = self.events
        restless = self._target.sweep(alive and not self._swapped)
        self._swapped &= restless
        seconds = self._sweep_seconds if alive else min(self._sweep_seconds, DEAD_SWEEP_SECONDS)
        pause = min(seconds, QUIET_SECONDS) if restless else seconds
        now = time.monotonic()
        self._plan_sweep(min(now + max(pause, _REST * (now - begun)), self._expiry()))

    def _expiry(self) -> float:
        seconds = self._target.next_expiry()
        return float("inf") if seconds is None else time.monotonic() + max(seconds, 0.01)

    def _plan_sweep(self, moment: float) -> None:
        with self._condition:
            self._next_sweep = min(self._next_sweep, moment)
            self._condition.notify_all()


def _stop(observer: Any) -> None:
    try:
        if observer.ident is not None:
            observer.stop()
            observer.join(timeout=10)
        else:
            for emitter in observer.emitters:
                emitter.stop()
    except Exception:  # noqa: BLE001  # there is nothing more to stop
        _log.exception("an observer did not stop cleanly")
