from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import partywall
from partywall import Engine
from partywall.cli.changing import actor
from partywall.folder import DataFolder

Run = Callable[..., Any]
OWNER = ["--owner-id", "u1", "--owner-email", "bea@beta.test", "--owner-name", "Bea"]
BETA = ["--name", "Beta", "--slug", "beta", "--plan", "free", *OWNER]


@pytest.fixture(params=["alone", "beside a running engine"])
def engine(request: pytest.FixtureRequest, folder: DataFolder) -> Iterator[Engine | None]:
    """The engine that owns the folder while commands run; None where they open it themselves."""
    if request.param == "alone":
        yield None
        return
    with partywall.open(folder.root, watch=False) as running:
        yield running


@pytest.fixture
def call(engine: Engine | None, here: Run, shell: Run) -> Run:
    """Runs a command in a process of its own where one engine is to be asked by another process."""
    return here if engine is None else shell


@pytest.fixture
def tenant(here: Run) -> Callable[[str], dict[str, Any]]:
    def find(ref: str) -> dict[str, Any]:
        found: dict[str, Any] = here("tenants", "show", ref, "--json").document
        return found

    return find


def test_a_tenants_whole_life(call: Run, here: Run, tenant: Callable[[str], dict[str, Any]], root: Path) -> None:
    def ok(*arguments: object) -> str:
        done = call(*arguments)
        assert (done.code, done.err) == (0, "")
        return str(done.out)

    created = call("tenants", "create", *BETA, "--json")
    assert (created.code, created.err) == (0, "")
    beta = created.document["tenant_id"]
    assert tenant("beta")["placement"] == {"strategy": "row_level", "backend": "duckdb-row", "region": None}

    assert ok("tenants", "rename", "beta", "--slug", "beta-2", "--name", "Beta Two") == f"renamed {beta}\n"
    assert (tenant(beta)["slug"], tenant(beta)["name"]) == ("beta-2", "Beta Two")

    assert ok("tenants", "change-plan", "beta-2", "starter") == f"changed the plan of {beta}\n"
    assert tenant(beta)["quotas"]["projects"] == 10

    ok("tenants", "set", beta, "defaultModel=small", "allowedModels=small,large")
    assert tenant(beta)["settings"]["allowed_models"] == ["small", "large"]
    ok("tenants", "set", beta, "allowedModels=")
    assert tenant(beta)["settings"]["allowed_models"] is None
    assert tenant(beta)["settings"]["default_model"] == "small"

    assert ok("tenants", "suspend", beta, "--reason", "unpaid") == f"suspended {beta}\n"
    assert (tenant(beta)["status"], tenant(beta)["suspension_reason"]) == ("suspended", "unpaid")
    assert ok("tenants", "resume", beta) == f"resumed {beta}\n"
    assert tenant(beta)["status"] == "active"

    deleted = ok("tenants", "delete", beta).splitlines()
    assert deleted[0] == f"deleted {beta}"
    assert re.match(r"its data is purged on \d{4}-\d\d-\d\d; ", deleted[1])
    assert tenant(beta)["status"] == "deleted"
    assert ok("tenants", "restore", beta) == f"restored {beta}\n"
    assert tenant(beta)["status"] == "active"

    ok("tenants", "delete", beta)
    assert ok("tenants", "purge-due") == "none is due\n"
    assert ok("tenants", "purge", beta, "--before-due", "--yes") == f"purged {beta}\n"
    assert here("tenants", "show", beta).code == 4

    records = here("audit", "list", beta, "--limit", 50, "--json").document["records"]
    assert {record["actor"] for record in records} == {actor()}
    assert [record["action"] for record in records][-1] == "tenant.purged"
    assert here("status", "--json").document["operations"] == []


def test_each_change_answers_with_one_document_too(engine: Engine | None, here: Run) -> None:
    beta = here("tenants", "create", *BETA, "--pending", "--json").document["tenant_id"]
    for arguments in (
        ["resume", beta],
        ["rename", beta, "--name", "B"],
        ["change-plan", beta, "starter"],
        ["set", beta, "defaultModel=small"],
        ["restore", beta],
        ["purge", beta, "--before-due", "--yes"],
    ):
        if arguments[0] in ("restore", "purge"):
            gone = here("tenants", "delete", beta, "--json").document
            purge_at = gone.pop("purge_at")
            assert gone == {"tenant_id": beta, "stopped": [], "not_stopped": []}
            assert purge_at is not None
        done = here("tenants", *arguments, "--json")
        assert (done.code, done.err, done.document) == (0, "", {"tenant_id": beta})
    assert here("tenants", "purge-due", "--json").document == {"purged": []}


