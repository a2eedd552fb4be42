"""How the files are doing, as the engine last told it: for commands beside it that must not own anything."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from partywall.catalog.cache import Cache
from partywall.clock import Clock
from partywall.errors import Problem

__all__ = ["Health", "Reporter", "health_of"]

_MOST_PROBLEMS: Final = 1000
_EVERY_SECONDS: Final = 1.0
"""Seconds after which the report is written anew although nothing changed, so that its age tells of a stopped look."""


@dataclass(frozen=True, slots=True)
class Health:
    """What one process had in force, and found wrong, when it last looked at the files."""

    pid: int
    generation: int
    digest: str
    checked_at: float
    """When it looked, in seconds since the epoch."""
    last_success: float | None
    """When it last found every file well."""
    problems: tuple[Problem, ...]
    """The first thousand."""
    notices: tuple[Problem, ...]


class Reporter:
    """Writes the report into the cache. Used under the catalog's lock; it never raises."""

    def __init__(self, cache: Cache, clock: Clock) -> None:
        self._cache = cache
        self._clock = clock
        self._told: tuple[object, ...] = ()
        self._at = 0.0

    def tell(
        self,
        generation: int,
        digest: str,
        last_success: float | None,
        problems: Sequence[Problem],
        notices: Sequence[Problem],
    ) -> None:
        """Write the report if it says something new, or the last one is getting old."""
        told = (generation, digest, problems, notices)
        # Compared with what another process calls now, so by the machine's clock and not the injected one.
        if told == self._told and time.monotonic() - self._at < _EVERY_SECONDS:
            return
        self._told, self._at = told, time.monotonic()
        first = tuple(problems[:_MOST_PROBLEMS])
        health = Health(os.getpid(), generation, digest, self._clock.now(), last_success, first, tuple(notices))
        self._cache.report(json.dumps(asdict(health)))


def health_of(cache: Cache) -> Health | None:
    """The last report, whoever wrote it; None before the first, or when it is of another release."""
    text = cache.reported()
    if text is None:
        return None
    try:
        known = json.loads(text)
        known |= {name: tuple(Problem(**each) for each in known[name]) for name in ("problems", "notices")}
        return Health(**known)
    except (KeyError, TypeError, ValueError):
        return None
