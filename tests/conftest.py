from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import partywall
from partywall import Engine
from partywall.clock import ManualClock
from partywall.model import Tenant

SAMPLE = Path(__file__).parent.parent / "orchestrator-data" / "system"


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "orchestrator-data"
    shutil.copytree(SAMPLE, folder / "system")
    return folder


@pytest.fixture
def told_by(data_folder: Path) -> Callable[..., dict[str, Any]]:
    """Runs a driver over the data folder, in a process of its own, and returns what it found."""

    def run(driver: Path, *arguments: object) -> dict[str, Any]:
        command = [sys.executable, str(driver), str(data_folder), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return run


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def open_engine(data_folder: Path, clock: ManualClock) -> Iterator[Callable[..., Engine]]:
    opened: list[Engine] = []

    def open_one(**options: object) -> Engine:
        engine = partywall.open(data_folder, **{"clock": clock, "watch": False, **options})
        opened.append(engine)
        return engine

    yield open_one
    for engine in opened:
        engine.close()


@pytest.fixture
def engine(open_engine: Callable[..., Engine]) -> Engine:
    return open_engine()


@pytest.fixture
def acme(engine: Engine) -> Tenant:
    return engine.tenants.get_by_slug("acme")


@pytest.fixture
def beta(engine: Engine) -> Tenant:
    return engine.tenants.get_by_slug("beta-labs")


@pytest.fixture
def corner(engine: Engine) -> Tenant:
    return engine.tenants.get_by_slug("corner-shop")
