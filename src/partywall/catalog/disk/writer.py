"""Writing files next to people who edit them: whole or not at all, and never over an edit that was not seen."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import glob
import logging
import os
import re
import secrets
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from partywall.catalog.disk.owners import hand_over
from partywall.catalog.disk.reader import being_written, digest_of
from partywall.errors import ConfigError, TenantConflict

__all__ = ["create", "read_only", "recover", "remove", "replace", "writable"]

_log = logging.getLogger("partywall.catalog")
_UNFINISHED: Final = re.compile(r"\..+\.[0-9a-f]{12}\.new")
_DISPLACED: Final = re.compile(r"\.(?P<name>.+)\.(?P<expected>[0-9a-f]{12})\.(?P<placed>[0-9a-f]{12})\.tmp")
_NAME_BYTES: Final = 200
"""A file system takes 255, and the names beside a file's own are longer."""
_SHORT: Final = 12
_PATIENCE: Final = 2.0
"""Seconds that somebody may take to finish saving a file that is to be replaced, or was."""
_PAUSE: Final = 0.005
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
_NEW: Final = 0o644
_NO_WRITE: Final = (errno.EACCES, errno.EPERM, errno.EROFS)


def read_only(what: str) -> ConfigError:
    """The error for a source that may not be written."""
    return ConfigError(f"read-only source: {what} cannot be written; edit it where it comes from")


@contextmanager
def _writing(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_WRITE:
            raise read_only(what) from None
        raise ConfigError(f"{what} could not be written: {error.strerror}") from None


def _require_writable(path: Path) -> None:
    # Root may write anywhere; a mode without any write permission says all the same that nobody is meant to.
    if not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(errno.EACCES, "the mode says read-only")


@cache
def _renameat2() -> Callable[[Path, Path], bool] | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None
    call.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]

    def exchange(left: Path, right: Path) -> bool:
        return bool(call(_AT_FDCWD, os.fsencode(left), _AT_FDCWD, os.fsencode(right), _RENAME_EXCHANGE) == 0)

    return exchange


def _exchange(left: Path, right: Path) -> bool:
    """Swap two files in one step; False where the system or the file system cannot."""
    call = _renameat2()
    return call is not None and call(left, right)


def writable(path: Path) -> bool:
    """Whether ``replace`` may write the file, as far as modes and mounts tell."""
    target = path.resolve()
    try:
        _require_writable(target)
        _require_writable(target.parent)
    except OSError:
        return False
    return os.access(target.parent, os.W_OK)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _short(name: str) -> str:
    """A file's name as those beside it have it: cut, and told apart by a digest, where theirs would be too long."""
    raw = os.fsencode(name)
    return name if len(raw) <= _NAME_BYTES else f"{raw[:_NAME_BYTES].decode(errors='ignore')}~{digest_of(raw)[:_SHORT]}"


