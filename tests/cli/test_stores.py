from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import partywall
from partywall.folder import DataFolder

Run = Callable[..., Any]
OWNER = {"user_id": "u1", "email": "bea@beta.test", "name": "Bea"}


@pytest.mark.parametrize("strategy", ["row_level", "schema_level", "database_level"])
def test_a_damaged_store_keeps_nobody_else_out_and_is_named_until_it_is_put_right(
    here: Run, shell: Run, folder: DataFolder, acme: str, strategy: str
) -> None:
    with partywall.open(folder.root, watch=False) as engine:
        beta = engine.tenants.create(name="B", slug="beta", plan="free", owner=OWNER, isolation=strategy)
        for known in (acme, beta.id):
            engine.query(known).insert("projects", {"name": "x"})
        placement = engine.isolation.placement(beta.id)
    assert placement is not None
    assert here("stores", "check").out == "every store is in order\n"
    file = folder.var / "data" / placement.backend / f"{placement.location}.duckdb"
    good = file.read_bytes()
    file.write_bytes(b"no database")
    with partywall.open(folder.root, watch=False) as engine:
        assert engine.query(acme).count("projects") == 1
        with pytest.raises(partywall.BackendError):
            engine.query(beta.id).count("projects")
        asked = shell("stores", "check", "--json")
        assert asked.code == 1
        named = {(each["backend"], each["place"], each["tenant_id"]) for each in asked.document["problems"]}
        assert named == {(placement.backend, placement.location, whose) for whose in (beta.id, None)}
        assert placement.location in engine.status().stores[placement.backend]
    told = here("stores", "check")
    assert (told.code, f"{placement.backend}: {placement.location} ({beta.id})" in told.out) == (1, True)
    file.write_bytes(good)
    assert here("stores", "check").code == 0
    with partywall.open(folder.root, watch=False) as engine:
        assert engine.query(beta.id).count("projects") == 1
