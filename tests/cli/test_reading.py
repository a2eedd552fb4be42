from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import partywall
from partywall.backend import Placement
from partywall.cli.sight import look
from partywall.clock import SystemClock, month_of
from partywall.errors import LedgerError
from partywall.folder import DataFolder
from partywall.ledger import AuditRecord, Ledger, LifecycleRecord, Operation, OperationState, Transaction, open_ledger
from partywall.model import Status, Strategy
from partywall.names import Slug, TenantId

Run = Callable[..., Any]
NOW = 1_800_000_000.0


@pytest.fixture
def write(folder: DataFolder) -> Callable[[Callable[[Transaction], object]], None]:
    def work(change: Callable[[Transaction], object]) -> None:
        folder.var.mkdir(exist_ok=True)
        ledger: Ledger
        with closing(open_ledger(folder.ledger)) as ledger:
            ledger.write(change)

    return work


def suspended(tenant_id: str) -> LifecycleRecord:
    return LifecycleRecord(TenantId(tenant_id), Slug("acme"), Status.SUSPENDED, "unpaid", suspended_at=NOW)


def files_below(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "tenants list",
        "tenants show acme",
        "plans list",
        "plans show free",
        "usage list",
        "usage show acme",
        "usage history acme",
        "usage verify",
        "usage verify acme",
        "audit list",
    ],
)
def test_before_there_is_a_ledger_the_answers_are_empty_and_nothing_is_made(
    here: Run, folder: DataFolder, command: str
) -> None:
    before = files_below(folder.root)
    for form in ([], ["--json"]):
        told = here(*command.split(), *form)
        assert (told.code, told.err) == (0, "")
    json.loads(told.out)
    assert files_below(folder.root) == before


@pytest.mark.parametrize("command", ["tenants list", "status", "diff", "usage list", "tenants resume acme"])
def test_l5_without_the_ledger_that_was_there_nothing_is_told_or_done(
    here: Run, folder: DataFolder, command: str
) -> None:
    partywall.open(folder.root, watch=False).close()
    folder.ledger.unlink()
    refused = here(*command.split())
    assert (refused.code, refused.out) == (11, "")
    assert "the ledger that was here is gone" in refused.err
    assert not folder.ledger.exists()


def test_the_status_in_force_is_shown_and_not_the_files(
    here: Run, acme: str, write: Callable[[Callable[[Transaction], object]], None]
) -> None:
    write(lambda tx: tx.put_lifecycle(suspended(acme)))
    (shown,) = here("tenants", "list", "--json").document["tenants"]
    assert shown["status"] == "suspended"
    assert "1 suspended" in here("status").out
    shown = here("tenants", "show", "acme", "--json").document
    assert (shown["suspension_reason"], shown["suspended_at"]) == ("unpaid", "2027-01-15T08:00:00Z")
    assert "unpaid" in here("tenants", "show", "acme").out


def test_a_list_can_be_narrowed_to_a_status_or_a_plan(here: Run, acme: str) -> None:
    def listed(*options: str) -> int:
        return len(here("tenants", "list", "--json", *options).document["tenants"])

    assert listed("--status", "active") == 1
    assert listed("--status", "suspended") == 0
    assert listed("--plan", "starter", "--status", "active") == 1
    assert listed("--plan", "free") == 0
    assert here("tenants", "list", "--status", "acitve").code == 2


def test_show_has_stable_names_in_snake_case(here: Run, acme: str) -> None:
    shown = here("tenants", "show", acme, "--json").document
    assert list(shown) == [
        "id",
        "slug",
        "name",
        "plan",
        "status",
        "isolation",
        "region",
        "owner",
        "settings",
        "quotas",
        "features",
        "rate_limits",
        "retention_days",
        "billing",
        "domains",
        "created_at",
        "suspended_at",
        "suspension_reason",
        "deleted_at",
        "purge_at",
        "placement",
        "version",
    ]
    assert shown["owner"] == {"user_id": "user-1", "email": "ann@acme.test", "name": "Ann"}
    assert shown["quotas"] == {"users": 5, "projects": 10, "tokens": 1_000_000, "storage": 10**10, "agents": 5}
    assert shown["rate_limits"]["api_requests"]["max_requests"] == 500


def test_a_pending_move_is_told_with_both_places(
    here: Run, acme: str, write: Callable[[Callable[[Transaction], object]], None]
) -> None:
    write(lambda tx: tx.put_placement(Placement(TenantId(acme), Strategy.SCHEMA, "duckdb-schema", None, "s1")))
    (move,) = here("status", "--json").document["pending_moves"]
    assert move == {
        "tenant_id": acme,
        "placement": {"strategy": "schema_level", "backend": "duckdb-schema", "region": None},
        "wanted": {"strategy": "row_level", "region": None},
    }
    assert f"{acme}: schema_level -> row_level" in here("status").out
    assert "duckdb-schema (schema_level)" in here("tenants", "show", acme).out


