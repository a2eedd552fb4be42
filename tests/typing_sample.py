"""What an embedder writes, read by the strict type checker alone: a promise about the types of public names."""

from __future__ import annotations

from typing import Any, assert_type

import partywall
from partywall import Engine, TenantContext
from partywall.aggregates import count, sum_
from partywall.isolation import Page, ScopedQuery
from partywall.limits import Decision
from partywall.model import Tenant


def embed(folder: str) -> None:
    with partywall.open(folder) as engine:
        assert_type(engine, Engine)
        acme = engine.tenants.get_by_slug("acme")
        assert_type(acme, Tenant)
        query = engine.query(acme.id)
        assert_type(query, ScopedQuery)
        assert_type(query.select("projects", {"budget": partywall.gt(3)}), list[dict[str, Any]])
        assert_type(query.get("projects", "id"), dict[str, Any] | None)
        assert_type(query.update("projects", "id", {"name": "x"}), int)
        assert_type(query.page("projects", limit=10), Page)
        assert_type(query.aggregate("projects", {"n": count(), "b": sum_("budget")}), list[dict[str, Any]])
        assert_type(engine.limiter.check(acme.id, "api_requests"), Decision)
        assert_type(engine.limiter.check_all(acme.id, {"api_requests": 1, "tokens_out": 500}), Decision)
        assert_type(engine.limiter.bind(acme.id, "api_requests", user_id="u1").allow(), bool)
        assert_type(engine.features.has(acme.id, "sso"), bool)
        with engine.tenant_context(acme.id, permissions={"projects:read"}) as context, query.transaction() as same:
            assert_type(context, TenantContext)
            assert_type(same, ScopedQuery)


async def embed_async(engine: Engine) -> None:
    query = await engine.aio.query("ten_acme000000001")
    assert_type(await query.insert("projects", {"name": "x"}), dict[str, Any])
    async with query.transaction():
        assert_type(await query.count("projects"), int)
    assert_type(await engine.aio.tenants.restore("ten_acme000000001"), Tenant)


def handle(error: partywall.RateLimited | partywall.QuotaExceeded) -> float:
    if isinstance(error, partywall.RateLimited):
        return error.retry_after
    return float(error.limit - error.current)
