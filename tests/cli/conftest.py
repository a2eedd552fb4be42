from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from partywall import hookimpl
from partywall.backend import BackendSpec
from partywall.cli import run
from partywall.folder import DataFolder
from partywall.model import Strategy
from partywall_duckdb import plugin

WAIT = 60.0


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.err)["error"]


Run = Callable[..., Result]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where ``partywall`` works, as a newcomer's empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PARTYWALL_DATA", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    return tmp_path / "orchestrator-data"


@pytest.fixture
def here(root: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process."""

    def call(*arguments: object) -> Result:
        capfd.readouterr()
        code = run([str(each) for each in arguments])
        return Result(code, *capfd.readouterr())

    return call


@pytest.fixture
def shell(root: Path) -> Run:
    """Runs a command as operators do, in a process of its own."""

    def call(*arguments: object, wait: float = WAIT, **environment: str) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "partywall", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=wait,
            check=False,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def folder(root: Path, here: Run) -> DataFolder:
    """A data folder as ``init`` makes it."""
    assert here("init").code == 0
    return DataFolder(root)


@pytest.fixture
def elsewhere(folder: DataFolder) -> None:
    """A data folder whose engine.yaml names a backend for database_level that nobody installed."""
    file = folder.tenancy / "engine.yaml"
    text = file.read_text()
    assert "database_level: duckdb-database" in text
    file.write_text(text.replace("database_level: duckdb-database", "database_level: postgres-database"))


@pytest.fixture
def rows_alone(folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation, and a data folder, in which nothing offers another strategy than row_level."""

    @hookimpl
    def partywall_backends() -> list[BackendSpec]:
        return [spec for spec in announced() if spec.strategy is Strategy.ROW]

    announced = plugin.partywall_backends
    monkeypatch.setattr(plugin, "partywall_backends", partywall_backends)
    file = folder.tenancy / "engine.yaml"
    lines = file.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(("  schema_level:", "  database_level:"))]
    assert len(kept) == len(lines) - 2
    file.write_text("".join(kept))


@pytest.fixture
def acme(folder: DataFolder, here: Run) -> str:
    """The sample tenant's id."""
    tenants = here("tenants", "list", "--json").document["tenants"]
    return str(next(each["id"] for each in tenants if each["slug"] == "acme"))


@pytest.fixture
def installed(tmp_path: Path) -> Callable[[str, str], Path]:
    """Puts a distribution with a plugin on the path of the commands in processes of their own."""
    site = tmp_path / "site"

    def install(name: str, source: str) -> Path:
        info = site / f"{name.replace('-', '_')}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        module = name.replace("-", "_")
        (info / "entry_points.txt").write_text(f"[partywall]\n{name} = {module}\n")
        (site / f"{module}.py").write_text(source)
        return site

    return install


@pytest.fixture
def terminal(root: Path) -> Callable[..., tuple[int, str]]:
    """Runs a command on a terminal of so many columns; returns its code and what the terminal showed."""

    def call(*arguments: str, columns: int = 80, answer: str = "") -> tuple[int, str]:
        ours, theirs = pty.openpty()
        environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color"}
        command = [sys.executable, "-m", "partywall", *arguments]
        with subprocess.Popen(command, stdout=theirs, stdin=theirs, stderr=theirs, env=environment) as process:
            os.close(theirs)
            os.write(ours, answer.encode())
            told = b""
            try:
                while part := os.read(ours, 4096):
                    told += part
            except OSError:  # a pseudo-terminal whose other side is closed says so like this
                os.close(ours)
            code = process.wait(WAIT)
        return code, told.decode()

    return call
