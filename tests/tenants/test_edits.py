"""Each applied change is on record once: which paths, from what to what, by whom, whatever is killed when."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from partywall import Engine
from partywall.audit import acting_as
from partywall.errors import LedgerError
from partywall.ledger import AuditRecord
from partywall.model import Tenant

OWNER = {"user_id": "u1", "email": "ann@acme.test", "name": "Ann"}


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) >= 1
    path.write_text(text.replace(old, new, 1))


def file_of(engine: Engine, slug: str) -> Path:
    return engine.folder.tenancy / "tenants" / f"{slug}.yaml"


def last(engine: Engine) -> AuditRecord:
    [record] = engine.audit.records(newest=True, limit=1)
    return record


def test_an_edited_file_is_on_record_with_each_path_from_what_to_what(engine: Engine, acme: Tenant) -> None:
    file = file_of(engine, "acme")
    engine.catalog.edit_tenant(acme.id, {"quotas.maxUsers": 5, "settings.defaultModel": "small"})
    replace(file, "maxUsers: 5", "maxUsers: 9")
    replace(file, "defaultModel: small", "defaultModel: large")
    engine.catalog.refresh()
    record = last(engine)
    assert (record.actor, record.action, record.tenant_id) == ("file", "tenant.file_changed", acme.id)
    assert record.details["changes"] == {"quotas.maxUsers": [5, 9], "settings.defaultModel": ["small", "large"]}


def test_an_edit_by_a_caller_is_on_record_as_the_callers(engine: Engine, acme: Tenant) -> None:
    with acting_as("user:ann"):
        engine.catalog.edit_tenant(acme.id, {"quotas.maxUsers": 9})
        engine.catalog.edit_plan(acme.plan, {"quotas.maxProjects": 77})
    by_tenant, by_plan = engine.audit.records(newest=True, limit=2)
    assert (by_tenant.actor, by_tenant.action) == ("user:ann", "tenant.changed")
    assert by_tenant.details["changes"]["quotas.maxUsers"][1] == 9
    assert (by_plan.actor, by_plan.action, by_plan.details["plan"]) == ("user:ann", "plan.changed", acme.plan)
    assert by_plan.details["changes"]["quotas.maxProjects"][1] == 77


def test_added_and_removed_plans_are_on_record_whole(engine: Engine) -> None:
    plans = engine.folder.tenancy / "plans.yaml"
    text = plans.read_text()
    added = (
        "  trial:\n    name: Trial\n    price: 0\n    features: []\n    rate_limits: {}\n    quotas: {maxUsers: 1, "
        "maxProjects: 2, maxTokensPerMonth: 3, maxStorageGB: 4, maxConcurrentAgents: 5}\n"
    )
    plans.write_text(text.rstrip("\n") + "\n" + added)
    engine.catalog.refresh()
    record = last(engine)
    assert (record.action, record.details["plan"]) == ("plan.file_added", "trial")
    assert record.details["changes"]["quotas.maxUsers"] == [None, 1]
    plans.write_text(text)
    engine.catalog.refresh()
    record = last(engine)
    assert (record.action, record.details["changes"]["name"]) == ("plan.file_removed", ["Trial", None])


def test_a_step_writes_its_own_record_and_the_edit_of_its_file_none(engine: Engine, acme: Tenant) -> None:
    engine.tenants.rename(acme.id, name="Acme 2")
    engine.tenants.suspend(acme.id, reason="unpaid")
    made = engine.tenants.create(name="New", slug="new", plan="free", owner=OWNER)
    engine.tenants.delete(made.id)
    engine.tenants.purge(made.id, before_due=True)
    steps = ["renamed", "suspended", "provisioned", "created", "deleted", "purged"]
    assert [record.action for record in engine.audit.records()] == [f"tenant.{step}" for step in steps]
    assert engine.catalog.health.unrecorded == 0


def test_what_an_operator_saved_and_nobody_read_yet_is_not_recorded_as_the_callers(
    engine: Engine, acme: Tenant
) -> None:
    replace(file_of(engine, "acme"), f"name: {acme.name}", "name: By hand")
    engine.tenants.update_settings(acme.id, {"default_model": "large"})
    by_hand, by_call = engine.audit.records()
    assert (by_hand.action, by_hand.details["changes"]) == ("tenant.file_changed", {"name": [acme.name, "By hand"]})
    assert by_call.action == "tenant.settings_changed"
    assert list(by_call.details["changes"]) == ["settings.defaultModel"]
    assert engine.tenants.get(acme.id).name == "By hand"


def test_what_the_ledger_could_not_take_is_recorded_once_it_can(
    engine: Engine, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(_: object) -> None:
        raise LedgerError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(engine._edits._ledger, "write", down)
        engine.catalog.edit_tenant(acme.id, {"name": "Acme 2"})
        assert engine.catalog.health.unrecorded == 1
        assert engine.tenants.get(acme.id).name == "Acme 2"
    engine._edits.write()
    assert engine.catalog.health.unrecorded == 0
    assert [record.details["changes"] for record in engine.audit.records()] == [{"name": [acme.name, "Acme 2"]}]


def test_g11_nothing_of_a_purged_tenants_edits_waits_to_be_recorded(
    engine: Engine, corner: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine._edits, "_ledger", None)
    engine.catalog.edit_tenant(corner.id, {"name": "Very private words"})
    engine.tenants.delete(corner.id)
    engine.tenants.purge(corner.id, before_due=True)
    assert [edited.edits for edited in engine.catalog.unrecorded()] == [()]
    engine.close()
    for path in engine.folder.var.glob("catalog.sqlite*"):
        assert b"Very private words" not in path.read_bytes()


KILLED = """
import os, signal, sys
import partywall
from partywall.catalog.memory.cache import Cache
from partywall.clock import ManualClock