def test_create_takes_isolation_region_and_pending(
    engine: Engine | None, here: Run, tenant: Callable[[str], dict[str, Any]]
) -> None:
    done = here("tenants", "create", *BETA, "--pending", "--region", "eu", "--isolation", "row_level")
    assert done.code == 0
    made = tenant("beta")
    assert done.out == f"created {made['id']} (beta)\n"
    assert (made["status"], made["region"], made["placement"]["region"]) == ("pending", "eu", "eu")


@pytest.mark.parametrize(
    ("arguments", "code", "exit_code"),
    [
        (["create", *BETA[:-1], "Bea", "--slug", "acme"], "tenant-conflict", 6),
        (["create", *BETA, "--plan", "gold"], "argument-invalid", 2),
        (["create", *BETA, "--slug", "-"], "argument-invalid", 2),
        (["create", *BETA, "--isolation", "database_level"], "backend-not-found", 10),
        (["create", *BETA, "--region", "mars"], "backend-failed", 10),
        (["resume", "acme"], "tenant-conflict", 6),
        (["restore", "acme"], "tenant-conflict", 6),
        (["purge", "acme", "--yes"], "tenant-conflict", 6),
        (["suspend", "acme", "--reason", " "], "argument-invalid", 2),
        (["set", "acme", "favouriteColour=red"], "argument-invalid", 2),
        (["set", "acme", "defaultModel"], "argument-invalid", 2),
        (["rename", "acme", "--slug", "www"], "argument-invalid", 2),
        (["change-plan", "acme", "gold"], "argument-invalid", 2),
        (["suspend", "nobody", "--reason", "unpaid"], "tenant-not-found", 4),
    ],
)
@pytest.mark.usefixtures("elsewhere")
def test_a_refusal_has_the_same_code_and_exit_code_with_an_engine_and_without(
    engine: Engine | None, here: Run, arguments: list[str], code: str, exit_code: int
) -> None:
    refused = here("tenants", *arguments, "--json")
    assert (refused.out, refused.error["code"], refused.code) == ("", code, exit_code)


def test_a_suspension_from_another_process_is_in_force_when_the_command_returns(
    folder: DataFolder, acme: str, shell: Run
) -> None:
    with partywall.open(folder.root, watch=False) as engine:
        query = engine.query(acme)
        query.insert("projects", {"name": "Apollo"})
        assert shell("tenants", "suspend", "acme", "--reason", "unpaid").code == 0
        with pytest.raises(partywall.TenantSuspended):
            query.select("projects")
        assert shell("tenants", "resume", "acme").code == 0
        assert len(query.select("projects")) == 1


def test_beside_a_running_engine_every_reading_command_answers_and_changes_nothing(
    folder: DataFolder, acme: str, shell: Run
) -> None:
    with partywall.open(folder.root, watch=False) as engine:
        engine.usage.increment(acme, "projects", 3)
        engine.query(acme).insert("projects", {"name": "Apollo"})
        told = shell("status", "--json")
        assert (told.code, told.document["engine"]) == (0, {"running": True, "pid": os.getpid()})
        assert f"running (pid {os.getpid()})" in shell("status").out
        assert shell("usage", "show", "acme", "--json").document["usage"]["projects"]["used"] == 3
        assert shell("tenants", "list", "--json").document["tenants"][0]["id"] == acme
        assert shell("plugins").code == 0
        assert shell("validate").code == 0
        records = engine.audit.records()
        assert shell("audit", "list", "--json").document["records"][-1]["sequence"] == records[-1].sequence
        assert engine.audit.records() == records
        assert engine.catalog.refresh().generation == engine.catalog.snapshot.generation


def test_what_a_wrong_file_leaves_in_force_is_what_is_shown(folder: DataFolder, acme: str, here: Run) -> None:
    path = folder.tenancy / "tenants" / "acme.yaml"
    good = path.read_text()
    with partywall.open(folder.root, watch=False) as engine:
        path.write_text(good.replace("type: starter", "type: strater"))
        engine.catalog.refresh()
        assert here("tenants", "show", "acme", "--json").document["plan"] == "starter"
        assert "the plan 'strater' is not in plans.yaml" in here("status").out
        assert engine.tenants.get(acme).plan == "starter"
        path.write_text(good.replace("type: starter", "type: free"))
        assert here("tenants", "show", "acme", "--json").document["plan"] == "free"
    path.write_text(good.replace("type: starter", "type: strater"))
    # What a command saw meanwhile was never in force, so it is not what is left.
    assert here("tenants", "show", "acme", "--json").document["plan"] == "starter"


