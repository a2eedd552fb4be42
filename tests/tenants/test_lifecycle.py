"""A tenant's life, step by step, and what each step promises."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from partywall import (
    BackendError,
    BackendNotFound,
    ConfigError,
    Engine,
    InvalidArgument,
    TenantConflict,
    TenantDeleted,
    TenantNotFound,
    TenantPending,
    TenantSuspended,
)
from partywall.clock import ManualClock
from partywall.model import Status, Tenant

OWNER = {"user_id": "u1", "email": "ann@acme.test", "name": "Ann"}


def file_of(engine: Engine, slug: str) -> Path:
    return engine.folder.tenancy / "tenants" / f"{slug}.yaml"


def edit(engine: Engine, slug: str, old: str, new: str) -> None:
    file = file_of(engine, slug)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    os.utime(file, (1, 1))
    engine.catalog.refresh()


def actions(engine: Engine, tenant_id: str) -> list[str]:
    return [record.action for record in engine.audit.records(tenant_id, limit=1000)]


def test_create_writes_a_tidy_file_that_says_what_was_asked_for(engine: Engine) -> None:
    tenant = engine.tenants.create(name="New Org", slug="new-org", plan="free", owner=OWNER, domains=["app.new.test"])
    text = file_of(engine, "new-org").read_text()
    assert f"id: {tenant.id}" in text
    assert "app.new.test" in text
    assert "{}" not in text
    assert "[]" not in text
    assert actions(engine, tenant.id) == ["tenant.provisioned", "tenant.created"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"slug": "Acme"},
        {"slug": "ten-x"},
        {"plan": "gold"},
        {"plan": "Free!"},
        {"owner": {"user_id": "u"}},
        {"owner": {**OWNER, "email": "nobody"}},
        {"owner": {**OWNER, "surname": "x"}},
        {"quotas": {"maxUsers": -1}},
        {"quotas": {"maxUsers": "many"}},
        {"settings": {"colour": "red"}},
        {"isolation": "none"},
        {"status": "suspended"},
        {"name": ""},
        {"rate_limits": {"api_requests": {"maxRequests": 1}}},
    ],
    ids=str,
)
def test_create_names_the_wrong_argument_and_makes_nothing(engine: Engine, wrong: dict[str, object]) -> None:
    before = engine.tenants.list()
    arguments = {"name": "N", "slug": "new-org", "plan": "free", "owner": OWNER, **wrong}
    with pytest.raises(InvalidArgument) as refusal:
        engine.tenants.create(**arguments)
    named = {"plan": ("type", "plan")}.get(next(iter(wrong)), (next(iter(wrong)),))
    assert any(name in str(refusal.value) for name in named)
    assert engine.tenants.list() == before
    assert not file_of(engine, "new-org").exists()


def test_create_refuses_a_slug_or_domain_in_use(engine: Engine) -> None:
    with pytest.raises(TenantConflict):
        engine.tenants.create(name="N", slug="acme", plan="free", owner=OWNER)
    engine.tenants.create(name="N", slug="one", plan="free", owner=OWNER, domains=["app.one.test"])
    with pytest.raises(TenantConflict):
        engine.tenants.create(name="N", slug="two", plan="free", owner=OWNER, domains=["app.one.test"])


def test_a_strategy_whose_backend_is_not_installed_is_refused_with_the_distribution_to_install(
    data_folder: Path, open_engine: Callable[..., Engine]
) -> None:
    settings = data_folder / "system" / "tenancy" / "engine.yaml"
    text = settings.read_text()
    assert "schema_level: duckdb-schema" in text
    settings.write_text(text.replace("schema_level: duckdb-schema", "schema_level: postgres-schema"))
    engine = open_engine()
    with pytest.raises(BackendNotFound, match="partywall-postgres") as refusal:
        engine.tenants.create(name="N", slug="new-org", plan="enterprise", owner=OWNER)
    assert "postgres-schema" in str(refusal.value)
    assert not file_of(engine, "new-org").exists()


def test_a_region_without_a_folder_is_refused(engine: Engine) -> None:
    settings = {"dataResidency": "mars"}
    with pytest.raises((InvalidArgument, BackendError, ConfigError), match="mars"):
        engine.tenants.create(name="N", slug="new-org", plan="free", owner=OWNER, settings=settings)


def test_a_tenants_rows_lie_in_its_region(engine: Engine, acme: Tenant) -> None:
    assert acme.settings.data_residency == "eu"
    engine.query(acme.id).insert("projects", {"name": "x"})
    placement = engine.isolation.placement(acme.id)
    assert placement is not None
    assert placement.region == "eu"
    assert list((engine.folder.var / "data-eu").rglob("*.duckdb"))
    assert not list((engine.folder.var / "data").rglob("*.duckdb"))


def test_an_edit_that_wishes_for_another_place_is_a_pending_move_and_changes_nothing(
    engine: Engine, acme: Tenant
) -> None:
    query = engine.query(acme.id)
    query.insert("projects", {"name": "x"})
    edit(engine, "acme", "dataResidency: eu", "dataResidency: us")
    assert query.count("projects") == 1
    (move,) = engine.isolation.pending_moves()
    assert (move.tenant_id, move.placement.region, move.wanted_region) == (acme.id, "eu", "us")
    assert engine.status().pending_moves == [move]


def test_a_pending_tenant_is_refused_until_it_is_put_in_service(engine: Engine) -> None:
    tenant = engine.tenants.create(name="N", slug="new-org", plan="free", owner=OWNER, status="pending")
    with pytest.raises(TenantPending):
        engine.query(tenant.id)
    assert engine.tenants.resume(tenant.id).status is Status.ACTIVE
    assert engine.query(tenant.id).count("projects") == 0


def test_settings_change_one_by_one_and_none_removes(engine: Engine, beta: Tenant) -> None:
    engine.tenants.update_settings(beta.id, {"default_model": "small", "complianceFrameworks": ["gdpr"]})
    after = engine.tenants.update_settings(beta.id, {"default_model": None})
    assert after.settings.default_model is None
    assert after.settings.compliance_frameworks == ("gdpr",)
    with pytest.raises(InvalidArgument):
        engine.tenants.update_settings(beta.id, {"colour": "red"})
    record = engine.audit.records(beta.id, limit=1, newest=True)[0]
    assert record.details["changes"]["settings.defaultModel"] == ["small", None]


def test_a_change_of_plan_is_in_force_at_once_and_keeps_the_rows(engine: Engine, corner: Tenant) -> None:
    engine.query(corner.id).insert("projects", {"name": "x"})
    after = engine.tenants.change_plan(corner.id, "professional")
    assert after.quotas.projects == 50
    assert engine.features.has(corner.id, "compliance_tools")
    assert engine.query(corner.id).count("projects") == 1
    with pytest.raises(InvalidArgument, match="gold"):
        engine.tenants.change_plan(corner.id, "gold")


def test_a_rename_moves_the_slug_and_nothing_else(engine: Engine, corner: Tenant) -> None:
    engine.query(corner.id).insert("projects", {"name": "x"})
    renamed = engine.tenants.rename(corner.id, name="Corner", slug="the-corner")
    assert (renamed.id, renamed.slug, renamed.name) == (corner.id, "the-corner", "Corner")
    assert engine.query(corner.id).count("projects") == 1
    assert file_of(engine, "corner-shop").exists()
    with pytest.raises(TenantNotFound):
        engine.tenants.get_by_slug("corner-shop")
    with pytest.raises(TenantConflict):
        engine.tenants.rename(corner.id, slug="acme")


def test_a_suspension_is_written_to_the_file_and_keeps_its_comments(engine: Engine, acme: Tenant) -> None:
    before = file_of(engine, "acme").read_text()
    engine.tenants.suspend(acme.id, reason="unpaid: see invoice #7")
    after = file_of(engine, "acme").read_text()
    assert "status: suspended" in after
    comments = [line.partition("#")[2] for line in before.splitlines() if "#" in line]
    assert all(comment in after for comment in comments)
    tenant = engine.tenants.get(acme.id)
    assert (tenant.status, tenant.suspension_reason) == (Status.SUSPENDED, "unpaid: see invoice #7")
    engine.tenants.resume(acme.id)
    assert file_of(engine, "acme").read_text() == before


def test_an_edit_back_to_active_does_not_lift_what_the_engine_imposed(
    engine: Engine, open_engine: Callable[..., Engine], acme: Tenant
) -> None:
    engine.tenants.suspend(acme.id, reason="unpaid")
    edit(engine, "acme", "status: suspended", "status: active")
    assert engine.tenants.get(acme.id).status is Status.SUSPENDED
    engine.close()
    again = open_engine()
    with pytest.raises(TenantSuspended):
        again.query(acme.id)
    assert again.tenants.resume(acme.id).status is Status.ACTIVE


def test_an_edit_lifts_what_an_edit_imposed(engine: Engine, acme: Tenant) -> None:
    query = engine.query(acme.id)
    edit(engine, "acme", "status: active", "status: suspended")
    with pytest.raises(TenantSuspended):
        query.count("projects")
    edit(engine, "acme", "status: suspended", "status: active")
    assert query.count("projects") == 0
    assert actions(engine, acme.id).count("tenant.file_changed") == 2


def test_a_suspension_holds_although_its_file_is_gone_or_broken(engine: Engine, acme: Tenant) -> None:
    query = engine.query(acme.id)
    file_of(engine, "acme").write_text("status: [broken")
    engine.catalog.refresh()
    assert query.count("projects") == 0
    engine.tenants.suspend(acme.id, reason="unpaid")
    with pytest.raises(TenantSuspended):
        query.count("projects")


@pytest.mark.parametrize("reason", ["", "  ", "x" * 201, None, 7])
def test_a_suspension_needs_a_reason(engine: Engine, acme: Tenant, reason: object) -> None:
    with pytest.raises(InvalidArgument):
        engine.tenants.suspend(acme.id, reason=reason)  # type: ignore[arg-type]


def test_steps_that_do_not_fit_the_status_are_conflicts(engine: Engine, acme: Tenant) -> None:
    for step in (engine.tenants.resume, engine.tenants.restore, engine.tenants.purge):
        with pytest.raises(TenantConflict):
            step(acme.id)
    engine.tenants.suspend(acme.id, reason="unpaid")
    with pytest.raises(TenantConflict):
        engine.tenants.suspend(acme.id, reason="again")
    engine.tenants.delete(acme.id)
    for refused in (
        lambda: engine.tenants.delete(acme.id),
        lambda: engine.tenants.resume(acme.id),
        lambda: engine.tenants.suspend(acme.id, reason="x"),
        lambda: engine.tenants.change_plan(acme.id, "free"),
        lambda: engine.tenants.purge(acme.id),
    ):
        with pytest.raises(TenantConflict):
            refused()
    with pytest.raises(TenantNotFound):
        engine.tenants.suspend("ten_nobody00", reason="x")


def test_a_restored_tenant_is_as_it_was(engine: Engine, acme: Tenant, beta: Tenant) -> None:
    engine.query(acme.id).insert("projects", {"name": "x"})
    engine.tenants.suspend(beta.id, reason="unpaid")
    for tenant in (acme, beta):
        engine.tenants.delete(tenant.id)
        with pytest.raises(TenantDeleted):
            engine.query(tenant.id)
    assert engine.tenants.restore(acme.id).status is Status.ACTIVE
    assert engine.query(acme.id).count("projects") == 1
    restored = engine.tenants.restore(beta.id)
    assert (restored.status, restored.purge_at, restored.deleted_at) == (Status.SUSPENDED, None, None)


def test_g8_restore_loses_once_the_purge_has_begun(engine: Engine, corner: Tenant, clock: ManualClock) -> None:
    engine.tenants.delete(corner.id)
    clock.advance(7 * 86_400)
    engine.tenants.purge_due()
    with pytest.raises(TenantNotFound):
        engine.tenants.restore(corner.id)


def test_g10_e9_a_slug_used_again_after_a_purge_opens_nothing_old(engine: Engine, corner: Tenant) -> None:
    old = engine.query(corner.id)
    row = old.insert("projects", {"name": "old"})
    engine.usage.increment(corner.id, "projects", 3)
    engine.tenants.delete(corner.id)
    engine.tenants.purge(corner.id, before_due=True)
    again = engine.tenants.create(name="Corner", slug="corner-shop", plan="free", owner=OWNER)
    assert again.id != corner.id
    assert engine.query(again.id).select("projects") == []
    assert engine.query(again.id).get("projects", row["id"]) is None
    assert engine.quotas.check(again.id).projects.current == 0
    assert [action for action in actions(engine, again.id) if "purge" in action] == []
    with pytest.raises(TenantNotFound):
        old.count("projects")


def test_g11_after_a_purge_none_of_the_tenants_bytes_are_left(engine: Engine, corner: Tenant) -> None:
    token = os.urandom(16).hex()
    query = engine.query(corner.id)
    project = query.insert("projects", {"name": f"name-{token}", "metadata": {"secret": token}})
    query.insert("documents", {"title": token, "content": token.encode(), "body": token * 100})
    query.update("projects", project["id"], {"status": token})
    engine.usage.increment(corner.id, "users", 1, idempotency_key=f"key-{token}")
    engine.tenants.rename(corner.id, name=f"Corner {token}")
    engine.tenants.update_settings(corner.id, {"default_model": token})
    engine.tenants.suspend(corner.id, reason=token)
    engine.tenants.delete(corner.id)
    assert any(token.encode() in path.read_bytes() for path in _files(engine.folder.root))
    engine.tenants.purge(corner.id, before_due=True)
    left = [path for path in _files(engine.folder.root) if token.encode() in path.read_bytes()]
    assert left == []


def _files(root: Path) -> list[Path]:
    # Reading a file that the engine has open would drop its locks: the copies are read.
    copy = root.parent / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    os.system(f"cp -r '{root}' '{copy}'")
    return [path for path in copy.rglob("*") if path.is_file()]


def test_a_purged_id_never_comes_back_by_file(
    engine: Engine, open_engine: Callable[..., Engine], corner: Tenant
) -> None:
    text = file_of(engine, "corner-shop").read_text()
    engine.tenants.delete(corner.id)
    engine.tenants.purge(corner.id, before_due=True)
    file_of(engine, "corner-shop").write_text(text)
    engine.catalog.refresh()
    with pytest.raises(TenantNotFound):
        engine.query(corner.id)
    (problem,) = engine.catalog.problems
    assert "purged" in problem.message
    assert text.splitlines()[problem.line - 1].startswith("id:")
    engine.close()
    again = open_engine()
    assert [found.message for found in again.catalog.problems] == [problem.message]
    assert again.tenants.create(name="C", slug="corner-shop", plan="free", owner=OWNER).slug == "corner-shop"


def test_edits_made_while_no_engine_ran_are_audited_when_one_opens(
    engine: Engine, open_engine: Callable[..., Engine], acme: Tenant
) -> None:
    assert engine.audit.records() == []
    engine.close()
    file = file_of(engine, "acme")
    file.write_text(file.read_text().replace("status: active", "status: suspended"))
    plans = engine.folder.tenancy / "plans.yaml"
    plans.write_text(plans.read_text().replace("maxProjects: 3", "maxProjects: 4", 1))
    again = open_engine()
    found = {record.action: record for record in again.audit.records()}
    assert found["tenant.file_changed"].details["changes"] == {"status": ["active", "suspended"]}
    assert found["plan.file_changed"].details["plan"] == "free"
    assert {record.actor for record in found.values()} == {"file"}


def test_a_vanished_file_never_deletes_data(engine: Engine, acme: Tenant, clock: ManualClock) -> None:
    engine.query(acme.id).insert("projects", {"name": "x"})
    file = file_of(engine, "acme")
    text = file.read_text()
    file.unlink()
    engine.catalog.refresh()
    clock.advance(60)
    engine.catalog.refresh()
    with pytest.raises(TenantNotFound):
        engine.query(acme.id)
    file.write_text(text)
    engine.catalog.refresh()
    assert engine.query(acme.id).count("projects") == 1


def test_list_filters_by_status_and_plan(engine: Engine, acme: Tenant) -> None:
    engine.tenants.suspend(acme.id, reason="unpaid")
    assert [tenant.slug for tenant in engine.tenants.list(status="suspended")] == ["acme"]
    assert [tenant.slug for tenant in engine.tenants.list(plan="free")] == ["corner-shop"]
    slugs = [tenant.slug for tenant in engine.tenants.list()]
    assert slugs == sorted(slugs)
    assert len(slugs) == 4
