"""The catalog's folder on disk: which files count, and reading one of them whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from struct import Struct
from typing import Final, TypeAlias

from partywall.catalog.text.document import MAX_BYTES

__all__ = [
    "ENGINE",
    "PLANS",
    "TABLES",
    "UNSEEN",
    "Folder",
    "Read",
    "Signature",
    "Unreadable",
    "Unstable",
    "being_written",
    "counts",
    "digest_of",
    "modified_at",
]

ENGINE: Final = "engine.yaml"
PLANS: Final = "plans.yaml"
TABLES: Final = "tables.yaml"
FIXED: Final = (ENGINE, PLANS, TABLES)
_WRITER_SECONDS: Final = 10.0
"""Who keeps a file open and writes nothing for longer than this is not saving it."""

Signature: TypeAlias = bytes
"""Modification and change time, size, inode, packed: when none differs, the file was not touched."""
UNSEEN: Final[Signature] = bytes(32)
"""Of what was not read from a file, or cannot be looked at."""
_SIGNATURE: Final = Struct("<qqqQ")
_MOST_LINKED: Final = 32
"""Files that are linked into more folders than this are of no one release."""
_LINKS: Final = 40
"""The most links, one to another, that Linux follows."""
_GRAIN_SECONDS: Final = 0.05
"""Two writes within less may leave a file with the same times."""


class Unreadable(Exception):  # says what the file is
    """The file is there and cannot be read; the text says why, without its path."""


class Unstable(Exception):  # says what the file is
    """The file changed while it was read; try again soon."""


@dataclass(frozen=True, slots=True)
class Read:
    """The bytes of one file, as they stood at one moment."""

    raw: bytes
    digest: str
    signature: Signature
    settled: bool = False
    """Whether every later write will show in the signature."""

    @property
    def modified_at(self) -> float:
        """When its bytes were last written, in seconds since the epoch, by the disk's clock."""
        return modified_at(self.signature)

    @property
    def placed_at(self) -> float:
        """When it came to its place, or was written there."""
        return float(_SIGNATURE.unpack(self.signature)[1]) / 1e9


def digest_of(raw: bytes) -> str:
    """The digest by which contents are compared."""
    return blake2b(raw, digest_size=16).hexdigest()


def signature_of(status: os.stat_result) -> Signature:
    """What a look at the file, without reading it, can tell."""
    return _SIGNATURE.pack(status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)


def modified_at(signature: Signature) -> float:
    """When the file was last written, in seconds since the epoch, by the disk's clock."""
    return float(_SIGNATURE.unpack(signature)[0]) / 1e9


def counts(name: str) -> bool:
    """Whether a file of this name in ``tenants/`` declares a tenant."""
    return name.endswith((".yaml", ".yml")) and not name.startswith(".") and _is_text(name)


def misnamed(name: str) -> bool:
    """Whether a file of this name would count if its suffix were in lower case."""
    return not counts(name) and counts(name.lower())


def _is_text(name: str) -> bool:
    """Whether the name is well-formed in UTF-8, so that it can be told of and kept."""
    try:
        return name.isascii() or bool(name.encode())
    except UnicodeEncodeError:
        return False


