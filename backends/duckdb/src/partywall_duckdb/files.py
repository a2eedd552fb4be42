"""The files of one store, and what a crash may leave beside them.

    shard-07.duckdb              the rows
    shard-07.duckdb.wal          what was committed since the last checkpoint
    shard-07.duckdb.guard        a copy from before a checkpoint; there only while one runs, or after a crash in it
    shard-07.duckdb.guard.part   such a copy, unfinished
    shard-07.duckdb.new          the next version of the file, being built
    shard-07.duckdb.next         the next version, complete: it replaces the file and everything beside it

Closing *any* descriptor of a file drops every POSIX lock that the process holds on it, and with them
DuckDB's. So the file is opened here before DuckDB opens it, copied through that descriptor alone, and the
descriptor is closed only once DuckDB has let the file go.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from pathlib import Path
from typing import Final

__all__ = ["StoreFiles", "Unusable", "sync_folder"]

_LOGS: Final = (".wal", ".wal.checkpoint", ".wal.recovery")
_CHUNK: Final = 4 * 1024 * 1024
_LOG_START: Final = b"d\x00b"
"""How a write-ahead log of this DuckDB begins. It takes a log that begins otherwise for an empty one, in silence."""


class Unusable(Exception):
    """The files cannot be used as they are; the text is for operators."""


class StoreFiles:
    """Everything that stands in the folder for one store."""

    def __init__(self, folder: Path, name: str, *, root: Path | None = None) -> None:
        """``root`` is an existing folder above; those between it and ``folder`` are made when they are needed."""
        self.main = folder / f"{name}.duckdb"
        self.new = self._beside(".new")
        self._folder = folder
        between = [] if root is None else [folder, *folder.parents]
        self._between = [each for each in reversed(between) if root in each.parents]
        self._next = self._beside(".next")
        self._guard = self._beside(".guard")
        self._part = self._beside(".guard.part")
        self._logs = [self._beside(log) for log in _LOGS]
        self._held: int | None = None

    def settle(self) -> bool:
        """Bring what a crash left into order, before DuckDB sees it; returns whether the store is there.

        It is there as a file, or as a guard copy with its log, which ``restore`` makes into one.
        Raises Unusable for a symbolic link, a log that is not one, or a log or guard copy without its file.
        """
        for each in self._between:
            _require_folder(each)
        for path in self._all():
            _require_plain(path)
        self._remove(self._part, *self._building())
        if self._next.exists():
            self.adopt()
        _require_log(self._logs[0])
        if self.main.exists() or self.restorable():
            return True
        if self._guard.exists() or any(log.exists() for log in self._logs):
            raise Unusable("its file is missing, and what belongs to it is still there")
        return False

    def prepare(self) -> None:
        """Make the folders that are not there yet."""
        for each in self._between:
            if not each.exists():
                each.mkdir(mode=0o700, exist_ok=True)
                sync_folder(each.parent)
            _require_folder(each)

    def hold(self) -> None:
        """Open the file, before DuckDB does. Unusable when another process has it."""
        held = os.open(self.main, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(held)
            raise Unusable("another process has its file open") from None
        self._held = held

    def release(self) -> None:
        """Close the file, after DuckDB did."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def in_place(self) -> bool:
        """Whether the file that is held still stands under its name, and its log is no link."""
        try:
            found = self.main.lstat()
        except FileNotFoundError:
            return False
        links = [each for each in (*self._between, self._logs[0]) if each.is_symlink()]
        return self._held is not None and _same(found, os.fstat(self._held)) and not links

    def log_size(self) -> int:
        """Bytes in the write-ahead log."""
        return _size(self._logs[0])

    def guard(self) -> None:
        """Copy the file, on disk when this returns. Nobody may write to the store meanwhile."""
        if self._held is None:
            raise Unusable("its file is not held")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        part = os.open(self._part, flags, 0o600)
        try:
            _copy(self._held, part)
            os.fsync(part)
        except OSError:
            self._remove(self._part)
            raise
        finally:
            os.close(part)
        self._part.replace(self._guard)
        sync_folder(self._folder)

    def guarded(self) -> bool:
        """Whether a guard copy is there."""
        return self._guard.exists()

    def unguard(self) -> None:
        """Remove the guard copy, on disk when this returns."""
        self._remove(self._guard)
        sync_folder(self._folder)

    def restorable(self) -> bool:
        """Whether guard copy and log are there: together they are everything that was committed.

        Without its log the copy may be older than what was acknowledged, and is never used.
        """
        return self._guard.exists() and any(_size(log) for log in self._logs)

    def restore(self) -> None:
        """Put the guard copy in the file's place; the log stays. DuckDB must not have the file open."""
        self._guard.replace(self.main)
        sync_folder(self._folder)

    def finish(self) -> None:
        """Declare the new version complete: from here on it is the store. DuckDB must have neither file open."""
        if _size(self._building()[1]):
            raise Unusable("the new version of its file is not complete")
        fresh = os.open(self.new, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(fresh)
        finally:
            os.close(fresh)
        self.new.replace(self._next)
        sync_folder(self._folder)

    def adopt(self) -> None:
        """Let the complete new version replace the file and everything beside it; repeating it is no error."""
        self._remove(self._guard, self._part, *self._logs, *self._building())
        sync_folder(self._folder)
        self._next.replace(self.main)
        sync_folder(self._folder)

    def discard(self) -> None:
        """Remove a new version that is not complete."""
        self._remove(*self._building())

    def destroy(self) -> None:
        """Remove everything; after a crash in between, repeat it. DuckDB must have let the file go."""
        self._remove(*(path for path in self._all() if path != self.main))
        sync_folder(self._folder)
        self._remove(self.main)
        sync_folder(self._folder)

    def _beside(self, ending: str) -> Path:
        return self.main.with_name(self.main.name + ending)

    def _building(self) -> list[Path]:
        return [self.new, *(self._beside(f".new{log}") for log in _LOGS)]

    def _all(self) -> list[Path]:
        return [self.main, self._next, self._guard, self._part, *self._logs, *self._building()]

    def _remove(self, *paths: Path) -> None:
        for path in paths:
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames and removals in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _require_plain(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(path.lstat().st_mode):
            raise Unusable(f"{path.name} is a link or no file at all")


def _require_folder(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISDIR(path.lstat().st_mode):
            raise Unusable(f"{path.name} is a link or no folder at all")


def _require_log(log: Path) -> None:
    if not _size(log):
        return
    with log.open("rb") as opened:
        start = opened.read(_CHUNK)
    # All zeros is what a power failure leaves of a first commit that was never acknowledged.
    if not start.startswith(_LOG_START[: len(start)]) and any(start):
        raise Unusable("its write-ahead log is damaged")


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def _copy(source: int, target: int) -> None:
    offset = 0
    while chunk := os.pread(source, _CHUNK, offset):
        written = 0
        while written < len(chunk):
            written += os.write(target, chunk[written:])
        offset += len(chunk)
