"""The files of a data folder as a git revision has them."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Final

from partywall.catalog.disk.reader import FIXED, counts
from partywall.errors import InvalidArgument, Problem
from partywall.folder import DataFolder

__all__ = ["AtRevision", "at_revision"]

_FILES: Final = "system/tenancy"
_LINK: Final = b"120000"
_NOWHERE: Final = ".outside-of-the-repository"


@dataclass(frozen=True, slots=True)
class AtRevision:
    """The files of a revision."""

    root: Path
    """A data folder that holds them for the moment."""
    problems: list[Problem]
    """Files that are links to what the revision does not have."""


@contextmanager
def at_revision(folder: DataFolder, revision: str) -> Iterator[AtRevision]:
    """The files of the revision, and what links among them lead to; InvalidArgument when there are none."""
    named = f"revision {ascii(revision)[:80]}"
    commit = _git(folder.root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    where = _git(folder.root, "rev-parse", "--show-toplevel", "--show-prefix")
    if commit is None or where is None:
        raise InvalidArgument(f"{ascii(revision)[:80]} is neither a folder nor a git revision of {folder.root}")
    top, prefix = os.fsdecode(where).split("\n")[:2]
    with TemporaryDirectory() as temporary:
        tree = _Tree(Path(top), commit.decode().strip(), Path(temporary).resolve())
        try:
            tree.unpack(f"{prefix}{_FILES}")
        except tarfile.TarError as error:
            raise InvalidArgument(f"{named} cannot be unpacked: {error}") from None
        root = tree.to / prefix
        for key in ("system", _FILES, f"{_FILES}/tenants"):
            target = tree.lost(root / key)
            if target:
                message = f"{key} is a link to {target!a}, which is not in {named}: it cannot be compared"
                raise InvalidArgument(message)
        if not (root / _FILES).is_dir():
            raise InvalidArgument(f"{named} has no files below {_FILES} of {folder.root}")
        yield AtRevision(root, list(_lost(tree, root, named)))


def _lost(tree: _Tree, root: Path, named: str) -> Iterator[Problem]:
    tenants = root / _FILES / "tenants"
    names = sorted(f"tenants/{name}" for name in os.listdir(tenants) if counts(name)) if tenants.is_dir() else []  # noqa: PTH208  # names alone
    for key in (*FIXED, *names):
        target = tree.lost(root / _FILES / key)
        if target:
            yield Problem(f"{_FILES}/{key}", 1, 1, f"this is a link to {target!a}, which is not in {named}")


class _Tree:
    """Parts of a commit, unpacked."""

    def __init__(self, top: Path, commit: str, to: Path) -> None:
        self._top = top
        self._commit = commit
        self.to = to
        """The folder that stands for the top of the repository."""
        self._outside: dict[Path, str] = {}

    def unpack(self, path: str) -> None:
        """Unpack what is at the path, and whatever the links in it lead to, as far as the commit has it."""
        waiting, unpacked = [path], set()
        while waiting:
            real = os.path.relpath(os.path.realpath(self.to / waiting.pop()), self.to)
            part = self._first(PurePosixPath(real))
            if part is None or part in unpacked:
                continue
            unpacked.add(part)
            packed = _git(self._top, "--literal-pathspecs", "archive", "--format=tar", self._commit, "--", part)
            with tarfile.open(fileobj=io.BytesIO(packed or b"")) as archive:
                archive.extractall(self.to, filter=self._kept)  # noqa: S202  # by tarfile's own filter
            waiting += [real, *self._lost_below(part)]

    def lost(self, path: Path) -> str | None:
        """Where a link leads whose target the commit does not have; None for whatever else is there or is not."""
        if not path.is_symlink() or path.exists():
            return None
        return self._outside.get(path.parent.resolve() / path.name) or str(path.readlink())

    def _first(self, path: PurePosixPath) -> str | None:
        """The path, or the link on the way to it; None when the commit has neither."""
        for part in [*reversed(path.parents[:-1]), path]:
            entry = _git(self._top, "ls-tree", self._commit, "--", str(part))
            if not entry:
                return None
            if entry.startswith(_LINK):
                return str(part)
        return str(path)

    def _lost_below(self, part: str) -> Iterator[str]:
        for folder, folders, files in os.walk(self.to / part):
            for name in (*folders, *files):
                if self.lost(Path(folder, name)):
                    yield os.path.relpath(Path(folder, name), self.to)

    def _kept(self, member: tarfile.TarInfo, to: str) -> tarfile.TarInfo | None:
        try:
            return tarfile.data_filter(member, to)
        except (tarfile.AbsoluteLinkError, tarfile.LinkOutsideDestinationError):
            self._outside[self.to / member.name] = member.linkname
            return member.replace(linkname=_NOWHERE, deep=False)


def _git(folder: Path, *arguments: str) -> bytes | None:
    """What git prints; None when it fails."""
    try:
        done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, check=False)  # noqa: S603, S607  # no shell, and the operator's own git
    except FileNotFoundError:
        raise InvalidArgument("git is not installed here, so that no revision can be read") from None
    return done.stdout if done.returncode == 0 else None
