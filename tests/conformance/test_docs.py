"""What a stranger does who follows docs/writing-a-backend.md, with nothing but its code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from partywall.model import EngineConfig, Strategy

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "writing-a-backend.md").read_text()
BLOCK = re.compile(r"^```\w+\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = dict(BLOCK.findall(PAGE))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project, target = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("site")
    for name in ("pyproject.toml", "partywall_sqlitefile.py", "tests/test_conformance.py"):
        path = project / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(FILES[name])
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*pip, "--target", str(target), str(project)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (project / "partywall_sqlitefile.py").unlink()
    (project / "site").symlink_to(target)
    return project


def run(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(project / "site"), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=project, env=environment, capture_output=True, text=True, check=False
    )


def test_the_backend_is_found_once_it_is_installed(installed: Path) -> None:
    done = run(installed, "partywall", "plugins")
    assert "sqlite-file" in done.stdout, done.stderr
    assert "partywall-sqlitefile" in done.stdout


def test_the_line_in_engine_yaml_chooses_it() -> None:
    config = EngineConfig.model_validate(yaml.safe_load(FILES["engine.yaml"]))
    assert config.backends[Strategy.DATABASE].backend == "sqlite-file"


def test_the_backend_of_the_page_passes_the_kit_by_name(installed: Path) -> None:
    kit = ["pytest", "-p", "partywall.pytest_plugin", "-p", "no:cacheprovider", "-q"]
    done = run(installed, *kit, "--pyargs", "partywall.conformance", "--backend", "sqlite-file", "--operations", "100")
    assert done.returncode == 0, done.stdout
    assert "sqlite-file claims durable, interrupts" in done.stdout
    assert "filters is not claimed" in done.stdout
    assert "skipped" not in done.stdout


def test_the_subclass_of_the_page_brings_an_oracle(installed: Path) -> None:
    kit = [
        "pytest",
        "-p",
        "partywall.pytest_plugin",
        "-p",
        "no:cacheprovider",
        "-q",
        "tests",
        "-k",
        "oracle or restart",
    ]
    done = run(installed, *kit)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^\d passed", done.stdout, re.MULTILINE), done.stdout
    assert "oracle was given" not in done.stdout


def test_every_block_of_code_of_the_page_is_named_and_so_used_here() -> None:
    kinds = re.findall(r"^```(\w+)$", PAGE, re.MULTILINE)
    assert len(FILES) == len([kind for kind in kinds if kind != "console"]) == 4
