from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import partywall
from partywall.folder import DataFolder
from partywall_duckdb.databases import location_of

Run = Callable[..., Any]


@pytest.fixture
def beta(here: Run) -> str:
    """A second tenant's id."""
    owner = ["--owner-id", "u1", "--owner-email", "bea@beta.test", "--owner-name", "Bea"]
    made = here("tenants", "create", "--name", "Beta", "--slug", "beta", "--plan", "free", *owner, "--json")
    return str(made.document["tenant_id"])


@pytest.fixture(params=["alone", "beside a running engine"])
def call(request: pytest.FixtureRequest, folder: DataFolder, here: Run, shell: Run) -> Iterator[Run]:
    """Runs a command where no engine runs, and where another process owns the folder."""
    if request.param == "alone":
        yield here
        return
    with partywall.open(folder.root, watch=True):
        yield shell


def test_a_tenant_is_moved_and_its_file_wishes_for_it(call: Run, here: Run, folder: DataFolder, acme: str) -> None:
    done = call("tenants", "move", "acme", "--to", "schema_level", "--region", "us")
    assert (done.code, done.out) == (0, f"moved {acme} to schema_level in us: 0 rows\n")
    shown = here("tenants", "show", "acme", "--json").document
    assert shown["placement"] == {"strategy": "schema_level", "backend": "duckdb-schema", "region": "us"}
    assert (shown["isolation"], shown["region"]) == ("schema_level", "us")
    again = call("tenants", "move", acme, "--json")
    assert again.code == 0
    assert (again.document["from"], again.document["rows"]) == (again.document["to"], 0)
    assert here("status", "--json").document["pending_moves"] == []
    assert call("tenants", "move-pending").out == "no move is pending\n"
    assert call("tenants", "move", "acme", "--region", "mars").code == 10
    assert call("tenants", "move", "nobody").code == 4


def test_pending_moves_are_carried_out_and_those_that_fail_are_named(
    here: Run, folder: DataFolder, acme: Any, beta: Any
) -> None:
    with partywall.open(folder.root, watch=False) as engine:
        for known in (acme, beta):
            engine.query(known).insert("projects", {"name": "x"})
        engine.catalog.edit_tenant(acme, {"isolation": "schema_level"})
        engine.catalog.edit_tenant(beta, {"isolation": "database_level"})
    obstacle = folder.var / "data" / "duckdb-database" / f"{location_of(beta)}.duckdb"
    obstacle.parent.mkdir(parents=True)
    obstacle.symlink_to("elsewhere")
    failing = here("tenants", "move-pending", "--json")
    assert failing.code == 10
    assert [moved["tenant_id"] for moved in failing.document["moved"]] == [acme]
    assert list(failing.document["failed"]) == [beta]
    told = here("tenants", "move-pending")
    assert told.code == 10
    assert told.out.startswith(f"NOT moved {beta}: ")
    obstacle.unlink()
    assert here("tenants", "move-pending").out == f"moved {beta} to database_level: 1 rows\n"


def test_a_suspension_that_is_queued_does_not_wait_for_a_move(
    folder: DataFolder, shell: Run, acme: str, beta: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with partywall.open(folder.root, watch=False) as engine:
        engine.query(acme).insert("projects", {"name": "x"})
        suspended: list[int] = []

        def slow(tenant_id: str, **where: Any) -> Any:
            suspended.append(shell("tenants", "suspend", beta, "--reason", "unpaid").code)
            return engine.isolation.move(tenant_id, **where)

        monkeypatch.setitem(engine.commands._known, "isolation.move", slow)
        assert shell("tenants", "move", "acme", "--to", "schema_level").code == 0
        assert suspended == [0]
