from __future__ import annotations

import importlib.util
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
    """The engine over backends that do everything themselves, and over one that does only what is required."""
    if request.param in OURS:
        for file in (data_folder / "system" / "tenancy" / "tenants").glob("*.yaml"):
            file.write_text(f"{file.read_text()}isolation: {OURS[request.param]}\n")
        return open_engine()
    settings = data_folder / "system" / "tenancy" / "engine.yaml"
    chosen = "row_level: {backend: ephemeral-dict, ephemeral: true}"
    text = settings.read_text()
    assert "row_level: duckdb-row" in text
    settings.write_text(text.replace("row_level: duckdb-row", chosen))
    return open_engine(plugins=[example_plugin()])