class Folder:
    """The folder ``<root>/system/tenancy``; a key is a file's path in it, such as ``tenants/acme.yaml``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tenancy = root / "system" / "tenancy"
        self.tenants = self.tenancy / "tenants"
        self.var = root / "var"
        self.cache = self.var / "catalog.sqlite"
        self._beyond: frozenset[str] = frozenset()  # the folders that linked files lead into
        self.illegible: tuple[str, ...] = ()
        """Names in ``tenants/`` that are not text, as of the last scan."""
        self.misnamed: tuple[str, ...] = ()
        """Names in ``tenants/`` whose suffix is not in lower case, as of the last scan."""

    def label(self, key: str) -> str:
        """The file's name in problems: its path in the data folder."""
        return f"system/tenancy/{key}"

    def path(self, key: str) -> Path:
        """Where the file is."""
        return self.tenancy / key

    def scan(self) -> dict[str, Signature]:
        """Every file that counts, by key. OSError when a folder is there and cannot be listed."""
        return dict(self.entries())

    def entries(self) -> Iterator[tuple[str, Signature]]:
        """Every file that counts, with its key. OSError when a folder is there and cannot be listed."""
        links = [path for key in FIXED if (path := self.path(key)).is_symlink()]
        for key in FIXED:
            signature = self.look(key)
            if signature is not None:
                yield key, signature
        try:
            entries = os.scandir(self.tenants)
        except FileNotFoundError:
            self._beyond = _beyond(links)
            return
        illegible, strange = [], []
        with entries:
            for entry in entries:
                if not _is_text(entry.name):
                    illegible.append(repr(os.fsencode(entry.name))[2:-1])
                elif counts(entry.name):
                    if entry.is_symlink():
                        links.append(self.tenants / entry.name)
                    signature = _look(entry)
                    if signature is not None:
                        yield f"tenants/{entry.name}", signature
                elif misnamed(entry.name):
                    strange.append(entry.name)
        self._beyond, self.illegible, self.misnamed = _beyond(links), tuple(sorted(illegible)), tuple(sorted(strange))

    def place(self) -> tuple[object, ...]:
        """Where the files lie: equal as long as no folder, and no link to one, leads elsewhere than at the last scan.

        What is read between two that are equal is of one release; files are looked at by their paths, so that
        otherwise some could be of the release before.
        """
        folders = [*map(os.fspath, (self.tenancy.parent, self.tenancy, self.tenants)), *sorted(self._beyond)]
        return tuple((folder, _inode(folder)) for folder in folders)

    def homes(self) -> set[Path]:
        """The folders in which the files lie, also those of files that links lead to."""
        homes = {os.fspath(self.tenancy), os.fspath(self.tenants)}
        homes.update(_home(os.fspath(self.path(key))) for key in FIXED)
        with contextlib.suppress(OSError), os.scandir(self.tenants) as entries:
            homes.update(_home(entry.path) for entry in entries if entry.is_symlink() and counts(entry.name))
        return {Path(home).resolve() for home in homes}

    def keys(self) -> set[str]:
        """The keys of all files that count, without a look at them. OSError as for ``scan``."""
        found = {key for key in FIXED if self.look(key) is not None}
        with contextlib.suppress(FileNotFoundError):
            found.update(f"tenants/{name}" for name in os.listdir(self.tenants) if counts(name))  # noqa: PTH208  # names alone
        return found

    def look(self, key: str) -> Signature | None:
        """The file's signature; None when nothing is there."""
        try:
            return signature_of(self.path(key).stat())
        except OSError as error:
            # Whatever is there and cannot be looked at is not gone: reading it tells the problem.
            return None if isinstance(error, FileNotFoundError) else UNSEEN

    def read(self, key: str) -> Read:
        """The whole file. FileNotFoundError, Unstable or Unreadable when it cannot be had."""
        try:
            # Not blocking, because a pipe with a file's name would wait for its writer for ever.
            handle = os.open(self.path(key), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Unreadable(f"the file cannot be opened: {error.strerror}") from None
        try:
            return _read(handle)
        except OSError as error:
            raise Unreadable(f"the file cannot be read: {error.strerror}") from None
        finally:
            os.close(handle)


def _look(entry: os.DirEntry[str]) -> Signature | None:
    try:
        return signature_of(entry.stat())
    except FileNotFoundError:
        return None
    except OSError:
        return UNSEEN


def _beyond(links: list[Path]) -> frozenset[str]:
    found = set()
    for link in links:
        with contextlib.suppress(OSError):  # it is gone, or no link any more
            found.add(os.path.dirname(link.parent / link.readlink()))  # noqa: PTH120  # as text: not one object a file
    return frozenset(found) if len(found) <= _MOST_LINKED else frozenset()


def _home(path: str) -> str:
    """The folder in which a file lies, once the links that it is are followed."""
    for _ in range(_LINKS):
        try:
            path = os.path.join(os.path.dirname(path), os.readlink(path))  # noqa: PTH115, PTH118, PTH120  # as text
        except OSError:  # no link, or gone
            break
    return os.path.dirname(path)  # noqa: PTH120


def _inode(folder: str) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)  # noqa: PTH116  # a text
    except OSError:
        return None
    return status.st_dev, status.st_ino


def being_written(handle: int) -> bool:
    """Whether some process has the file open for writing; False where the system cannot tell.

    A read lease is refused while there is a writer. It is given back at once: who opens the file meanwhile waits
    for that, and the signal of it is one that is ignored.
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _read(handle: int) -> Read:
    before = os.fstat(handle)
    if not stat.S_ISREG(before.st_mode):
        raise Unreadable("this is not a regular file")
    if before.st_size > MAX_BYTES:
        raise Unreadable(f"the file is larger than {MAX_BYTES // 1024} kB")
    if time.time() - before.st_mtime <= _WRITER_SECONDS and being_written(handle):
        raise Unstable
    raw = os.read(handle, MAX_BYTES + 1)
    after = os.fstat(handle)
    if signature_of(before) != signature_of(after) or len(raw) != after.st_size:
        raise Unstable
    return Read(raw, digest_of(raw), signature_of(after), settled=time.time() - after.st_ctime > _GRAIN_SECONDS)
