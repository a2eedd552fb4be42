"""A batch of moves that fails at one tenant goes on with the others, and is taken up again where it failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from partywall import BackendError, Engine
from partywall.model import Strategy, Tenant

RING = [("row_level", "schema_level"), ("schema_level", "database_level"), ("database_level", "row_level")]


def wish(engine: Engine, number: int, here: str, there: str) -> list[Tenant]:
    """So many tenants with a row each, all of which wish to move."""
    owner: Mapping[str, str] = {"user_id": "u", "email": "u@x.test", "name": "U"}
    tenants = []
    for each in range(number):
        tenant = engine.tenants.create(name="T", slug=f"t{each:03}", plan="starter", owner=owner, isolation=here)
        engine.query(tenant.id).insert("projects", {"name": tenant.id})
        engine.catalog.edit_tenant(tenant.id, {"isolation": there})
        tenants.append(tenant)
    return tenants


def failing_batch(engine: Engine, patch: pytest.MonkeyPatch, ring: tuple[str, str], number: int, failing: int) -> None:
    tenants = wish(engine, number, *ring)
    broken = tenants[failing].id
    backend = engine._stores.backend(engine._stores.chosen(Strategy(ring[1])).spec.name)
    provision = backend.provision

    def full(tenant_id: Any, region: Any) -> str:
        if tenant_id == broken:
            raise BackendError("no room")
        return provision(tenant_id, region)

    with patch.context() as patched:
        patched.setattr(backend, "provision", full)
        batch = engine.isolation.move_pending()
    assert {move.tenant_id for move in batch.moved} == {each.id for each in tenants} - {broken}
    assert list(batch.failed) == [broken]
    assert [pending.tenant_id for pending in engine.isolation.pending_moves()] == [broken]
    rest = engine.isolation.move_pending()
    assert [move.tenant_id for move in rest.moved] == [broken]
    assert rest.failed == {}
    assert engine.isolation.move_pending().moved == []
    for tenant in tenants:
        assert [row["name"] for row in engine.query(tenant.id).select("projects")] == [tenant.id]
        placement = engine.isolation.placement(tenant.id)
        assert placement is not None
        assert placement.strategy == ring[1]
        actions = [record.action for record in engine.audit.records(tenant.id, limit=1000)]
        assert actions.count("tenant.moved") == 1


@pytest.mark.parametrize("ring", RING)
def test_g6_a_batch_that_fails_at_one_tenant_is_resumed_with_that_one(
    open_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch, ring: tuple[str, str]
) -> None:
    failing_batch(open_engine(), monkeypatch, ring, 4, 2)


@pytest.mark.long
@pytest.mark.parametrize("ring", RING)
@pytest.mark.timeout(600)
def test_g6_a_batch_of_100_that_fails_at_tenant_57_is_resumed_with_that_one(
    open_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch, ring: tuple[str, str]
) -> None:
    failing_batch(open_engine(), monkeypatch, ring, 100, 56)
