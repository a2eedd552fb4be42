"""``durability: interval``: commits don't wait for the disk, and the log is put there every second."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from partywall.ledger._connection import store_failures

__all__ = ["Syncing"]

_log: Final = logging.getLogger("partywall.ledger")
_SECONDS: Final = 1.0
"""The most that a machine that fails takes with it, beside what the disk itself had promised."""


class Syncing:
    """A thread that syncs the write-ahead log when something was committed since the last time."""

    def __init__(self, path: Path, commits: Callable[[], int]) -> None:
        self._path = path.with_name(f"{path.name}-wal")
        self._commits = commits
        self._stopping = threading.Event()
        self._failing = False
        self.synced = 0
        """The number of commits that are on disk for certain."""
        self._thread = threading.Thread(target=self._run, name="partywall-ledger-sync", daemon=True)
        self._thread.start()

    def sync(self) -> None:
        """Put on disk what was committed before; LedgerError when the disk refuses."""
        commits = self._commits()
        if commits == self.synced:
            return
        with store_failures():
            # SQLite's locks are on the file itself and on -shm: closing a descriptor of the log drops none.
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        self.synced = commits

    def stop(self) -> None:
        """End the thread; closing the connections puts the rest on disk."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_SECONDS):
            try:
                self.sync()
                self._failing = False
            except Exception:  # noqa: BLE001  # whatever fails, it is tried again
                if not self._failing:
                    _log.exception("the ledger's log could not be put on disk; it is tried again")
                self._failing = True
