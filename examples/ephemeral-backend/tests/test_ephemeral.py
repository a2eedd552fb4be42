# tests need no docstrings
from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from partywall.backend import BackendSetup, Delete, Insert, Placement, Scan, Update
from partywall.clock import ManualClock
from partywall.errors import BackendError, IsolationBreach
from partywall.model import Strategy, TablesFile
from partywall.names import TableName, TenantId

NOTES = TablesFile.model_validate_json('{"tables": {"notes": {"columns": {"n": {"type": "integer"}}}}}').tables[
    TableName("notes")
]


@pytest.fixture
def backend() -> Any:
    place = Path(__file__).parents[1] / "src" / "partywall_ephemeral.py"
    spec = importlib.util.spec_from_file_location("partywall_ephemeral", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (announced,) = module.partywall_backends()
    assert announced.capabilities == frozenset()
    with announced.open(BackendSetup(tables={}, folder=lambda _region: Path(), clock=ManualClock())) as opened:
        yield opened


def placed(backend: Any, tenant: str, region: Any = None) -> Placement:
    location = backend.provision(TenantId(tenant), region)
    return Placement(TenantId(tenant), Strategy.ROW, "ephemeral-dict", region, location)


def test_rows_are_their_tenants_alone(backend: Any) -> None:
    mine, other = placed(backend, "ten_mine"), placed(backend, "ten_other")
    backend.session(mine).write(Insert(NOTES, [{"id": "a", "n": 1}]))
    assert backend.session(other).scan(Scan(NOTES)) == []
    assert backend.stamp(mine) == "ten_mine"
    with pytest.raises(IsolationBreach):
        backend.session(replace(other, location=mine.location))


def test_a_transaction_is_all_or_nothing_and_unseen_until_its_commit(backend: Any) -> None:
    place = placed(backend, "ten_mine")
    session, reader = backend.session(place), backend.session(place)
    session.write(Insert(NOTES, [{"id": "a", "n": 1}, {"id": "b", "n": 1}]))
    session.begin()
    assert session.write(Update(NOTES, ["a", "none"], {"n": 2})) == 1
    assert session.write(Delete(NOTES, ["b"])) == 1
    assert len(reader.scan(Scan(NOTES))) == 2
    session.rollback()
    assert sorted(row["n"] for row in session.scan(Scan(NOTES))) == [1, 1]
    session.begin()
    session.write(Update(NOTES, ["a"], {"n": 3}))
    session.commit()
    assert sorted(row["n"] for row in reader.scan(Scan(NOTES))) == [1, 3]


def test_a_failed_statement_fails_the_transaction(backend: Any) -> None:
    session = backend.session(placed(backend, "ten_mine"))
    session.begin()
    session.write(Insert(NOTES, [{"id": "a", "n": 1}]))
    with pytest.raises(KeyError):
        session.write(Insert(NOTES, [{"n": 1}]))
    session.write(Insert(NOTES, [{"id": "b", "n": 1}]))
    with pytest.raises(BackendError):
        session.commit()
    assert session.scan(Scan(NOTES)) == []


def test_nothing_is_left_after_a_drop_and_regions_are_apart(backend: Any) -> None:
    here, there = placed(backend, "ten_mine"), placed(backend, "ten_mine", "eu")
    for place in (here, there):
        backend.session(place).write(Insert(NOTES, [{"id": "a", "n": 1}]))
    held = backend.session(here)
    held.begin()
    backend.drop(here)
    backend.drop(here)
    assert backend.stamp(here) is None
    with pytest.raises(BackendError):
        held.commit()
    assert len(backend.session(there).scan(Scan(NOTES))) == 1
