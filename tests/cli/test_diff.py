from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import partywall
from partywall.folder import DataFolder
from partywall.ledger import LifecycleRecord, open_ledger
from partywall.model import Status
from partywall.names import Slug, TenantId

Run = Callable[..., Any]


@pytest.fixture
def opened(folder: DataFolder) -> DataFolder:
    """A folder that an engine had open, so that there is something in force."""
    partywall.open(folder.root, watch=False).close()
    return folder


def edit(folder: DataFolder, key: str, old: str, new: str) -> None:
    path = folder.tenancy / key
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def add(folder: DataFolder, slug: str, *, number: int, more: str = "") -> None:
    text = (folder.tenancy / "tenants" / "acme.yaml").read_text().replace("slug: acme", f"slug: {slug}")
    lines = [f"id: ten_more{number:06}" if line.startswith("id:") else line for line in text.splitlines()]
    (folder.tenancy / "tenants" / f"{slug}.yaml").write_text("\n".join([*lines, more, ""]))


def git(folder: DataFolder, *arguments: str) -> None:
    who = ["-c", "user.name=ann", "-c", "user.email=ann@acme.test", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", folder.root.parent, *who, *arguments], check=True, capture_output=True)


def test_what_is_in_force_is_no_difference_and_the_code_is_nought(here: Run, opened: DataFolder) -> None:
    same = here("diff")
    assert (same.code, same.out, same.err) == (0, "no difference\n", "")
    assert here("diff", "--json").document == {
        "changed": False,
        "plans": [],
        "tenants": [],
        "at_start": [],
        "problems": [],
    }


def test_an_edit_is_told_before_it_is_in_force_and_nothing_is_remembered(here: Run, opened: DataFolder) -> None:
    edit(opened, "tenants/acme.yaml", "status: active", "status: suspended")
    edit(opened, "tenants/acme.yaml", "type: starter", "type: free")
    for _ in range(2):
        told = here("diff")
        assert told.code == 1
        lines = told.out.splitlines()
        assert lines[:3] == [
            "tenant acme on free: status: active -> suspended",
            "tenant acme on free: plan: starter -> free",
            "tenant acme on free: quotas.users: 5 -> 1",
        ]
        assert "tenant acme on free: quotas.storage: 10 GB -> 1 GB" in lines
        assert "tenant acme on free: features: -custom_skills -priority_support" in lines


def test_an_edit_of_a_plan_is_one_line_with_the_number_of_tenants_that_it_reaches(
    here: Run, folder: DataFolder
) -> None:
    for number in range(100):
        add(folder, f"t{number}", number=number, more="quotas: {maxProjects: 7}" if number < 2 else "")
    old = shutil.copytree(folder.root, folder.root.parent / "old")
    edit(folder, "plans.yaml", "maxProjects: 10", "maxProjects: 20")
    edit(folder, "plans.yaml", "price: 29", "price: 39")
    edit(folder, "plans.yaml", "- sso", "- sso_plus")
    told = here("diff", old)
    assert told.code == 1
    assert told.out.splitlines() == [
        "plan starter: quotas.projects: 10 -> 20 (99 tenants)",
        "plan starter: price: 29 -> 39",
        "plan enterprise: features: -sso +sso_plus",
    ]
    plan = here("diff", old, "--json").document["plans"][0]
    assert plan["changes"][0] == {"path": "quotas.projects", "before": 10, "after": 20, "tenants": 99}


def test_tenants_for_whom_the_same_changes_are_one_line_and_overrides_are_told_apart(
    here: Run, folder: DataFolder
) -> None:
    for number, slug in enumerate(["beta", "corner", "delta", "echo"]):
        add(folder, slug, number=number)
    old = shutil.copytree(folder.root, folder.root.parent / "old")
    for slug in ("beta", "corner", "delta", "echo"):
        with (folder.tenancy / "tenants" / f"{slug}.yaml").open("a") as file:
            file.write("quotas: {maxProjects: unlimited}\n")
    edit(folder, "plans.yaml", "maxProjects: 10", "maxProjects: 20")
    assert here("diff", old).out.splitlines() == [
        "plan starter: quotas.projects: 10 -> 20 (1 tenant)",
        "4 tenants (beta, corner, delta and 1 more) on starter: quotas.projects: 10 -> unlimited",
    ]
    (group,) = here("diff", old, "--json").document["tenants"]
    assert [each["slug"] for each in group["tenants"]] == ["beta", "corner", "delta", "echo"]
    assert group["changes"] == [{"path": "quotas.projects", "before": 10, "after": None}]


def test_tenants_and_plans_that_come_and_go_are_told(here: Run, folder: DataFolder) -> None:
    old = shutil.copytree(folder.root, folder.root.parent / "old")
    add(folder, "beta", number=1)
    (folder.tenancy / "tenants" / "acme.yaml").unlink()
    edit(folder, "plans.yaml", "  free:", "  gratis:")
    assert here("diff", old).out.splitlines() == [
        "plan free: gone",
        "plan gratis: new",
        "tenant beta on starter: new",
        "tenant acme on starter: gone",
    ]


def test_a_file_without_an_id_is_the_same_tenant_in_both(here: Run, folder: DataFolder) -> None:
    path = folder.tenancy / "tenants" / "acme.yaml"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("id:")))
    old = shutil.copytree(folder.root, folder.root.parent / "old")
    edit(folder, "tenants/acme.yaml", 'name: "Acme"', "name: Apex")
    assert here("diff", old).out == "tenant acme on starter: name: Acme -> Apex\n"


