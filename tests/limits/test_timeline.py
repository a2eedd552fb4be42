from __future__ import annotations

import time
from math import inf, nextafter

from hypothesis import given
from hypothesis import strategies as st

from partywall.clock import ManualClock, SystemClock
from partywall.limits.timeline import Timeline

STARTS = st.floats(-1e9, 1e9)


def at(start: float, reading: float) -> int:
    """Nanoseconds since the start at another reading of the clock."""
    clock = ManualClock(monotonic=start)
    timeline = Timeline(clock)
    clock._monotonic = reading
    return timeline.now()


@given(STARTS, st.integers(0, 10**17))
def test_a_reading_is_the_first_at_which_the_nanoseconds_have_passed(start: float, passed: int) -> None:
    reading = Timeline(ManualClock(monotonic=start)).reading(passed)
    assert at(start, reading) >= passed
    assert at(start, nextafter(reading, -inf)) < passed


@given(STARTS, st.floats(0, 1e8))
def test_waiting_the_seconds_until_a_reading_reaches_it(start: float, ahead: float) -> None:
    reading = start + ahead
    seconds = Timeline(ManualClock(monotonic=start)).seconds_until(reading)
    assert start + seconds >= reading
    assert seconds == 0.0 or start + nextafter(seconds, -inf) <= reading


def test_l9_the_wall_clock_is_never_read() -> None:
    class Unread(SystemClock):
        def now(self) -> float:
            raise AssertionError

    assert Timeline(SystemClock()).monotonic is time.monotonic
    assert Timeline(Unread()).now() >= 0
