"""Keeping what is wrong in the files, and telling what is wrong with all of them together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from partywall.catalog.disk.reader import Folder
from partywall.errors import Problem

__all__ = ["FOLDER", "NAMES", "gone_at_once", "illegible", "in_order", "put", "unlistable"]

FOLDER: Final = "tenants"
"""Where problems of the folder as a whole are kept."""
NAMES: Final = "tenants/"
"""Where those of names in it are."""


def put(problems: dict[str, list[Problem]], key: str, found: list[Problem]) -> None:
    """Keep the problems of a file; none when it is well."""
    if found:
        problems[key] = found
    else:
        problems.pop(key, None)


def in_order(*groups: Mapping[str, list[Problem]]) -> tuple[Problem, ...]:
    """Every problem, by file and place."""
    found = [problem for group in groups for problems in group.values() for problem in problems]
    return tuple(sorted(found, key=lambda problem: (problem.file, problem.line, problem.column)))


def unlistable(folder: Folder, error: OSError) -> list[Problem]:
    """The folder cannot be looked into."""
    return _of_all(folder, f"the folder cannot be listed ({error.strerror}); every tenant stays as it is")


def gone_at_once(folder: Folder, gone: int, total: int) -> list[Problem]:
    """So many files are gone that it is hardly meant."""
    held = f"{gone} of {total} tenant files are gone at once: their tenants stay in force. "
    return _of_all(folder, f"{held}Put the files back, or remove them a few at a time")


def illegible(folder: Folder) -> list[Problem]:
    """Names that the last scan met and that are no text, or nearly those of tenants' files."""
    advice = "is not UTF-8, so the file is not read: rename it"
    found = [problem for name in folder.illegible for problem in _of_all(folder, f"the file name {name} {advice}")]
    message = "this file is not read, because its name does not end in .yaml: rename it"
    return [*found, *(Problem(folder.label(f"{NAMES}{name}"), 1, 1, message) for name in folder.misnamed)]


def _of_all(folder: Folder, message: str) -> list[Problem]:
    return [Problem(folder.label(FOLDER), 1, 1, message)]
