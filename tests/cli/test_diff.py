from __future__ import annotations

import os
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
        "other_problems": [],
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


def committed(folder: DataFolder) -> None:
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")


def test_a_file_that_is_wrong_in_the_revision_is_told_as_that_and_left_out(here: Run, folder: DataFolder) -> None:
    add(folder, "beta", number=1)
    edit(folder, "tenants/acme.yaml", "status: active", "status: actve")
    edit(folder, "tenants/beta.yaml", "status: active", "status: [")
    committed(folder)
    edit(folder, "tenants/acme.yaml", "status: actve", "status: active")
    edit(folder, "tenants/beta.yaml", "status: [", "status: active")
    (folder.tenancy / "tenants" / "acme.yaml").rename(folder.tenancy / "tenants" / "renamed.yaml")
    told = here("diff", "HEAD")
    assert told.code == 0
    assert [line.partition(": expected")[0].partition(": did not")[0] for line in told.out.splitlines()] == [
        "not in the comparison, wrong in HEAD: system/tenancy/tenants/acme.yaml:8:9",
        "not in the comparison, wrong in HEAD: system/tenancy/tenants/beta.yaml:10:1",
    ]
    document = here("diff", "HEAD", "--json").document
    assert ([each["line"] for each in document["other_problems"]], document["problems"]) == ([8, 10], [])


def test_a_file_name_that_cannot_be_read_hides_nobody_else(here: Run, folder: DataFolder) -> None:
    other = shutil.copytree(folder.root, folder.root.parent / "other")
    (other / "system" / "tenancy" / "tenants" / os.fsdecode(b"caf\xe9.yaml")).write_text("a: 1\n")
    add(folder, "beta", number=1)
    assert here("diff", "other").out.splitlines()[0] == "tenant beta on starter: new"


def test_a_file_that_is_wrong_now_is_not_gone(here: Run, folder: DataFolder) -> None:
    committed(folder)
    edit(folder, "tenants/acme.yaml", "status: active", "status: actve")
    told = here("diff", "HEAD")
    assert (told.code, told.out.count("\n")) == (0, 1)
    assert told.out.startswith("not in the comparison: system/tenancy/tenants/acme.yaml:8:9: expected one of active")


def test_a_copy_that_is_refused_keeps_nobody_out_of_the_comparison(here: Run, folder: DataFolder) -> None:
    committed(folder)
    edit(folder, "tenants/acme.yaml", 'name: "Acme"', "name: Apex")
    text = (folder.tenancy / "tenants" / "acme.yaml").read_text()
    (folder.tenancy / "tenants" / "copy.yaml").write_text(text)
    told = here("diff", "HEAD")
    assert told.out.splitlines()[0] == "tenant acme on starter: name: Acme -> Apex"
    assert "not in the comparison: system/tenancy/tenants/copy.yaml" in told.out


@pytest.mark.parametrize("now", [False, True])
@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        ("engine.yaml", "durability: commit", "durability: comit"),
        ("engine.yaml", "durability: commit", "durability: ["),
        ("tables.yaml", "type: float", "type: flaot"),
    ],
)
def test_a_wrong_engine_yaml_or_tables_yaml_leaves_everything_else_to_compare(
    here: Run, folder: DataFolder, key: str, old: str, new: str, now: bool
) -> None:
    edit(folder, "tenants/acme.yaml", "status: active", "status: active\nsettings: {dataResidency: eu}")
    edit(folder, key, *((old, old) if now else (old, new)))
    committed(folder)
    edit(folder, key, *((old, new) if now else (new, old)))
    edit(folder, "plans.yaml", "maxProjects: 10", "maxProjects: 20")
    told = here("diff", "HEAD")
    plan, problem = told.out.splitlines()
    assert (told.code, plan) == (1, "plan starter: quotas.projects: 10 -> 20 (1 tenant)")
    assert problem.startswith(f"not in the comparison{'' if now else ', wrong in HEAD'}: system/tenancy/{key}:")


@pytest.mark.parametrize("now", [False, True])
def test_wrong_plans_leave_nothing_to_compare_and_it_is_said_whose(here: Run, folder: DataFolder, now: bool) -> None:
    wrong = ("plans.yaml", "maxProjects: 10", "maxProjects: ten")
    other = shutil.copytree(folder.root, folder.root.parent / "other")
    edit(folder if now else DataFolder(other), *wrong)
    refused = here("diff", "other")
    assert (refused.code, refused.out) == (78, "")
    first, problem = refused.err.splitlines()
    whose = "the files now" if now else "other"
    assert first == f"error: nothing can be compared: the plans of {whose} cannot be used"
    assert problem.startswith("system/tenancy/plans.yaml:")


@pytest.mark.parametrize("linked", ["system/tenancy/tenants", "system/tenancy", "system"])
@pytest.mark.parametrize("release", ["system-releases/1", "../releases/1", "system-releases/current/1"])
def test_a_release_that_a_link_leads_to_is_compared(here: Run, folder: DataFolder, linked: str, release: str) -> None:
    place = folder.root / linked
    real = (folder.root / release.replace("current", "all")).resolve()
    real.parent.mkdir(parents=True)
    place.rename(real)
    if "current" in release:
        (real.parent.parent / "current").symlink_to("all")
    place.symlink_to(os.path.relpath(folder.root / release, place.parent))
    committed(folder)
    assert here("diff", "HEAD").out == "no difference\n"
    edit(folder, "tenants/acme.yaml", 'name: "Acme"', "name: Apex")
    assert here("diff", "HEAD").out == "tenant acme on starter: name: Acme -> Apex\n"


@pytest.mark.parametrize("linked", ["system/tenancy/tenants", "system/tenancy"])
@pytest.mark.parametrize("where", ["absolute", "outside", "ignored"])
def test_a_link_to_what_the_revision_does_not_have_is_refused(
    here: Run, folder: DataFolder, tmp_path_factory: pytest.TempPathFactory, linked: str, where: str
) -> None:
    place = folder.root / linked
    real = (folder.root if where == "ignored" else tmp_path_factory.mktemp("releases")) / "1"
    place.rename(real)
    target = str(real) if where == "absolute" else os.path.relpath(real, place.parent)
    place.symlink_to(target)
    (folder.root.parent / ".gitignore").write_text("1\n")
    committed(folder)
    assert here("validate").code == 0
    refused = here("diff", "HEAD")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == (
        f"error: {linked} is a link to {target!r}, which is not in revision 'HEAD': it cannot be compared\n"
    )


def test_a_tenants_file_that_is_a_link_is_read_and_told_when_it_cannot_be(
    here: Run, folder: DataFolder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    add(folder, "beta", number=1)
    beyond = tmp_path_factory.mktemp("beyond") / "beta.yaml"
    tenants = folder.tenancy / "tenants"
    (tenants / "beta.yaml").rename(beyond)
    (tenants / "beta.yaml").symlink_to(beyond)
    (tenants / "acme.yaml").rename(folder.root / "shared.yaml")
    (tenants / "acme.yaml").symlink_to("../../../shared.yaml")
    committed(folder)
    told = here("diff", "HEAD")
    place, message = "system/tenancy/tenants/beta.yaml:1:1", f"a link to '{beyond}', which is not in revision 'HEAD'"
    assert (told.code, told.out) == (0, f"not in the comparison, wrong in HEAD: {place}: this is {message}\n")


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
