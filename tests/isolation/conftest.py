from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from partywall import Engine

EXAMPLE = Path(__file__).parents[2] / "examples" / "ephemeral-backend" / "src" / "partywall_ephemeral.py"


def example_plugin() -> ModuleType:
    spec = importlib.util.spec_from_file_location("partywall_ephemeral", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


OURS = {"duckdb-row": "row_level", "duckdb-schema": "schema_level", "duckdb-database": "database_level"}


@pytest.fixture(params=[*OURS, "ephemeral-dict"])
def engine(request: pytest.FixtureRequest, data_folder: Path, open_engine: Callable[..., Engine]) -> Engine:
    """The engine over backends that do everything themselves, and over one that does only what is required.

    All tenants live in one region and, at row level, in one file: only there do they have a wall between them.
    """
    tenancy = data_folder / "system" / "tenancy"
    strategy = OURS.get(request.param, "row_level")
    for file in (tenancy / "tenants").glob("*.yaml"):
        at_home = re.sub(r" *dataResidency: .*\n", "", file.read_text())
        file.write_text(f"{at_home}isolation: {strategy}\n")
    settings = tenancy / "engine.yaml"
    text = settings.read_text()
    assert "row_level: duckdb-row" in text
    if request.param in OURS:
        settings.write_text(
            text.replace("row_level: duckdb-row", "row_level: {backend: duckdb-row, options: {shards: 1}}")
        )
        return open_engine()
    settings.write_text(text.replace("row_level: duckdb-row", "row_level: {backend: ephemeral-dict, ephemeral: true}"))
    return open_engine(plugins=[example_plugin()])