def test_a_change_of_isolation_says_that_data_stays(here: Run, opened: DataFolder) -> None:
    edit(opened, "tenants/acme.yaml", "status: active", "status: active\nisolation: database_level")
    edit(opened, "tenants/acme.yaml", "status: active", "status: active\nsettings: {dataResidency: eu}")
    stays = "(data that is there stays until it is moved)"
    assert here("diff").out.splitlines() == [
        f"tenant acme on starter: region: none -> eu {stays}",
        f"tenant acme on starter: isolation: row_level -> database_level {stays}",
    ]


def test_the_status_is_the_one_in_force(here: Run, opened: DataFolder, acme: str) -> None:
    with closing(open_ledger(opened.ledger)) as ledger:
        record = LifecycleRecord(TenantId(acme), Slug("acme"), Status.SUSPENDED, "unpaid", suspended_at=1.0)
        ledger.write(lambda tx: tx.put_lifecycle(record))
    edit(opened, "tenants/acme.yaml", "status: active", "status: suspended")
    assert here("diff").code == 0
    edit(opened, "tenants/acme.yaml", "status: suspended", "status: deleted")
    assert here("diff").out == "tenant acme on starter: status: suspended -> deleted\n"


def test_a_file_that_is_wrong_is_told_and_left_out(here: Run, opened: DataFolder) -> None:
    edit(opened, "tenants/acme.yaml", "status: active", "status: actve")
    told = here("diff")
    assert told.code == 0
    assert told.out.startswith("not in the comparison: system/tenancy/tenants/acme.yaml:8:9: expected one of active")
    assert len(here("diff", "--json").document["problems"]) == 1


def test_a_git_revision_is_compared_with_the_files_now(here: Run, folder: DataFolder) -> None:
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")
    assert here("diff", "HEAD").code == 0
    edit(folder, "plans.yaml", "maxProjects: 10", "maxProjects: 20")
    edit(folder, "engine.yaml", "durability: commit", "durability: interval")
    edit(folder, "tables.yaml", "budget: {type: float}", "budget: {type: integer}")
    assert here("diff", "HEAD").out.splitlines() == [
        "plan starter: quotas.projects: 10 -> 20 (1 tenant)",
        "engine.yaml, at the next start: durability: commit -> interval",
        "tables.yaml, at the next start: projects.columns.budget.type: float -> integer",
    ]
    git(folder, "commit", "-q", "-a", "-m", "two")
    assert here("diff", "HEAD").code == 0
    assert here("diff", "HEAD~1").code == 1


@pytest.mark.parametrize("against", ["nowhere", "--output=x", "HEAD:plans"])
def test_what_is_neither_a_folder_nor_a_revision_is_refused(here: Run, folder: DataFolder, against: str) -> None:
    git(folder, "init", "-q")
    refused = here("diff", "--", against)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == f"error: '{against}' is neither a folder nor a git revision of {folder.root}\n"


def test_a_revision_without_the_files_and_a_folder_without_them_are_refused(
    here: Run, folder: DataFolder, tmp_path: Path
) -> None:
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "empty")
    refused = here("diff", "HEAD")
    assert (refused.code, "has no files below system/tenancy" in refused.err) == (2, True)
    (tmp_path / "empty").mkdir()
    assert here("diff", "empty").code == 78


def test_every_part_of_a_rate_limit_counts(here: Run, opened: DataFolder) -> None:
    edit(opened, "plans.yaml", "{ maxRequests: 500, windowMs: 60000 }", "{ maxRequests: 500, windowMs: 1234567 }")
    before, after = "500 in 60 s per tenant, sliding window", "500 in 1234.57 s per tenant, sliding window"
    assert here("diff").out == f"plan starter: rate_limits.api_requests: {before} -> {after} (1 tenant)\n"
    partywall.open(opened.root, watch=False).close()
    assert here("diff").code == 0
    edit(opened, "plans.yaml", "windowMs: 1234567", "windowMs: 1234568")
    (change,) = here("diff", "--json").document["plans"][0]["changes"]
    assert (change["before"]["window_ms"], change["after"]["window_ms"]) == (1234567, 1234568)
