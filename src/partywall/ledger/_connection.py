"""Connections to the ledger's file, and what their failures are called.

Nothing but SQLite may open the file: closing any descriptor of it in this process would silently drop
the locks that SQLite holds on it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Literal

from partywall.errors import LedgerError

__all__ = ["BUSY_SECONDS", "Durability", "failure", "identity", "log_identity", "reader", "store_failures", "writer"]

Durability = Literal["commit", "interval"]
"""``commit``: every acknowledged write survives a power cut; ``interval``: only those before the last ``sync``."""

BUSY_SECONDS: Final = 5.0
"""How long a connection waits for another process's lock."""

_SYNCHRONOUS: Final = {"commit": "FULL", "interval": "NORMAL"}
_LOG_BYTES: Final = 16_000_000
_creating: Final = threading.RLock()


def failure(cause: BaseException) -> LedgerError:
    """The uniform error for a store that failed: no path and no store text, the original as its cause."""
    error = LedgerError("the ledger failed; nothing was written")
    error.__cause__ = cause
    return error


@contextmanager
def store_failures() -> Iterator[None]:
    """Turn what SQLite and the file system raise into the uniform LedgerError."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise failure(error) from error


def identity(path: Path) -> tuple[int, int, bool]:
    """Which file stands at the path and whether it holds anything, without opening it; OSError when none does."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size > 0


def log_identity(log: Path) -> tuple[int, int] | None:
    """Which file stands in the place of the write-ahead log; None when none does."""
    try:
        found = log.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _create(path: Path) -> None:
    # SQLite would create it with the process's umask; -wal and -shm get the mode of this file. The lock keeps
    # any connection of ours from being open on the file while this descriptor closes.
    with _creating, suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


def _use_log(connection: sqlite3.Connection) -> None:
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError:
            # Two processes that create the ledger at once: SQLite answers this switch without waiting for the lock.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
            continue
        if mode != "wal":
            raise LedgerError("the ledger's disk does not support a write-ahead log; use a local file system")
        return


@contextmanager
def _closed_on_failure(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


def writer(path: Path, durability: Durability) -> sqlite3.Connection:
    """The connection that writes; creates the file when there is none."""
    _create(path)
    connection = _connect(path, "rw")
    with _closed_on_failure(connection):
        connection.execute("PRAGMA user_version").fetchone()
        _use_log(connection)
        connection.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[durability]}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    return connection


def reader(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """A connection that cannot write; ``read_only`` opens the file itself so, for a reader without the right to."""
    with _creating:
        connection = _connect(path, "ro" if read_only else "rw")
    with _closed_on_failure(connection):
        connection.execute("PRAGMA query_only = ON")
    return connection
