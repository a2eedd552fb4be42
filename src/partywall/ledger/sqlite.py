"""The ledger in a SQLite file: durable group commit for many threads, readable by other processes meanwhile."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final, TypeVar

from partywall.errors import LedgerError
from partywall.ledger._connection import Durability, reader, store_failures, writer
from partywall.ledger._listeners import Listeners
from partywall.ledger._readers import Readers
from partywall.ledger._schema import gone, require_readable, upgrade
from partywall.ledger._syncing import Syncing
from partywall.ledger._writer import Writer
from partywall.ledger.contract import AuditRecord, Ledger, Transaction

__all__ = ["Durability", "SqliteLedger", "open_ledger"]

T = TypeVar("T")

_SCRUB_SECONDS: Final = 10.0
"""How long a scrub waits for readers of old states, here and in other processes."""
_ATTEMPT_MS: Final = 50
"""How long one attempt of a scrub may keep writers waiting."""


def _data_version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return version


def _rewrite(connection: sqlite3.Connection) -> None:
    # secure_delete overwrites deleted cells, yet copies that rows left behind when pages were balanced stay in
    # the pages' slack (measured): only a file that is written anew holds nothing but live rows.
    connection.execute("VACUUM")


def _truncate_log(connection: sqlite3.Connection) -> bool:
    before = connection.execute("PRAGMA busy_timeout").fetchone()[0]
    connection.execute(f"PRAGMA busy_timeout = {_ATTEMPT_MS}")
    try:
        busy, pages, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {before}")
    return not busy and pages == 0


def _open_writer(path: Path, durability: Durability, listeners: Listeners, *, made_before: bool) -> Writer:
    connection = writer(path, durability)
    try:
        upgrade(connection, made_before=made_before)
        return Writer(connection, path, listeners.publish)
    except BaseException:
        connection.close()
        raise


def _require_ledger(path: Path) -> None:
    with closing(reader(path, read_only=True)) as connection:
        require_readable(connection)


class SqliteLedger(Ledger):
    """One SQLite file in WAL mode; one thread writes, any number read.

    Opening creates the file with mode 0600, or raises LedgerError when it is broken, no ledger, or newer
    than this release, or when there is none although one was ``made_before``. A ledger opened ``read_only``
    refuses ``write`` and ``scrub``. A process forked from this one must open the ledger anew.
    """

    def __init__(
        self, path: Path, *, durability: Durability = "commit", read_only: bool = False, made_before: bool = False
    ) -> None:
        self._process = os.getpid()
        self._syncing: Syncing | None = None
        self._listeners = Listeners()
        self._watch_lock = threading.Lock()
        self._watch: sqlite3.Connection | None = None
        self._writer: Writer | None = None
        if made_before and not path.exists():
            raise gone()
        with store_failures(), ExitStack() as undo:
            if read_only:
                _require_ledger(path)
                self._watch = undo.enter_context(closing(reader(path, read_only=True)))
            else:
                opened = _open_writer(path, durability, self._listeners, made_before=made_before)
                self._writer = undo.enter_context(closing(opened))
            self._readers = Readers(path, read_only=read_only)
            self._seen = self._version()
            if self._writer is not None and durability == "interval":
                self._syncing = Syncing(path, self._writer.committed)
            undo.pop_all()

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run a function in a transaction and commit it durably."""
        return self._require_writer().write(work)

    def write_soon(self, work: Callable[[Transaction], object]) -> None:
        """Have a function run in a transaction soon, and wait for nothing; also from within one."""
        self._require_writer().write_soon(work)

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run a function on one consistent state; it must not write."""
        self._require_process()
        return self._readers.read(work)

    def changed(self) -> bool:
        """Whether someone beside this object wrote since the last call."""
        self._require_process()
        with self._watch_lock, store_failures():
            before, self._seen = self._seen, self._version()
            return before != self._seen

    def on_audit(self, listener: Callable[[AuditRecord], None]) -> None:
        """Call the listener with each record that this object commits, in order, on another thread."""
        self._listeners.add(listener)

    def sync(self) -> None:
        """Put on disk what was acknowledged before; with ``durability="commit"`` it is there already."""
        self._require_writer()
        if self._syncing is not None:
            self._syncing.sync()

    def scrub(self) -> None:
        """Rewrite the file and truncate its log; LedgerError while a reader keeps an old state for 10 s."""
        writer = self._require_writer()
        deadline = time.monotonic() + _SCRUB_SECONDS
        with store_failures():
            writer.outside(_rewrite)
            while not writer.outside(_truncate_log):
                if time.monotonic() > deadline:
                    raise LedgerError("the ledger could not be scrubbed: a reader still holds an old state; try again")
                time.sleep(_ATTEMPT_MS / 1000)

    def close(self) -> None:
        """Commit what waits and let go of the file; the ledger then refuses everything."""
        self._require_process()
        if self._syncing is not None:
            self._syncing.stop()
        if self._writer is not None:
            self._writer.close()
        self._listeners.close()
        self._readers.close()
        with self._watch_lock:
            if self._watch is not None:
                self._watch.close()

    def _version(self) -> int:
        # On the connection that writes: its own commits don't count there, only everybody else's.
        if self._watch is not None:
            return _data_version(self._watch)
        return self._require_writer().outside(_data_version)

    def _require_process(self) -> None:
        if os.getpid() != self._process:
            raise LedgerError("the ledger was opened by the parent process; open it again in this one")

    def _require_writer(self) -> Writer:
        self._require_process()
        if self._writer is None:
            raise LedgerError("the ledger was opened for reading only")
        return self._writer


def open_ledger(
    path: Path, *, durability: Durability = "commit", read_only: bool = False, made_before: bool = False
) -> Ledger:
    """The ledger in the file, which is created unless it is opened for reading only or was ``made_before``."""
    return SqliteLedger(path, durability=durability, read_only=read_only, made_before=made_before)
