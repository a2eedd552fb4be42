"""Tells listeners of committed audit records, in order, on a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Final, TypeAlias

from partywall.ledger.contract import AuditRecord

__all__ = ["Listener", "Listeners"]

Listener: TypeAlias = Callable[[AuditRecord], None]

_log: Final = logging.getLogger("partywall.ledger")
_PATIENCE: Final = 5.0
"""Seconds that closing waits for listeners to hear the last records."""


class Listeners:
    """The listeners, and the records that they have not heard yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: tuple[Listener, ...] = ()
        self._queue: SimpleQueue[Sequence[AuditRecord] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def add(self, listener: Listener) -> None:
        """Call the listener with every record that is published from now on."""
        with self._lock:
            self._listeners = (*self._listeners, listener)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="partywall-audit", daemon=True)
                self._thread.start()

    def publish(self, records: Sequence[AuditRecord]) -> None:
        """Hand over records that are committed; returns at once."""
        if records and self._listeners:
            self._queue.put(records)

    def close(self) -> None:
        """Let the listeners hear what was published, and end the thread."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            if thread is not threading.current_thread():
                thread.join(_PATIENCE)

    def _serve(self) -> None:
        for records in iter(self._queue.get, None):
            for record in records:
                for listener in self._listeners:
                    _call(listener, record)


def _call(listener: Listener, record: AuditRecord) -> None:
    try:
        listener(record)
    except Exception:  # noqa: BLE001  # the record is committed: no listener can undo it or keep it from the next one
        _log.exception("a listener failed on audit record %d (%s)", record.sequence, record.action)
