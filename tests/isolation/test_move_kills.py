"""kill -9 at every step of a move: it is undone or finished by itself, in exactly one place, with every row."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DRIVER = Path(__file__).parent / "move_driver.py"
STRATEGIES = ("row_level", "schema_level", "database_level")


def kill(folder: Path, here: str, there: str, every: int, grain: str) -> dict[str, Any]:
    command = [sys.executable, str(DRIVER), str(folder), here, there, str(every), grain]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.timeout(300)
def test_a_kill_at_any_step_of_a_move_leaves_the_tenant_whole_in_one_place(data_folder: Path) -> None:
    found = kill(data_folder, "row_level", "database_level", 3, "coarse")
    assert found["wrong"] == []
    assert found["kills"] > 4
    assert found["ends"][0] == "row_level"
    assert found["ends"][-2:] == ["database_level", "database_level"]


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("here", "there"), list(itertools.permutations(STRATEGIES, 2)))
def test_kills_down_to_single_statements_leave_the_tenant_whole(data_folder: Path, here: str, there: str) -> None:
    found = kill(data_folder, here, there, 53, "fine")
    assert found["wrong"] == []
    assert set(found["ends"]) == {here, there}