def test_unfinished_operations_are_told_and_finished_ones_are_not(
    here: Run, acme: str, write: Callable[[Callable[[Transaction], object]], None]
) -> None:
    begun = Operation("op_1", "tenant.purge", TenantId(acme), {}, OperationState.RUNNING, "cli:ann", NOW)
    write(lambda tx: tx.put_operation(begun))
    write(lambda tx: tx.put_operation(replace(begun, id="op_2", state=OperationState.DONE)))
    (operation,) = here("status", "--json").document["operations"]
    assert (operation["id"], operation["state"]) == ("op_1", "running")
    told = here("status").out
    assert f"op_1: tenant.purge {acme} running by cli:ann" in told
    assert "op_2" not in told


def test_a_wrong_tenant_file_is_a_problem_of_status_and_hides_no_other_tenant(here: Run, folder: DataFolder) -> None:
    (folder.tenancy / "tenants" / "bad.yaml").write_text("slug: [\n")
    told = here("status")
    assert told.code == 0
    assert "system/tenancy/tenants/bad.yaml:2:1: " in told.out
    assert here("status", "--json").document["problems"][0]["file"] == "system/tenancy/tenants/bad.yaml"
    assert len(here("tenants", "list", "--json").document["tenants"]) == 1


def test_files_that_cannot_be_used_at_all_are_told_by_status_and_refused_by_the_others(
    here: Run, folder: DataFolder
) -> None:
    (folder.tenancy / "plans.yaml").write_text("plans: {}\n")
    told = here("status", "--json")
    assert (told.code, told.document["usable"], told.document["tenants"]) == (78, False, None)
    assert "cannot be used" in here("status").out
    refused = here("tenants", "list")
    assert (refused.code, refused.out) == (78, "")
    first, *lines = refused.err.splitlines()
    assert first == "error: the configuration cannot be used"
    assert lines
    assert all(line.startswith("system/tenancy/plans.yaml:1:") for line in lines)
    assert here("tenants", "list", "--json").error["problems"][0]["line"] == 1


def test_usage_stands_beside_its_limits_by_month(
    here: Run, acme: str, write: Callable[[Callable[[Transaction], object]], None]
) -> None:
    month = month_of(SystemClock().now())
    write(lambda tx: tx.set_usage(TenantId(acme), month, "tokens", 250_000))
    write(lambda tx: tx.set_usage(TenantId(acme), "", "storage", 2_500_000_000))
    shown = here("usage", "show", "acme", "--json").document
    assert shown["period"] == month
    assert shown["usage"]["tokens"] == {"used": 250_000, "reserved": 0, "limit": 1_000_000}
    assert shown["usage"]["storage"] == {"used": 2_500_000_000, "reserved": 0, "limit": 10_000_000_000}
    assert shown["usage"]["agents"] == {"used": None, "reserved": None, "limit": 5}
    told = here("usage", "show", "acme").out
    assert "25%  #####..............." in told
    assert "2.5 GB" in told
    assert here("usage", "show", "acme", "--period", "2020-01", "--json").document["usage"]["tokens"]["used"] == 0
    assert here("usage", "list", "--json").document["tenants"][0] == shown
    assert "250,000 / 1,000,000" in here("usage", "list").out
    assert here("usage", "show", "acme", "--period", "now").code == 2


def test_audit_records_are_listed_by_tenant_and_from_a_place_on(
    here: Run, acme: str, write: Callable[[Callable[[Transaction], object]], None]
) -> None:
    other = TenantId("ten_other0001")

    def three(tx: Transaction) -> None:
        tx.append_audit(AuditRecord(NOW, "cli:ann", "tenant.suspended", TenantId(acme), {"reason": "unpaid"}))
        tx.append_audit(AuditRecord(NOW + 1, "api", "tenant.purged", other))
        tx.append_audit(AuditRecord(NOW + 2, "cli:ann", "tenant.resumed", TenantId(acme)))

    write(three)

    def listed(*options: object) -> list[int]:
        return [each["sequence"] for each in here("audit", "list", "--json", *options).document["records"]]

    assert listed() == [1, 2, 3]
    assert listed("acme") == [1, 3]
    assert listed(other) == [2]
    assert listed("--after", 1) == [2, 3]
    assert listed("--after", 0, "--limit", 1) == [1]
    assert listed("--limit", 1) == [3]
    (line,) = [line for line in here("audit", "list").out.splitlines() if "tenant.suspended" in line]
    assert line.split(maxsplit=5) == [
        "1",
        "2027-01-15T08:00:00Z",
        "cli:ann",
        "tenant.suspended",
        acme,
        '{"reason": "unpaid"}',
    ]


