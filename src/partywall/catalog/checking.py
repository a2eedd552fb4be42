"""``partywall validate``: every problem of every file, with nothing written and nothing running."""

from __future__ import annotations

from pathlib import Path

from partywall.catalog.changes import identity_line
from partywall.catalog.document import Document
from partywall.catalog.edits import with_first_line
from partywall.catalog.reader import FIXED, Folder, Read, Unreadable, Unstable, digest_of
from partywall.catalog.reload import Reload
from partywall.catalog.sources import load_document
from partywall.clock import SystemClock
from partywall.errors import ConfigError, InvalidArgument, Problem
from partywall.model import TenantSpec

__all__ = ["check"]


def check(root: Path) -> list[Problem]:
    """Every problem of the files under a data folder, as a first start would find them. Never raises for them.

    A tenant's file without an id is no problem here: the engine gives it one.
    """
    folder = Folder(Path(root))
    try:
        return list(Reload(folder, SystemClock(), None, _pretend).problems)
    except ConfigError as error:
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


def _pretend(_key: str, document: Document, _read: Read, _had: str | None) -> Read | Problem:
    try:
        raw = with_first_line(document, identity_line(None)).encode()
    except InvalidArgument:
        return document.problem((), "the file has no id; give it one")
    return Read(raw, digest_of(raw), (0, 0, 0, 0))