def _write_temporary(target: Path, raw: bytes, was: os.stat_result | None = None) -> Path:
    """A finished file beside the target: to replace the one that was there, or a new one for everybody to read."""
    _require_writable(target.parent)
    temporary = target.with_name(f".{_short(target.name)}.{secrets.token_hex(6)}.new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            if was is None:
                os.fchmod(file.fileno(), _NEW)
            else:
                hand_over(file.fileno(), target, was)
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def replace(path: Path, expected: str, raw: bytes, *, patience: float = _PATIENCE) -> bool:
    """Put new bytes in place of those with the expected digest; False, and no change, when others are there.

    Who has the file open for writing is waited for, because what they write goes to the file that they opened; after
    ``patience`` seconds TenantConflict, and no change. The file that is displaced is looked at after the swap: an edit
    that came in between is put back. A kill in between leaves it beside the file, from where ``recover`` puts it back.
    """
    target = path.resolve()
    with _writing(path.name):
        try:
            was = target.stat()
            _require_writable(target)
            found = _settled(target, patience)
        except FileNotFoundError:
            return False
        if found is None:
            raise _busy(path.name)
        if found != expected:
            return False
        placed = digest_of(raw)
        temporary = _write_temporary(target, raw, was)
        beside = target.with_name(f".{_short(target.name)}.{expected[:_SHORT]}.{placed[:_SHORT]}.tmp")
        temporary.replace(beside)
        done = _swap(beside, target, expected, placed)
        beside.unlink(missing_ok=True)
        _sync_folder(target.parent)
    if done is None:
        raise _busy(path.name)
    return done


def _busy(name: str) -> TenantConflict:
    return TenantConflict(f"{name} is open for writing in another program; nothing was changed: close it there first")


def _swap(beside: Path, target: Path, expected: str, placed: str) -> bool | None:
    """Whether the file with the expected digest was replaced; None when somebody did not stop writing to it."""
    if not target.exists() or digest_of(target.read_bytes()) != expected:
        return False
    if not _exchange(beside, target):
        beside.replace(target)
        return True
    displaced = _settled(beside)
    if displaced == expected:
        return True
    _put_back(beside, target, displaced, placed)
    return None if displaced is None else False


def _put_back(beside: Path, target: Path, displaced: str | None, placed: str) -> None:
    """Put back what was displaced. Whatever comes out that isn't what went in is a newer edit, and goes back too.

    What somebody still writes to is nobody's to drop: of two such files one is set aside.
    """
    there: str | None = placed
    while _exchange(beside, target):
        pulled = _settled(beside)
        if pulled is not None and pulled == there:
            return
        if pulled is None or there is None:
            break
        there, displaced = displaced, pulled
    _set_aside(beside, target)


def _set_aside(beside: Path, target: Path) -> None:
    number = 1
    while (aside := target.with_name(f"{_short(target.name)}.conflict{number}")).exists():
        number += 1
    beside.replace(aside)
    _log.warning("%s was saved twice while the engine edited it; the earlier save is in %s", target.name, aside.name)


def _settled(path: Path, patience: float = _PATIENCE) -> str | None:
    """The digest of a file once nobody has it open for writing; None when somebody does for too long."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        until = time.monotonic() + patience
        # However old its last change: a shell opens a file to append to it long before it writes.
        while being_written(handle):
            if time.monotonic() > until:
                return None
            time.sleep(_PAUSE)
        return digest_of(path.read_bytes())
    finally:
        os.close(handle)


def create(folder: Path, label: str, raw: bytes) -> str:
    """Write a new file ``<label>.yaml``, or ``<label>-2.yaml`` and so on; returns the name that was free."""
    with _writing(f"{label}.yaml"):
        if not folder.exists():
            _require_writable(folder.parent)
            folder.mkdir()
        real = folder.resolve()
        temporary = _write_temporary(real / f"{label}.yaml", raw)
        try:
            name = _link(temporary, real, label)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(real)
        return name


def _link(temporary: Path, folder: Path, label: str) -> str:
    number = 1
    while True:
        name = f"{label}.yaml" if number == 1 else f"{label}-{number}.yaml"
        with contextlib.suppress(FileExistsError):
            # A link, because a rename would replace a file that somebody made a moment ago.
            (folder / name).hardlink_to(temporary)
            return name
        number += 1


def remove(path: Path) -> None:
    """Remove a file, and the saves of it that had to be set aside; one that is gone already is fine."""
    with _writing(path.name):
        _require_writable(path.parent)
        for each in (path, *path.parent.glob(f"{glob.escape(_short(path.name))}.conflict*")):
            each.unlink(missing_ok=True)
        _sync_folder(path.parent)


def recover(folder: Path) -> bool:
    """Finish what a killed engine was writing: True when somebody's save was put back in its place.

    What was never in force is removed: a tenant's words would stay there after its purge.
    """
    put_back = False
    with contextlib.suppress(OSError):
        real = folder.resolve()
        names = sorted(path.name for path in real.iterdir())
        long = {short: name for name in names if (short := _short(name)) != name}
        for name in names:
            with contextlib.suppress(OSError):
                if _UNFINISHED.fullmatch(name):
                    (real / name).unlink()
                elif displaced := _DISPLACED.fullmatch(name):
                    target = real / long.get(displaced["name"], displaced["name"])
                    put_back |= _recover(real / name, target, displaced.groups()[1:])
    return put_back


def _recover(beside: Path, target: Path, known: tuple[str, ...]) -> bool:
    digest = _settled(beside)
    if digest is not None and digest[:_SHORT] in known:
        beside.unlink()
        return False
    _, placed = known
    if target.exists() and (_settled(target) or "")[:_SHORT] == placed:
        beside.replace(target)
        return True
    _set_aside(beside, target)
    return False
