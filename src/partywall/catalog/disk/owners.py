"""Whose a file is: one that replaces another stays with those who had that one."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path
from typing import Final

from partywall.errors import ConfigError

__all__ = ["hand_over"]

_READ_WRITE: Final = 0o6
_ROOT: Final = 0
_KEPT: Final = re.compile(r"system\.|user\.|security\.selinux$")
"""Attributes that are of a file; others are sums of what it held."""


def hand_over(handle: int, old: Path, was: os.stat_result) -> None:
    """Give an open file the owner, the group, the mode and the extended attributes of the one that it will replace.

    A process that is not root cannot give a file away. Then whoever could read or write the old one must be able to do
    so all the same, by their group if it can be kept, or else as everybody may; ConfigError if not. The owner is taken
    to be in the file's group.
    """
    mode = stat.S_IMODE(was.st_mode)
    for owner in (was.st_uid, -1):
        with contextlib.suppress(OSError):
            os.fchown(handle, owner, was.st_gid)
            break
    new = os.fstat(handle)
    group_stays = new.st_gid == was.st_gid
    lost = 0 if group_stays else (mode >> 3) & ~mode
    if new.st_uid != was.st_uid != _ROOT:
        lost |= (mode >> 6) & ~(mode >> 3 if group_stays else mode)
    if lost & _READ_WRITE:
        raise _taken(old.name, was, new)
    os.fchmod(handle, mode)
    _copy_attributes(handle, old)


def _taken(name: str, was: os.stat_result, new: os.stat_result) -> ConfigError:
    return ConfigError(
        f"{name} is of user {was.st_uid} and group {was.st_gid}, and an edit by user {new.st_uid} would take it from "
        "them: run the engine as its owner, or let a group that both are in write it "
        "(chgrp and chmod g+rw the file, chgrp and chmod g+ws its folder)"
    )


def _copy_attributes(handle: int, old: Path) -> None:
    """Access lists and labels, where the system has such and lets us."""
    if hasattr(os, "listxattr"):
        with contextlib.suppress(OSError):
            for attribute in filter(_KEPT.match, os.listxattr(old)):
                with contextlib.suppress(OSError):
                    os.setxattr(handle, attribute, os.getxattr(old, attribute))
