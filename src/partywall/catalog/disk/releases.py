"""Releases: whether all files lie where they lay, and whether one that was put in place was taken as a whole."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from partywall.catalog.disk.reader import Folder

__all__ = ["Releases", "Standing"]

_ARRIVAL_SECONDS: Final = 2.0
"""How long the files of a release may take to come to rest."""


class Standing(NamedTuple):
    """Where the files lay at one moment."""

    place: tuple[object, ...]
    undone: int
    """How often something had been read and put back: a look meanwhile may have taken note of it."""


class Releases:
    """What looks are compared by: files that were read between two equal standings are of one release."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._undone = 0
        self._taken: Standing | None = None
        self._arriving: tuple[object, ...] = ()
        self._since = 0.0

    def standing(self) -> Standing:
        """Where the files lie now."""
        return Standing(self._folder.place(), self._undone)

    def undo(self) -> None:
        """Something that was read is put back: a look that runs meanwhile is worth nothing."""
        self._undone += 1

    def take(self, standing: Standing) -> None:
        """Everything that a look at this standing found was read, as far as it had come to rest."""
        self._taken = standing

    def moved(self) -> bool:
        """Whether another release was put in place than the one that was last taken as a whole."""
        return self._taken is not None and self._folder.place() != self._taken.place

    def arriving(self, standing: Standing) -> bool:
        """Whether the look is one of the first at a release, and files of it may still come to rest."""
        if self._taken is None or standing.place == self._taken.place:
            return False
        if self._arriving != standing.place:
            self._arriving, self._since = standing.place, time.monotonic()
        return time.monotonic() - self._since < _ARRIVAL_SECONDS
