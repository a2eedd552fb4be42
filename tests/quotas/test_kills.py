"""kill -9 of an engine whose threads reserve and spend: no overspend, no phantom, and counters that can be rebuilt."""

from __future__ import annotations

from pathlib import Path

import pytest

DRIVER = Path(__file__).parent / "kill_driver.py"
ROW_DRIVER = Path(__file__).parent / "row_kill_driver.py"


@pytest.mark.timeout(300)
def test_l2_50_kills_amid_2500_reservations_leave_neither_overspend_nor_phantom(told_by) -> None:
    found = told_by(DRIVER, 50, 2_500, 1)
    assert found["wrong"] == []
    assert found["reserved"] > 1_500
    assert found["settled"] > 1_500


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_l2_1000_kills_amid_100_000_reservations_leave_neither_overspend_nor_phantom(told_by) -> None:
    found = told_by(DRIVER, 1_000, 104_000, 2)
    assert found["wrong"] == []
    assert found["reserved"] >= 100_000
    assert found["settled"] > 100_000


@pytest.mark.timeout(300)
def test_l2_12_kills_between_rows_and_their_count_leave_neither_overspend_nor_phantom(told_by) -> None:
    found = told_by(ROW_DRIVER, 12, 3)
    assert found["wrong"] == []
    assert max(found["rows"]) > 0


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_l2_300_kills_between_rows_and_their_count_leave_neither_overspend_nor_phantom(told_by) -> None:
    found = told_by(ROW_DRIVER, 300, 4)
    assert found["wrong"] == []
    assert max(found["rows"]) == 20
