"""Time as an argument: the wall clock for records, the monotonic clock for waiting and windows."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Protocol

__all__ = ["Clock", "ManualClock", "SystemClock", "month_of", "utc"]

_DAY: Final = 86_400


class Clock(Protocol):
    """Where every part of the engine reads the time."""

    def now(self) -> float:
        """Seconds since the epoch, UTC; may be stepped by an operator."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since an arbitrary start."""
        return time.monotonic()


class ManualClock:
    """A clock that stands still until it is told to move, for tests of embedders and of this project."""

    def __init__(self, now: float = 1_800_000_000.0, monotonic: float = 0.0) -> None:
        self._now = now
        self._monotonic = monotonic

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since an arbitrary start."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks; seconds must not be negative."""
        if seconds < 0:
            raise ValueError("a monotonic clock does not go back; use step_wall to set the wall clock")
        self._now += seconds
        self._monotonic += seconds

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an operator or NTP may; the monotonic clock is untouched."""
        self._now += seconds


def utc(seconds: float) -> datetime:
    """The moment as an aware datetime in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def month_of(seconds: float) -> str:
    """The calendar month in UTC that the moment lies in, as ``2026-11``: the billing period."""
    return _month_of_day(int(seconds // _DAY))


@lru_cache(maxsize=64)
def _month_of_day(days: int) -> str:
    # Asked with every line of usage; days in UTC since the epoch are all as long.
    return f"{utc(days * _DAY):%Y-%m}"
