"""How the files are doing: for monitors in the process, and told to commands beside it that must not own anything."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from typing import Final

from partywall.catalog.memory.cache import Cache
from partywall.errors import Problem

__all__ = ["Health", "Reporter", "health_of"]

_MOST_PROBLEMS: Final = 1000
_EVERY_SECONDS: Final = 1.0
"""Seconds after which the report is written anew although nothing changed, so that its age tells of a stopped look."""


@dataclass(frozen=True, slots=True)
class Health:
    """What one process has in force, what is wrong, and whether it looks. Moments are seconds since the epoch."""

    pid: int
    generation: int
    digest: str
    """Of everything in force: equal digests mean equal plans and tenants, in any process."""
    tenants: int
    checked_at: float
    """When it last looked at files."""
    last_success: float | None
    """When it last found every file well; None before the first time."""
    last_failure: float | None
    """When it last found something wrong that was not wrong before."""
    problems: tuple[Problem, ...]
    """What is wrong now, with what was last good in force instead; in a report the first thousand."""
    notices: tuple[Problem, ...]
    """Edits that take effect at the next start."""
    sweeps: int
    """How often it looked at every file since it opened."""
    watching: bool
    """Whether edits are noticed by events; without them every file is looked at each second."""
    unrecorded: int
    """Publications whose audit records could not be written yet."""


class Reporter:
    """Writes the report into the cache. Used under the catalog's lock; it never raises."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._told: tuple[object, ...] = ()
        self._at = 0.0

    def tell(self, health: Health) -> None:
        """Write the report if it says something new, or the last one is getting old."""
        told = (health.generation, health.digest, health.problems, health.notices, health.watching)
        # Compared with what another process calls now, so by the machine's clock and not the injected one.
        if told == self._told and time.monotonic() - self._at < _EVERY_SECONDS:
            return
        self._told, self._at = told, time.monotonic()
        self._cache.report(json.dumps(asdict(replace(health, problems=health.problems[:_MOST_PROBLEMS]))))


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
