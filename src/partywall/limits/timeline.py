"""Time for the limiter: whole nanoseconds since its start, and readings of the monotonic clock."""

from __future__ import annotations

import time
from math import floor, inf, nextafter
from typing import Final

from partywall.clock import Clock, SystemClock

__all__ = ["Timeline"]

_NANOSECONDS: Final = 1_000_000_000
_ROUNDING: Final = 2.0**-50
"""More than what the few roundings of a reading can add up to, as a part of it."""


class Timeline:
    """One limiter's time. Windows are counted in whole nanoseconds, so that no sum of floats can lose a permit."""

    __slots__ = ("_distance", "_start", "monotonic")

    def __init__(self, clock: Clock) -> None:
        # The method of SystemClock in between would cost a fifth of a check.
        self.monotonic = time.monotonic if type(clock) is SystemClock else clock.monotonic
        self._start = self.monotonic()
        self._distance = abs(self._start)

    def now(self) -> int:
        """Nanoseconds since the start."""
        return floor((self.monotonic() - self._start) * _NANOSECONDS)

    def reading(self, at: int) -> float:
        """The first reading of the clock, in seconds, at which ``at`` nanoseconds have passed since the start."""
        reading = self._start + at / _NANOSECONDS
        while self._elapsed(reading) < at:
            reading = nextafter(reading, inf)
        while self._elapsed(earlier := nextafter(reading, -inf)) >= at:
            reading = earlier
        return reading

    def reading_before(self, at: int) -> float:
        """A reading before which fewer than ``at`` nanoseconds have passed for certain; cheaper, and hardly earlier."""
        seconds = at / _NANOSECONDS
        return self._start + seconds - (self._distance + seconds) * _ROUNDING

    def seconds_until(self, reading: float) -> float:
        """Seconds from now to a reading, 0.0 when it has passed; waiting that long is never too short."""
        now = self.monotonic()
        if now >= reading:
            return 0.0
        seconds = reading - now
        while now + seconds < reading:
            seconds = nextafter(seconds, inf)
        return seconds

    def _elapsed(self, reading: float) -> int:
        return floor((reading - self._start) * _NANOSECONDS)