folder, point = sys.argv[1:]
engine = partywall.open(folder, clock=ManualClock(), watch=False)

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

if point == "before the cache":
    Cache.store = die
elif point == "before the ledger":
    engine._edits._ledger = type("Dying", (), {"write": die, "read": engine._ledger.read})()
else:
    Cache.recorded = die
file = engine.folder.tenancy / "tenants" / "acme.yaml"
file.write_text(file.read_text().replace("status: active", "status: suspended"))
engine.catalog.refresh()
"""


@pytest.mark.parametrize("point", ["before the cache", "before the ledger", "after the ledger"])
def test_n7_a_kill_loses_no_record_of_an_edited_file_and_doubles_none(
    engine: Engine, acme: Tenant, open_engine: Callable[..., Engine], point: str
) -> None:
    engine.close()
    killed = subprocess.run([sys.executable, "-c", KILLED, str(engine.folder.root), point], check=False)
    assert killed.returncode == -signal.SIGKILL
    for _ in range(2):
        again = open_engine()
        assert str(again.tenants.get(acme.id).status) == "suspended"
        [record] = again.audit.records()
        assert (record.action, record.actor) == ("tenant.file_changed", "file")
        assert record.details["changes"] == {"status": ["active", "suspended"]}
        again.close()


STEP = """
import os, signal, sys
import partywall
from partywall.catalog.changes import Changes
from partywall.clock import ManualClock

engine = partywall.open(sys.argv[1], clock=ManualClock(), watch=False)
Changes._publish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
engine.tenants.rename(engine.tenants.get_by_slug("acme").id, name="Acme 2")
"""


def test_n7_a_step_that_is_killed_after_its_file_was_written_is_on_record_once_and_as_the_callers(
    engine: Engine, acme: Tenant, open_engine: Callable[..., Engine]
) -> None:
    engine.close()
    killed = subprocess.run([sys.executable, "-c", STEP, str(engine.folder.root)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert "Acme 2" in file_of(engine, "acme").read_text()
    again = open_engine()
    [record] = again.audit.records()
    assert (record.action, record.actor) == ("tenant.renamed", "api")
    assert record.details["changes"] == {"name": [acme.name, "Acme 2"]}
