"""The data folder: where things lie in it, and the one engine process that owns it."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from pathlib import Path
from typing import Final

from partywall.errors import ConfigError, DataFolderInUse

__all__ = ["DataFolder"]

_LOCK: Final = "engine.lock"
_KEY_BYTES: Final = 32
_ATTEMPTS: Final = 5
_PAUSE: Final = 0.01
"""Seconds between two attempts to become the owner."""


class DataFolder:
    """The paths below one ``orchestrator-data`` folder, and its lock."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).absolute()
        self._lock: int | None = None

    @property
    def tenancy(self) -> Path:
        """The files that operators edit."""
        return self.root / "system" / "tenancy"

    @property
    def var(self) -> Path:
        """What the engine keeps: ledger, last-good files, tenants' data."""
        return self.root / "var"

    @property
    def ledger(self) -> Path:
        """The ledger's file."""
        return self.var / "ledger.sqlite"

    @property
    def opened_before(self) -> bool:
        """Whether an engine was open here, so that there must be a ledger: the keys are made after it."""
        return any(self.var.glob("*.key"))

    def require(self) -> None:
        """Raise ConfigError, saying what to do, unless the folder holds tenancy files."""
        if not self.tenancy.is_dir():
            raise ConfigError(f"{self.tenancy} is not a folder; make one with: partywall init {self.root}")

    def own(self) -> None:
        """Become the one engine of this folder; DataFolderInUse names the pid of the one that is."""
        self.require()
        self.var.mkdir(mode=0o700, exist_ok=True)
        # The descriptor stays open as long as the engine lives: the lock goes with it, also on a kill.
        lock = os.open(self.var / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _locked(lock):
            pid = _pid(lock)
            os.close(lock)
            raise DataFolderInUse(f"another engine (pid {pid or 'unknown'}) owns {self.root}", pid=pid)
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        self._lock = lock

    def owner(self) -> int | None:
        """The pid of the engine that owns the folder now; None when none does."""
        try:
            lock = os.open(self.var / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _pid(lock)
        finally:
            os.close(lock)
        return None

    def secret(self, name: str) -> bytes:
        """32 random bytes that belong to this folder, made when first asked for; readable by its owner alone."""
        path = self.var / f"{name}.key"
        key = path.read_bytes() if path.exists() else b""
        if len(key) != _KEY_BYTES:
            key = secrets.token_bytes(_KEY_BYTES)
            made = path.with_suffix(".new")
            made.unlink(missing_ok=True)
            descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(key)
                file.flush()
                os.fsync(file.fileno())
            made.replace(path)
        return key

    def release(self) -> None:
        """Let another engine own the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _locked(lock: int) -> bool:
    # Whoever asks for the owner holds a shared lock for a moment: that is no engine.
    for _ in range(_ATTEMPTS):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE)
        else:
            return True
    return False


def _pid(lock: int) -> int | None:
    text = os.pread(lock, 32, 0)
    return int(text) if text.isdigit() else None
