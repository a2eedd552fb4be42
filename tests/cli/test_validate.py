from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from partywall.folder import DataFolder

Run = Callable[..., Any]
TENANCY = "orchestrator-data/system/tenancy"


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_every_problem_is_a_line_with_its_place_and_the_code_is_one(here: Run, folder: DataFolder) -> None:
    replaced(folder.tenancy / "plans.yaml", "maxUsers: 1", "maxUsers: one")
    replaced(folder.tenancy / "tenants" / "acme.yaml", "status: active", "status: actve")
    found = here("validate")
    assert (found.code, found.err) == (1, "")
    lines = found.out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        "orchestrator-data/system/tenancy/plans.yaml:10:17",
        "orchestrator-data/system/tenancy/tenants/acme.yaml:8:9",
    ]
    assert "expected one of active, pending, suspended, deleted" in lines[1]


def test_problems_as_json_have_file_line_column_message_and_path(here: Run, folder: DataFolder) -> None:
    replaced(folder.tenancy / "tenants" / "acme.yaml", "status: active", "status: actve")
    found = here("validate", "--json")
    assert (found.code, found.err) == (1, "")
    (problem,) = found.document.pop("problems")
    assert found.document["ok"] is False
    assert (problem["file"], problem["line"], problem["column"], problem["path"]) == (
        "system/tenancy/tenants/acme.yaml",
        8,
        9,
        "status",
    )


def test_a_good_folder_is_ok_with_its_numbers(here: Run, folder: DataFolder) -> None:
    assert here("validate", folder.root).out == "ok: 1 tenant, 4 plans\n"
    assert here("validate", "--json").document == {"ok": True, "tenants": 1, "plans": 4, "problems": []}


def test_a_file_made_by_hand_without_an_id_is_fine_and_stays_as_it_is(here: Run, folder: DataFolder) -> None:
    made = folder.tenancy / "tenants" / "beta.yaml"
    lines = (folder.tenancy / "tenants" / "acme.yaml").read_text().replace("slug: acme", "slug: beta").splitlines()
    made.write_text("\n".join(line for line in lines if not line.startswith("id:")))
    before = made.read_bytes()
    assert here("validate").out == "ok: 2 tenants, 4 plans\n"
    assert made.read_bytes() == before


@pytest.mark.usefixtures("rows_alone")
def test_a_tenant_that_no_installed_backend_can_hold_is_a_problem_that_says_what_to_install(
    here: Run, folder: DataFolder
) -> None:
    replaced(folder.tenancy / "tenants" / "acme.yaml", "type: starter", "type: starter\nisolation: database_level")
    (line,) = here("validate").out.splitlines()
    assert line.startswith(
        "orchestrator-data/system/tenancy/tenants/acme.yaml:8:12: no installed backend offers database_level"
    )
    assert "partywall-duckdb" in line


@pytest.mark.usefixtures("rows_alone")
def test_a_strategy_that_comes_from_the_plan_is_blamed_on_the_tenants_type(here: Run, folder: DataFolder) -> None:
    replaced(folder.tenancy / "plans.yaml", "    retentionDays: 30", "    isolation: database_level")
    (line,) = here("validate").out.splitlines()
    assert line.startswith(
        "orchestrator-data/system/tenancy/tenants/acme.yaml:7:7: no installed backend offers database_level"
    )


def test_a_backend_that_is_not_installed_is_a_problem_of_engine_yaml(here: Run, folder: DataFolder) -> None:
    replaced(folder.tenancy / "engine.yaml", "row_level: duckdb-row", "row_level: nowhere-row")
    (line,) = here("validate").out.splitlines()
    assert line.startswith("orchestrator-data/system/tenancy/engine.yaml:12:14: backend 'nowhere-row' is not installed")


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_folder_that_is_none_is_refused_with_what_to_do(here: Run, root: Path, form: list[str]) -> None:
    refused = here("validate", "elsewhere", *form)
    assert (refused.code, refused.out) == (78, "")
    assert "partywall init" in refused.err


def test_places_are_named_from_where_the_command_runs(
    here: Run, folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (folder.tenancy / "tenants" / "acme.yaml").read_text()
    (folder.tenancy / "tenants" / "twin.yaml").write_text(text.replace("slug: acme", "slug: twin"))
    monkeypatch.chdir(folder.tenancy)
    (line,) = here("validate", folder.root).out.splitlines()
    assert line.startswith("../../system/tenancy/tenants/twin.yaml:4:5: the id 'ten_")
    assert line.endswith(" is taken by ../../system/tenancy/tenants/acme.yaml:4:5 at id")
    assert Path(line.partition(":")[0]).is_file()
    (problem,) = here("validate", folder.root, "--json").document["problems"]
    assert problem["file"] == "system/tenancy/tenants/twin.yaml"


def test_a_backend_that_is_nearly_right_is_named(here: Run, folder: DataFolder) -> None:
    replaced(folder.tenancy / "engine.yaml", "row_level: duckdb-row", "row_level: duckdb-rows")
    (line,) = here("validate").out.splitlines()
    assert "is not installed; did you mean 'duckdb-row'? If not, install " in line


def test_a_tenants_file_that_is_being_saved_is_not_ok(here: Run, folder: DataFolder) -> None:
    with (folder.tenancy / "tenants" / "acme.yaml").open("a") as file:
        file.write("nonsense: [\n")
        file.flush()
        found = here("validate")
    assert (found.code, found.out) == (1, f"{TENANCY}/tenants/acme.yaml:1:1: the file is being written; try again\n")
