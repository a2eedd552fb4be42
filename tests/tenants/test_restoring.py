"""Deleting, restoring and purging where files, stores and other tenants stand in the way."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from partywall import BackendError, Engine, InvalidArgument, TenantConflict, TenantDeleted, TenantNotFound
from partywall.clock import ManualClock
from partywall.isolation import Isolation
from partywall.ledger import open_ledger
from partywall.model import Status, Tenant
from partywall.names import TenantId
from partywall.tenants import queue_command


def edit(engine: Engine, slug: str, old: str, new: str) -> None:
    file = engine.folder.tenancy / "tenants" / f"{slug}.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    os.utime(file, (1, 1))
    engine.catalog.refresh()


@pytest.mark.parametrize("status", [Status.SUSPENDED, Status.PENDING])
def test_a_restored_tenant_is_as_its_file_had_it(engine: Engine, acme: Tenant, status: Status) -> None:
    edit(engine, "acme", "status: active", f"status: {status}")
    engine.tenants.delete(acme.id)
    assert engine.tenants.get(acme.id).status is Status.DELETED
    assert engine.tenants.restore(acme.id).status is status
    assert engine.tenants.resume(acme.id).status is Status.ACTIVE


def test_a_restore_lifts_no_suspension_that_was_written_meanwhile(engine: Engine, acme: Tenant) -> None:
    engine.tenants.delete(acme.id)
    edit(engine, "acme", "status: deleted", "status: suspended")
    assert engine.tenants.restore(acme.id).status is Status.SUSPENDED
    edit(engine, "acme", "status: suspended", "status: active")
    assert engine.tenants.get(acme.id).status is Status.ACTIVE


def test_a_tenant_that_its_file_deletes_can_be_deleted_for_good(engine: Engine, acme: Tenant) -> None:
    edit(engine, "acme", "status: active", "status: deleted")
    with pytest.raises(TenantConflict, match="delete it first"):
        engine.tenants.purge(acme.id, before_due=True)
    assert engine.tenants.delete(acme.id).tenant.purge_at is not None
    engine.tenants.purge(acme.id, before_due=True)
    with pytest.raises(TenantNotFound):
        engine.tenants.get(acme.id)


def test_a_purge_that_cannot_go_on_keeps_nobody_else_out_of_service(
    engine: Engine, open_engine: Callable[..., Engine], acme: Tenant, corner: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: object) -> None:
        raise BackendError("the store is away")

    for tenant in (acme, corner):
        engine.tenants.delete(tenant.id)
    with monkeypatch.context() as patch:
        patch.setattr(Isolation, "drop", lambda _, tenant_id: away(tenant_id))
        with pytest.raises(BackendError):
            engine.tenants.purge(acme.id, before_due=True)
        engine.close()
        again = open_engine()
        assert again.tenants.get_by_slug("beta-labs").status is Status.ACTIVE
        with pytest.raises(TenantDeleted):
            again.query(acme.id)
        with pytest.raises(TenantConflict):
            again.tenants.restore(acme.id)
        with pytest.raises(BackendError):
            again.tenants.purge_due()
    assert again.tenants.purge_due() == [acme.id]
    assert again.tenants.get(corner.id).status is Status.DELETED


def test_one_purge_that_fails_holds_up_no_other(
    engine: Engine, acme: Tenant, corner: Tenant, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tenant in (acme, corner):
        engine.tenants.delete(tenant.id)
    clock.advance(100 * 86_400)
    drop = engine.isolation.drop

    def drop_others(*tenant_ids: TenantId) -> None:
        if acme.id in tenant_ids:
            raise BackendError("the store is away")
        drop(*tenant_ids)

    with monkeypatch.context() as patch:
        patch.setattr(engine.isolation, "drop", drop_others)
        with pytest.raises(BackendError):
            engine.tenants.purge_due()
    with pytest.raises(TenantNotFound):
        engine.tenants.get(corner.id)
    engine.tenants.purge_due()  # or the engine by itself, whoever comes first
    with pytest.raises(TenantNotFound):
        engine.tenants.get(acme.id)


def test_a_step_may_name_the_tenant_by_its_slug(engine: Engine, corner: Tenant) -> None:
    assert engine.tenants.rename("corner-shop", name="Corner", slug="corner-shop").name == "Corner"
    assert engine.tenants.update_settings("corner-shop", {"defaultModel": "m"}).settings.default_model == "m"
    assert engine.tenants.get(corner.id).name == "Corner"


def test_what_is_no_status_and_no_settings_is_refused(engine: Engine, acme: Tenant) -> None:
    with pytest.raises(InvalidArgument):
        engine.tenants.list(status="gone")
    with pytest.raises(InvalidArgument):
        engine.tenants.update_settings(acme.id, None)  # type: ignore[arg-type]  # the mistake


def test_g11_what_a_killed_engine_was_writing_is_removed_at_the_next_start(
    engine: Engine, open_engine: Callable[..., Engine]
) -> None:
    tenancy = engine.folder.tenancy
    left = [tenancy / "tenants" / ".acme.yaml.0123456789ab.new", tenancy / ".plans.yaml.ba9876543210.new"]
    kept = [tenancy / "tenants" / ".acme.yaml.swp", tenancy / "tenants" / "notes.tmp"]
    engine.close()
    for path in left + kept:
        path.write_text("owner: {email: ann@acme.test}")
    open_engine()
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in kept)


def test_a_command_that_was_queued_before_the_start_is_done(engine: Engine, open_engine: Callable[..., Engine]) -> None:
    acme = engine.tenants.get_by_slug("acme")
    engine.close()
    ledger = open_ledger(engine.folder.ledger)
    arguments = {"tenant_id": acme.id, "reason": "unpaid"}
    queued = queue_command(ledger, engine.clock, "tenants.suspend", arguments, actor="cli:ann")
    ledger.close()
    again = open_engine()
    deadline = time.monotonic() + 10
    while again.tenants.get(acme.id).status is Status.ACTIVE and time.monotonic() < deadline:
        time.sleep(0.02)
    assert again.tenants.get(acme.id).status is Status.SUSPENDED, queued
