"""Purges that are due at once share the work, and none is recorded before its bytes are gone."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from partywall import BackendError, Engine, TenantConflict
from partywall.clock import ManualClock
from partywall.model import Tenant
from partywall_duckdb.shard import Shard

OWNER = {"user_id": "u1", "email": "ann@acme.test", "name": "Ann"}
YEAR = 366 * 86_400.0
TOKEN = "t0k3n" * 5


def deleted(engine: Engine, clock: ManualClock, strategy: str, number: int = 3) -> list[Tenant]:
    """Tenants of one shard with rows, whose retention is over."""
    tenants = []
    for each in range(number):
        tenant = engine.tenants.create(name="T", slug=f"t{each}", plan="free", owner=OWNER, isolation=strategy)
        engine.query(tenant.id).insert("projects", {"name": TOKEN})
        engine.tenants.delete(tenant.id)
        tenants.append(tenant)
    clock.advance(YEAR)
    return tenants


@pytest.fixture
def engine(open_engine: Callable[..., Engine], data_folder: Any) -> Engine:
    """An engine whose row-level tenants are all in one shard."""
    settings = data_folder / "system" / "tenancy" / "engine.yaml"
    text = settings.read_text()
    chosen = "row_level: {backend: duckdb-row, options: {shards: 1}}"
    settings.write_text(text.replace("row_level: duckdb-row", chosen))
    return open_engine()


@pytest.fixture
def rewrites(monkeypatch: pytest.MonkeyPatch) -> list[Shard]:
    """Hears of every shard that is written anew."""
    rewritten: list[Shard] = []
    rewrite = Shard._rewrite

    def watched(shard: Shard) -> None:
        rewritten.append(shard)
        rewrite(shard)

    monkeypatch.setattr(Shard, "_rewrite", watched)
    return rewritten


def purged(engine: Engine, tenants: list[Tenant]) -> list[bool]:
    return ["tenant.purged" in [each.action for each in engine.audit.records(tenant.id)] for tenant in tenants]


@pytest.mark.parametrize("strategy", ["row_level", "schema_level"])
def test_tenants_of_one_shard_that_are_due_are_purged_with_one_rewrite(
    engine: Engine, clock: ManualClock, rewrites: list[Shard], strategy: str
) -> None:
    tenants = deleted(engine, clock, strategy)
    engine.tenants.purge_due()  # beside the engine's own housekeeping, which finds them due as well
    assert len(rewrites) == 1
    assert purged(engine, tenants) == [True] * 3
    found = subprocess.run(["grep", "-rlaF", TOKEN, str(engine.folder.root)], capture_output=True, check=False)
    assert found.stdout == b""
    assert engine.tenants.purge_due() == []


@pytest.mark.parametrize("strategy", ["row_level", "schema_level", "database_level"])
def test_g15_no_purge_is_recorded_before_the_bytes_are_gone(
    engine: Engine,
    open_engine: Callable[..., Engine],
    clock: ManualClock,
    rewrites: list[Shard],
    strategy: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tenants = deleted(engine, clock, strategy)
    (name,) = {placement.backend for tenant in tenants if (placement := engine.isolation.placement(tenant.id))}

    def full(_placements: object) -> None:
        raise BackendError("no room for the new file")

    with monkeypatch.context() as patched:
        patched.setattr(engine._stores.backend(name), "drop_many", full)
        with pytest.raises(BackendError):
            engine.tenants.purge_due()
    assert purged(engine, tenants) == [False] * 3
    with pytest.raises(TenantConflict):
        engine.tenants.restore(tenants[0].id)
    engine.close()
    again = open_engine()
    assert purged(again, tenants) == [True] * 3
    assert len(rewrites) == (0 if strategy == "database_level" else 1)
