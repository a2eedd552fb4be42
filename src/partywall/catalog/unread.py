"""Files that were not read: why, and what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from partywall.catalog.disk.reader import FIXED, Folder, Unreadable, Unstable, counts
from partywall.catalog.text.document import load
from partywall.errors import Problem

__all__ = ["lookalikes", "strays", "unread"]

_OF_A_TENANT = frozenset(["slug", "type", "owner"])


def unread(folder: Folder, key: str) -> Problem:
    """Why a file that should be there was not read: it is missing, or somebody is saving it."""
    if folder.look(key) is not None:
        return Problem(folder.label(key), 1, 1, "the file is being written; try again")
    there = " and ".join(lookalikes(folder, key))
    return Problem(folder.label(key), 1, 1, f"the file is missing{there and f'; there is {there}'}")


def lookalikes(folder: Folder, key: str) -> list[str]:
    """Names of files that may be meant for this one, such as ``plans.yml``."""
    return [name for name in _names(folder.tenancy) if _meant(name) == key != name]


def strays(folder: Folder) -> list[Problem]:
    """Files that look as if they said something of plans or tenants, and lie where nobody reads them."""
    return [*_beside(folder), *_below(folder)]


def _beside(folder: Folder) -> Iterator[Problem]:
    for name in _names(folder.tenancy):
        path, key = folder.tenancy / name, _meant(name)
        if name in FIXED or not counts(name.lower()) or not path.is_file():
            continue
        message = None
        if key in FIXED and not _same(path, folder.path(key)):
            there = folder.look(key) is not None
            message = f"{key} is read instead: remove this one" if there else f"rename it to {key}"
        elif key not in FIXED and _is_of_a_tenant(folder, name):
            message = "tenants' files are read in tenants/: move it there"
        if message:
            yield Problem(folder.label(name), 1, 1, f"this file is not read; {message}")


def _below(folder: Folder) -> Iterator[Problem]:
    used = _used(folder)
    for name in _names(folder.tenants):
        if counts(name) or name in used or not (folder.tenants / name).is_dir():
            continue
        found = sorted(
            Path(place, each).relative_to(folder.tenancy).as_posix()
            for place, _, files in os.walk(folder.tenants / name)
            for each in files
            if counts(each.lower())
        )
        if found:
            others = f" (and {len(found) - 1:,} more below tenants/{name})" if len(found) > 1 else ""
            message = f"this file{others} is not read, because subfolders are not; move it into tenants/"
            yield Problem(folder.label(found[0]), 1, 1, message)


def _used(folder: Folder) -> set[str]:
    """Subfolders of ``tenants/`` that linked files lead into: those are read through the links."""
    used, real = set(), folder.tenants.resolve()
    for path in (folder.tenants / name for name in _names(folder.tenants) if counts(name)):
        if path.is_symlink() and (target := path.resolve()).is_relative_to(real):
            used.add(target.relative_to(real).parts[0])
    return used


def _names(place: Path) -> list[str]:
    """The names in a folder that are not hidden, and are text."""
    with suppress(OSError):
        return sorted(name for name in os.listdir(place) if counts(f"{name}.yaml"))  # noqa: PTH208  # names alone
    return []


def _meant(name: str) -> str:
    """The name as it would have to be written."""
    return f"{Path(name).stem.lower()}.yaml" if counts(name.lower()) else name


def _same(left: Path, right: Path) -> bool:
    with suppress(OSError):
        return left.samefile(right)
    return False


def _is_of_a_tenant(folder: Folder, name: str) -> bool:
    with suppress(OSError, Unreadable, Unstable):
        data = load(name, folder.read(name).raw).data
        return isinstance(data, dict) and data.keys() >= _OF_A_TENANT
    return False
