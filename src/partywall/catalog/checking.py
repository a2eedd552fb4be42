"""``partywall validate``: every problem of every file, with nothing written and nothing running."""

from __future__ import annotations

from pathlib import Path

from partywall.catalog.look import look
from partywall.catalog.reader import FIXED, Folder, Unreadable, Unstable
from partywall.catalog.sources import load_document
from partywall.errors import ConfigError, Problem
from partywall.model import TenantSpec

__all__ = ["check"]


def check(root: Path) -> list[Problem]:
    """Every problem of the files under a data folder, as a first start would find them. Never raises for them.

    A tenant's file without an id is no problem here: the engine gives it one.
    """
    try:
        return list(look(root, last_good=False, give_ids=True).problems)
    except ConfigError as error:
        folder = Folder(Path(root))
        return [*error.problems, *(problem for key in _tenants(folder) for problem in _alone(folder, key))]


def _tenants(folder: Folder) -> list[str]:
    try:
        return sorted(key for key in folder.scan() if key not in FIXED)
    except OSError:
        return []


def _alone(folder: Folder, key: str) -> list[Problem]:
    """What is wrong with one tenant's file, when there are no plans to hold it against."""
    try:
        return load_document(folder, key, folder.read(key), TenantSpec).problems
    except (OSError, Unreadable, Unstable) as error:
        return [Problem(folder.label(key), 1, 1, str(error) or "the file is being written")]
