import pytest

from partywall.clock import ManualClock, SystemClock, month_of, utc


def test_months_begin_at_midnight_utc() -> None:
    december = 1_796_083_200.0  # 2026-12-01T00:00:00Z
    assert month_of(december) == "2026-12"
    assert month_of(december - 0.001) == "2026-11"
    assert utc(december).isoformat() == "2026-12-01T00:00:00+00:00"


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(now=100.0, monotonic=5.0)
    clock.advance(2.5)
    clock.step_wall(-3600)
    assert (clock.now(), clock.monotonic()) == (100.0 + 2.5 - 3600, 7.5)
    with pytest.raises(ValueError, match="step_wall"):
        clock.advance(-1)


def test_the_system_clock_tells_both_times() -> None:
    clock = SystemClock()
    assert clock.monotonic() <= clock.monotonic()
    assert clock.now() > 1_700_000_000
