from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

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
