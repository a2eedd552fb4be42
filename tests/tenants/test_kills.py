"""kill -9 of a writing engine: it opens again by itself, and nothing acknowledged is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).parent / "kill_driver.py"


def kill(folder: Path, rounds: int, seed: int) -> dict[str, object]:
    command = [sys.executable, str(DRIVER), str(folder), str(rounds), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.timeout(400)
def test_100_kills_of_a_writing_engine_lose_nothing(data_folder: Path) -> None:
    found = kill(data_folder, 100, 1)
    assert found["wrong"] == []
    assert found["rows"] > 100  # type: ignore[operator]
    assert found["usage"] > 50  # type: ignore[operator]


@pytest.mark.long
def test_2000_kills_of_a_writing_engine_lose_nothing(data_folder: Path) -> None:
    assert kill(data_folder, 2000, 2)["wrong"] == []
