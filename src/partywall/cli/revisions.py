"""The files of a data folder as a git revision has them."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from partywall.errors import InvalidArgument
from partywall.folder import DataFolder

__all__ = ["at_revision"]

_FILES = "system/tenancy"


@contextmanager
def at_revision(folder: DataFolder, revision: str) -> Iterator[Path]:
    """A temporary data folder with the files of the revision; InvalidArgument when there are none."""
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if commit is None:
        raise InvalidArgument(f"{ascii(revision)[:80]} is neither a folder nor a git revision of {folder.root}")
    packed = _git(folder, "archive", "--format=tar", commit.decode().strip(), "--", _FILES)
    if packed is None:
        raise InvalidArgument(f"revision {ascii(revision)[:80]} has no files below {_FILES} of {folder.root}")
    with TemporaryDirectory() as temporary:
        try:
            with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                archive.extractall(temporary, filter="data")
        except tarfile.TarError as error:
            raise InvalidArgument(f"revision {ascii(revision)[:80]} cannot be unpacked: {error}") from None
        yield Path(temporary)


def _git(folder: DataFolder, *arguments: str) -> bytes | None:
    """What git prints; None when it fails."""
    try:
        done = subprocess.run(["git", "-C", folder.root, *arguments], capture_output=True, check=False)  # noqa: S603, S607  # no shell, and the operator's own git
    except FileNotFoundError:
        raise InvalidArgument("git is not installed here, so that no revision can be read") from None
    return done.stdout if done.returncode == 0 else None
