"""Every hook is documented with its exact arguments, and is called when the docs say."""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

from partywall import Engine, hookimpl, hookspecs
from partywall.catalog import CatalogChange
from partywall.errors import Problem
from partywall.ledger import AuditRecord
from partywall.model import Status

DOCS = Path(__file__).parent.parent / "docs" / "hooks.md"
HOOKS = [
    function for name, function in inspect.getmembers(hookspecs, inspect.isfunction) if name.startswith("partywall_")
]


def test_every_hook_stands_in_the_docs_with_its_exact_arguments() -> None:
    text = DOCS.read_text()
    assert len(HOOKS) >= 3
    for hook in HOOKS:
        arguments = ", ".join(inspect.signature(hook).parameters)
        assert f"`{hook.__name__}({arguments})`" in text


def test_status_changes_are_told_after_they_are_in_force(open_engine: Callable[..., Engine]) -> None:
    told: list[tuple[str, Status | None, Status | None, Status | None]] = []

    @hookimpl
    def partywall_status_changed(tenant_id: str, before: Status | None, after: Status | None) -> None:
        told.append((tenant_id, before, after, engine.directory.status(tenant_id)))  # type: ignore[arg-type]

    engine = open_engine(plugins=[SimpleNamespace(partywall_status_changed=partywall_status_changed)])
    acme = engine.tenants.get_by_slug("acme")
    engine.tenants.suspend(acme.id, reason="unpaid")
    engine.close()
    assert told == [(acme.id, Status.ACTIVE, Status.SUSPENDED, Status.SUSPENDED)]


def test_a_hook_may_take_fewer_arguments_and_its_failure_changes_nothing(open_engine: Callable[..., Engine]) -> None:
    @hookimpl
    def partywall_status_changed(after: Status | None) -> None:
        raise RuntimeError("mine alone")

    engine = open_engine(plugins=[SimpleNamespace(partywall_status_changed=partywall_status_changed)])
    acme = engine.tenants.get_by_slug("acme")
    assert engine.tenants.suspend(acme.id, reason="unpaid").tenant.status is Status.SUSPENDED


def test_a_hook_may_call_the_engine_while_others_change_it(open_engine: Callable[..., Engine]) -> None:
    answered = threading.Event()
    inside, changing = threading.Event(), threading.Event()

    @hookimpl
    def partywall_status_changed(tenant_id: str, after: Status | None) -> None:
        if tenant_id == acme.id and after is Status.SUSPENDED:
            inside.set()
            assert changing.wait(10)
            engine.tenants.update_settings(corner.id, {"default_model": "m"})
            answered.set()

    engine = open_engine(plugins=[SimpleNamespace(partywall_status_changed=partywall_status_changed)])
    acme, beta, corner = (engine.tenants.get_by_slug(slug) for slug in ("acme", "beta-labs", "corner-shop"))
    file = engine.folder.tenancy / "tenants" / "acme.yaml"
    file.write_text(file.read_text().replace("status: active", "status: suspended"))
    os.utime(file, (1, 1))
    look = threading.Thread(target=engine.catalog.refresh, daemon=True)
    look.start()
    assert inside.wait(10)
    changing.set()
    for _ in range(20):
        engine.tenants.suspend(beta.id, reason="unpaid")
        engine.tenants.resume(beta.id)
    assert answered.wait(10)
    look.join(10)
    assert not look.is_alive()


def test_audit_records_are_told_after_their_commit(open_engine: Callable[..., Engine]) -> None:
    told: list[AuditRecord] = []

    @hookimpl
    def partywall_audit_recorded(record: AuditRecord) -> None:
        told.append(record)

    engine = open_engine(plugins=[SimpleNamespace(partywall_audit_recorded=partywall_audit_recorded)])
    acme = engine.tenants.get_by_slug("acme")
    engine.tenants.suspend(acme.id, reason="unpaid")
    engine.close()
    assert [record.action for record in told] == ["tenant.suspended"]
    assert told[0].sequence > 0


def test_thresholds_of_quotas_are_told_after_the_commit_once_for_each_limit(
    open_engine: Callable[..., Engine],
) -> None:
    told: list[tuple[str, str, int, int, int]] = []
    twice = threading.Semaphore(0)

    @hookimpl
    def partywall_quota_threshold(tenant_id: str, metric: str, percent: int, current: int, limit: int) -> None:
        assert engine.usage.totals(tenant_id)[metric] >= current
        told.append((tenant_id, metric, percent, current, limit))
        twice.release()

    engine = open_engine(plugins=[SimpleNamespace(partywall_quota_threshold=partywall_quota_threshold)])
    acme = engine.tenants.change_plan(engine.tenants.get_by_slug("acme").id, "starter")
    engine.quotas.consume(acme.id, projects=7)
    engine.quotas.consume(acme.id, projects=1)
    engine.usage.increment(acme.id, "projects", -1)
    engine.usage.increment(acme.id, "projects", 1)
    with engine.quotas.reserve(acme.id, projects=2) as held:
        held.commit()
    assert twice.acquire(timeout=10)
    assert twice.acquire(timeout=10)
    engine.close()
    assert told == [(acme.id, "projects", 80, 8, 10), (acme.id, "projects", 100, 10, 10)]


def test_applied_and_refused_edits_are_told_in_order_also_those_made_while_no_engine_ran(
    open_engine: Callable[..., Engine],
) -> None:
    told: list[object] = []

    @hookimpl
    def partywall_config_applied(change: CatalogChange) -> None:
        assert engine.catalog.snapshot.generation >= change.snapshot.generation
        told.append((change.source, change.tenants, change.plans))

    @hookimpl
    def partywall_config_refused(problems: Sequence[Problem]) -> None:
        told.append([(problem.file, problem.line, problem.column) for problem in problems])

    plugin = SimpleNamespace(
        partywall_config_applied=partywall_config_applied, partywall_config_refused=partywall_config_refused
    )
    engine = open_engine(plugins=[plugin])
    acme = engine.tenants.get_by_slug("acme")
    file = engine.folder.tenancy / "tenants" / "acme.yaml"
    text = file.read_text()
    engine.catalog.edit_plan(acme.plan, {"quotas.maxProjects": 77})
    file.write_text("name: [\n")
    engine.catalog.refresh()
    engine.close()
    file.write_text(text.replace(f"name: {acme.name}", "name: New"))
    engine = open_engine(plugins=[plugin])
    engine.close()
    assert told == [
        ("engine", frozenset(), {acme.plan}),
        [("system/tenancy/tenants/acme.yaml", 2, 1)],
        ("file", {acme.id}, frozenset()),
    ]
