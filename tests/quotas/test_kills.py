"""kill -9 of an engine whose threads reserve and spend: no overspend, no phantom, and counters that can be rebuilt."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DRIVER = Path(__file__).parent / "kill_driver.py"
SAMPLE = Path(__file__).parent.parent.parent / "orchestrator-data" / "system"


def kill(tmp_path: Path, rounds: int, seed: int) -> dict[str, Any]:
    folder = tmp_path / "orchestrator-data"
    shutil.copytree(SAMPLE, folder / "system")
    command = [sys.executable, str(DRIVER), str(folder), str(rounds), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.timeout(300)
def test_l2_50_kills_amid_reservations_leave_neither_overspend_nor_phantom(tmp_path: Path) -> None:
    found = kill(tmp_path, 50, 1)
    assert found["wrong"] == []
    assert found["settled"] > 500


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_l2_1000_kills_amid_reservations_leave_neither_overspend_nor_phantom(tmp_path: Path) -> None:
    found = kill(tmp_path, 1000, 2)
    assert found["wrong"] == []
    assert found["settled"] > 10_000
