"""kill -9 of a writing engine: it opens again by itself, and nothing acknowledged is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

DRIVER = Path(__file__).parent / "kill_driver.py"


@pytest.mark.timeout(400)
def test_100_kills_of_a_writing_engine_lose_nothing(told_by) -> None:
    found = told_by(DRIVER, 100, 1)
    assert found["wrong"] == []
    assert found["rows"] > 100
    assert found["usage"] > 50


@pytest.mark.long
def test_2000_kills_of_a_writing_engine_lose_nothing(told_by) -> None:
    assert told_by(DRIVER, 2000, 2)["wrong"] == []