def test_an_edited_plan_reaches_a_running_engine_and_its_audit_log(folder: DataFolder, acme: str, shell: Run) -> None:
    with partywall.open(folder.root, watch=False) as engine:
        assert shell("plans", "set", "starter", "quotas.maxProjects", "77").code == 0
        engine.catalog.refresh()
        assert engine.tenants.get(acme).quotas.projects == 77
        (record,) = [each for each in engine.audit.records() if each.action == "plan.file_changed"]
        assert record.actor == "file"


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_purge_asks_and_where_nobody_can_be_asked_it_is_refused(
    folder: DataFolder, acme: str, here: Run, shell: Run, form: list[str]
) -> None:
    assert here("tenants", "delete", "acme").code == 0
    refused = shell("tenants", "purge", "acme", "--before-due", *form)
    assert (refused.code, refused.out) == (2, "")
    assert "--yes" in refused.err
    assert here("tenants", "show", "acme").code == 0


def test_a_purge_is_done_only_when_the_answer_is_yes(
    folder: DataFolder, acme: str, here: Run, terminal: Callable[..., tuple[int, str]]
) -> None:
    assert here("tenants", "delete", "acme").code == 0
    code, told = terminal("tenants", "purge", "acme", "--before-due", answer="n\n")
    assert code == 1
    assert f"Destroy everything of {acme}?" in told
    assert "error: nothing was done" in told
    assert here("tenants", "show", "acme").code == 0
    code, told = terminal("tenants", "purge", "acme", "--before-due", answer="y\n")
    assert code == 0
    assert here("tenants", "show", "acme").code == 4


def test_the_actor_is_the_account_and_not_what_the_environment_says(
    folder: DataFolder, acme: str, shell: Run, here: Run
) -> None:
    assert shell("tenants", "suspend", "acme", "--reason", "unpaid", USER="mallory", LOGNAME="mallory").code == 0
    records = here("audit", "list", "acme", "--json").document["records"]
    assert {record["actor"] for record in records if record["action"] == "tenant.suspended"} == {actor()}
    assert actor().startswith("cli:")
    assert "mallory" not in actor()


def test_a_setting_that_is_nearly_right_is_named(here: Run, acme: str) -> None:
    refused = here("tenants", "set", acme, "defaultModle=small")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == "error: 'defaultModle' is not known; did you mean 'defaultModel'?\n"
    refused = here("tenants", "set", acme, "name=Acme")
    assert refused.err.startswith("error: 'name' is not known; there are allowedModels, ")


def test_a_change_that_names_an_older_version_is_refused_with_the_diff(
    call: Run, here: Run, acme: str, folder: DataFolder
) -> None:
    assert call("tenants", "set", acme, "defaultModel=s").code == 0
    seen = here("tenants", "show", acme, "--json").document["version"]
    assert here("tenants", "show", acme).out.endswith(f"version         {seen}\n")
    file = folder.tenancy / "tenants" / "acme.yaml"
    file.write_text(file.read_text().replace('name: "Acme"', "name: Apollo"))
    refused = call("tenants", "set", acme, "defaultModel=m", "--if-version", seen)
    assert (refused.code, refused.out) == (6, "")
    first, *diff = refused.err.splitlines()
    assert first.startswith("error: the tenant's file was changed: it is at version ")
    assert {"-name: Acme", "+name: Apollo"} <= set(diff)


@pytest.mark.parametrize("command", [["set", "acme", "defaultModel=m"], ["change-plan", "acme", "free"]])
def test_a_change_that_names_the_version_there_is_done(
    call: Run, here: Run, acme: str, folder: DataFolder, command: list[str]
) -> None:
    seen = here("tenants", "show", acme, "--json").document["version"]
    assert call("tenants", "rename", "acme", "--name", "Apollo", "--if-version", seen).code == 0
    there = here("tenants", "show", acme, "--json").document["version"]
    told = call("tenants", *command, "--if-version", seen, "--json").error
    assert (told["code"], there in told["message"]) == ("tenant-conflict", True)
    assert call("tenants", *command, "--if-version", there).code == 0