def test_a_recorded_edit_is_shown_as_each_path_from_what_to_what(
    here: Run, acme: str, write: Callable[[Callable[[Transaction], object]], None]
) -> None:
    changes = {"quotas.maxUsers": [5, 9], "name": ["Acme", None]}
    details = {"plan": "free", "edit": "0123456789abcdef", "changes": changes}
    write(lambda tx: tx.append_audit(AuditRecord(NOW, "file", "plan.file_changed", None, details)))
    (line,) = [line for line in here("audit", "list").out.splitlines() if "plan.file_changed" in line]
    assert line.endswith('quotas.maxUsers: 5 -> 9, name: "Acme" -> null, {"plan": "free"}')
    assert here("audit", "list", "--json").document["records"][0]["details"] == details


def test_plans_are_shown_as_they_are_granted(here: Run, folder: DataFolder) -> None:
    plans = here("plans", "list", "--json").document["plans"]
    assert [plan["plan"] for plan in plans] == ["free", "starter", "professional", "enterprise"]
    assert plans[3]["quotas"]["users"] is None
    assert here("plans", "show", "free", "--json").document == plans[0]
    assert "enterprise" in here("plans", "list").out
    told = here("plans", "show", "enterprise").out
    assert "unlimited" in told
    assert "10,000 in 60 s per tenant, sliding window" in told
    refused = here("plans", "show", "gold", "--json")
    assert (refused.code, refused.error["code"]) == (2, "argument-invalid")


def test_a_plan_is_edited_in_its_file_which_keeps_its_comments(here: Run, folder: DataFolder) -> None:
    before = (folder.tenancy / "plans.yaml").read_text()
    assert here("plans", "set", "free", "quotas.maxProjects", "4").code == 0
    assert (folder.tenancy / "plans.yaml").read_text() == before.replace("maxProjects: 3", "maxProjects: 4")
    assert here("plans", "show", "free", "--json").document["quotas"]["projects"] == 4
    done = here("plans", "set", "free", "features", "[sso, sla]", "--json").document
    assert done == {"plan": "free", "path": "features", "value": ["sso", "sla"]}
    here("plans", "set", "free", "retentionDays", "")
    assert here("plans", "show", "free", "--json").document["retention_days"] == 30
    assert files_below(folder.root) & {"var"} == set()


@pytest.mark.parametrize(
    "arguments", [["quotas.maxProjects", "-1"], ["quotas.maxCats", "1"], ["price", "{a: !!int 1}"]]
)
def test_a_wrong_edit_of_a_plan_is_refused_and_writes_nothing(
    here: Run, folder: DataFolder, arguments: list[str]
) -> None:
    before = (folder.tenancy / "plans.yaml").read_bytes()
    refused = here("plans", "set", "free", "--", *arguments)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("error: ")
    assert (folder.tenancy / "plans.yaml").read_bytes() == before


def test_looking_at_a_ledger_cannot_write_it(
    folder: DataFolder, acme: str, write: Callable[[Callable[[Transaction], object]], None]
) -> None:
    write(lambda tx: tx.put_lifecycle(suspended(acme)))
    with look(folder) as sight, pytest.raises(LedgerError):
        sight.ledger.write(lambda tx: tx.put_lifecycle(suspended(acme)))


def test_status_tells_what_a_running_engine_has_in_force_and_not_what_the_files_say_now(
    here: Run, folder: DataFolder
) -> None:
    alone = here("status", "--json").document
    assert alone["in_force"] is None
    with partywall.open(folder.root, watch=False) as engine:
        told = here("status", "--json").document
        assert (told["digest"], told["in_force"]["generation"]) == (engine.catalog.snapshot.digest, 1)
        assert told["digest"] == alone["digest"]
        assert told["in_force"]["last_success"] == told["in_force"]["checked_at"]
        plans = folder.tenancy / "plans.yaml"
        plans.write_text(plans.read_text().replace("price: 29", "price: 39"))
        (folder.tenancy / "tenants" / "bad.yaml").write_text("slug: [\n")
        unread = here("status", "--json").document
        assert (unread["digest"], unread["problems"]) == (told["digest"], [])
        engine.catalog.refresh()
        read = here("status", "--json").document
        assert (read["in_force"]["generation"], len(read["problems"])) == (2, 1)
        assert f"generation 2, digest {read['digest'][:12]}, looked at " in here("status").out
    assert here("status", "--json").document["in_force"] is None
