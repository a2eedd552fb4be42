"""kill -9 at every step of a move: it is undone or finished by itself, in exactly one place, with every row."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

DRIVER = Path(__file__).parent / "move_driver.py"
STRATEGIES = ("row_level", "schema_level", "database_level")


@pytest.mark.timeout(300)
def test_a_kill_at_any_step_of_a_move_leaves_the_tenant_whole_in_one_place(told_by) -> None:
    found = told_by(DRIVER, "row_level", "database_level", 3, "coarse")
    assert found["wrong"] == []
    assert found["kills"] > 4
    assert found["ends"][0] == "row_level"
    assert found["ends"][-2:] == ["database_level", "database_level"]


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("here", "there"), list(itertools.permutations(STRATEGIES, 2)))
def test_kills_down_to_single_statements_leave_the_tenant_whole(told_by, here: str, there: str) -> None:
    found = told_by(DRIVER, here, there, 53, "fine")
    assert found["wrong"] == []
    assert set(found["ends"]) == {here, there}
