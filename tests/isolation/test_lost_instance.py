"""A store that gives itself up after an error of its own is opened anew, by itself, with nothing lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from partywall import BackendError, Engine
from partywall.backend import Order, Scan, Session
from partywall.model import Tenant


def ruin(engine: Engine, tenant: Tenant) -> None:
    """Make DuckDB fail for a reason of its own: a sort by thousands of columns over a very long text."""
    engine.query(tenant.id).insert("documents", {"title": "x" * 5_000_000})
    table = engine.catalog.tables["documents"]  # type: ignore[index]  # a declared name
    statement = Scan(table, order_by=(Order("title"),) * 3000)

    def work(session: Session) -> object:
        return session.scan(statement)

    scope = engine.isolation._scope(tenant.id)
    with scope.unit(writes=False, transactional=False, timeout=1) as unit:
        unit.run(work)


@pytest.fixture(params=["row_level", "schema_level", "database_level"])
def engine(request: pytest.FixtureRequest, data_folder: object, open_engine: Callable[..., Engine]) -> Engine:
    tenants = data_folder / "system" / "tenancy" / "tenants"  # type: ignore[operator]  # a Path
    for file in tenants.glob("*.yaml"):
        lines = [line for line in file.read_text().splitlines() if not line.startswith("isolation:")]
        file.write_text("\n".join([*lines, f"isolation: {request.param}", ""]))
    return open_engine()


def test_an_instance_that_duckdb_gave_up_comes_back_with_every_row(engine: Engine, acme: Tenant, beta: Tenant) -> None:
    handles = {tenant.slug: engine.query(tenant.id) for tenant in (acme, beta)}
    for slug, handle in handles.items():
        handle.insert("projects", {"name": slug})
    with pytest.raises(BackendError):
        ruin(engine, acme)
    engine._stores.maintain()
    for slug, handle in handles.items():
        assert [row["name"] for row in handle.select("projects")] == [slug]
        handle.insert("projects", {"name": f"{slug} again"})
    assert handles["acme"].count("documents") == 1
    assert engine.status().stores == {}
