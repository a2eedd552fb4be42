"""A process forked from an engine's: its files stay the parent's."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

import partywall
from partywall import BackendError, Engine
from partywall.errors import DataFolderInUse
from partywall.model import Tenant


def _answers(engine: Engine, tenant_id: str) -> str:
    query = engine.query(tenant_id)
    query.count("projects")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, "".join(map(_refused, _calls(engine, tenant_id, query))).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answers:
        text = answers.read()
    assert os.waitpid(child, 0)[1] == 0
    return text


def _calls(engine: Engine, tenant_id: str, query: partywall.ScopedQuery) -> list[Callable[[], object]]:
    return [
        lambda: query.insert("projects", {"name": "child"}),
        lambda: query.count("projects"),
        lambda: engine.query(tenant_id),
        lambda: engine.tenants.suspend(tenant_id, reason="child"),
        lambda: engine.limiter.check(tenant_id, "api_requests"),
    ]


def _refused(call: Callable[[], object]) -> str:
    try:
        call()
    except BackendError:
        return "r"
    return "!"


def test_a_forked_child_reaches_nothing_and_closes_nothing(engine: Engine, acme: Tenant) -> None:
    assert _answers(engine, acme.id) == "rrrrr"
    assert engine.query(acme.id).insert("projects", {"name": "parent"})
    assert engine.query(acme.id).count("projects") == 1
    with pytest.raises(DataFolderInUse):
        partywall.open(engine.folder.root)
    child = os.fork()
    if child == 0:
        engine.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert engine.query(acme.id).count("projects") == 1
