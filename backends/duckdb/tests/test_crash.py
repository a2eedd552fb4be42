# tests need no docstrings
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

KINDS = ("duckdb-row", "duckdb-schema", "duckdb-database")
DRIVER = Path(__file__).with_name("kill_driver.py")


def require_nothing_lost(folder: Path, kind: str, kills: int) -> None:
    command = [sys.executable, "-W", "ignore", str(DRIVER), str(folder), kind, str(kills), "7"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["wrong"] == []
    assert told["kills"] == kills
    assert told["commits"] > kills * 3


@pytest.mark.parametrize("kind", KINDS)
def test_every_acknowledged_row_is_found_after_17_kills_at_random_moments(tmp_path: Path, kind: str) -> None:
    require_nothing_lost(tmp_path, kind, 17)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_every_acknowledged_row_is_found_after_700_kills_amid_checkpoints(tmp_path: Path, kind: str) -> None:
    require_nothing_lost(tmp_path, kind, 700)
