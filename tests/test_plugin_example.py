"""The example plugin works after nothing but an install and a line in engine.yaml."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "ephemeral-backend"

USE = """
import sys, partywall
with partywall.open(sys.argv[1], watch=False) as engine:
    acme = engine.tenants.get_by_slug("acme")
    beta = engine.tenants.get_by_slug("beta-labs")
    row = engine.query(acme.id).insert("projects", {"name": "Apollo"})
    assert engine.isolation.placement(acme.id).backend == "ephemeral-dict"
    assert engine.query(acme.id).select("projects", {"name": "Apollo"}) == [row]
    assert engine.query(beta.id).get("projects", row["id"]) is None
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*pip, "--target", str(target), str(EXAMPLE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def run(installed: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)


def choose(data_folder: Path, line: str) -> None:
    settings = data_folder / "system" / "tenancy" / "engine.yaml"
    text = settings.read_text()
    assert "row_level: duckdb-row" in text
    settings.write_text(text.replace("row_level: duckdb-row", line))


def test_an_install_and_a_line_in_engine_yaml_are_enough(installed: Path, data_folder: Path) -> None:
    choose(data_folder, "row_level: {backend: ephemeral-dict, ephemeral: true}")
    done = run(installed, "-c", USE, str(data_folder))
    assert done.returncode == 0, done.stderr


def test_without_the_word_ephemeral_it_is_refused(installed: Path, data_folder: Path) -> None:
    choose(data_folder, "row_level: ephemeral-dict")
    done = run(installed, "-c", USE, str(data_folder))
    assert done.returncode != 0
    assert "ephemeral: true" in done.stderr


def test_the_command_line_lists_it(installed: Path) -> None:
    done = run(installed, "-m", "partywall", "plugins", "--json")
    assert done.returncode == 0, done.stderr
    assert "ephemeral-dict" in done.stdout
    assert "duckdb-row" in done.stdout


def test_it_has_at_most_80_lines() -> None:
    (module,) = (EXAMPLE / "src").glob("*.py")
    assert len(module.read_text().splitlines()) <= 80
