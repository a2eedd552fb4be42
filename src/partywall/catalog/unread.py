"""Files that were not read: why, and what to do."""

from __future__ import annotations

from partywall.catalog.disk.reader import Folder
from partywall.errors import Problem

__all__ = ["unread"]


def unread(folder: Folder, key: str) -> Problem:
    """Why a file that should be there was not read: it is missing, or somebody is saving it."""
    missing = folder.look(key) is None
    message = "the file is missing" if missing else "the file is being written; try again"
    return Problem(folder.label(key), 1, 1, message)
