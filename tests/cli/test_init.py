from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from partywall.catalog import check
from partywall.folder import DataFolder

SAMPLE = Path(__file__).parents[2] / "orchestrator-data" / "system" / "tenancy"


@pytest.mark.parametrize("name", ["engine.yaml", "plans.yaml", "tables.yaml"])
def test_the_starter_files_are_the_sample_files_of_the_repository(name: str) -> None:
    starter = files("partywall.cli") / "starter" / name
    assert starter.read_bytes() == (SAMPLE / name).read_bytes()


def test_init_then_validate_then_status_is_all_a_newcomer_needs(shell: Callable[..., Any], root: Path) -> None:
    made = shell("init")
    assert (made.code, made.err) == (0, "")
    assert "partywall --data orchestrator-data validate" in made.out
    checked = shell("validate")
    assert (checked.code, checked.out, checked.err) == (0, "ok: 1 tenant, 4 plans\n", "")
    told = shell("status")
    assert told.code == 0
    assert "not running" in told.out
    assert "1 active" in told.out
    assert not (root / "var").exists()


def test_init_names_every_file_that_it_wrote(here: Callable[..., Any], root: Path) -> None:
    written = here("init", "--json").document
    assert written["folder"] == str(root)
    assert {Path(path).relative_to(root).as_posix() for path in written["files"]} == {
        ".gitignore",
        "system/tenancy/engine.yaml",
        "system/tenancy/plans.yaml",
        "system/tenancy/schema/engine.json",
        "system/tenancy/schema/plans.json",
        "system/tenancy/schema/tables.json",
        "system/tenancy/schema/tenant.json",
        "system/tenancy/tables.yaml",
        "system/tenancy/tenants/acme.yaml",
    }
    assert all(Path(path).is_file() for path in written["files"])


def test_init_makes_a_folder_without_problems_wherever_it_is_told_to(here: Callable[..., Any], tmp_path: Path) -> None:
    assert here("init", tmp_path / "a" / "b").code == 0
    assert check(tmp_path / "a" / "b") == []
    assert here("--data", tmp_path / "c", "init").code == 0
    assert check(tmp_path / "c") == []


def test_two_folders_never_share_a_tenants_id(here: Callable[..., Any], tmp_path: Path) -> None:
    ids = set()
    for name in ("a", "b"):
        here("init", name)
        ids.add(here("tenants", "list", "--data", name, "--json").document["tenants"][0]["id"])
    assert len(ids) == 2


def test_init_overwrites_nothing_and_says_which_file_is_there(here: Callable[..., Any], folder: DataFolder) -> None:
    mine = folder.tenancy / "tenants" / "acme.yaml"
    for path in folder.tenancy.rglob("*.*"):
        if path != mine:
            path.unlink()
    mine.write_text("mine")
    refused = here("init")
    assert refused.code == 78
    assert refused.err == f"error: {mine} is there already; nothing was written\n"
    assert mine.read_text() == "mine"
    assert list(folder.tenancy.rglob("*.*")) == [mine]


def test_init_leaves_a_gitignore_as_it_is(here: Callable[..., Any], root: Path) -> None:
    root.mkdir()
    (root / ".gitignore").write_text("mine\n")
    assert here("init").code == 0
    assert (root / ".gitignore").read_text() == "mine\n"
