"""The scenarios and the acceptance criteria of the design that the project was created from."""

from __future__ import annotations

import asyncio

import pytest

import partywall
from partywall import (
    Engine,
    FeatureNotInPlan,
    QuotaExceeded,
    RateLimited,
    TenantDeleted,
    TenantNotFound,
    TenantRequired,
    TenantSuspended,
    current_tenant,
    require_tenant,
)
from partywall.clock import ManualClock
from partywall.model import Tenant
from partywall.web import Principal, Request

OWNER = {"userId": "user-1", "email": "admin@test.org", "name": "Admin"}


def test_create_a_tenant_with_correct_quotas(engine: Engine) -> None:
    tenant = engine.tenants.create(
        name="Test Org",
        slug="test-org",
        plan="starter",
        status="active",
        owner=OWNER,
        settings={},
        quotas={
            "maxUsers": 5,
            "maxProjects": 10,
            "maxTokensPerMonth": 1_000_000,
            "maxStorageGB": 10,
            "maxConcurrentAgents": 5,
        },
    )
    assert tenant.id.startswith("ten_")
    assert (tenant.quotas.users, tenant.quotas.projects, tenant.quotas.storage) == (5, 10, 10 * 10**9)
    assert engine.tenants.get(tenant.id) == engine.tenants.get_by_slug("test-org") == tenant


def test_enforce_quota_limits(engine: Engine, beta: Tenant) -> None:
    limit = beta.quotas.projects
    assert limit is not None
    engine.usage.increment(beta.id, "projects", limit)
    status = engine.quotas.check(beta.id).projects
    assert (status.current, status.limit, status.exceeded) == (limit, limit, True)
    with pytest.raises(QuotaExceeded):
        engine.quotas.consume(beta.id, projects=1)


def test_prevent_cross_tenant_data_access(engine: Engine, acme: Tenant, beta: Tenant) -> None:
    row = engine.query(acme.id).insert("projects", {"name": "Project A"})
    assert engine.query(beta.id).select("projects") == []
    assert engine.isolation.validate_access(acme.id, "projects", row["id"])
    assert not engine.isolation.validate_access(beta.id, "projects", row["id"])


def test_enforce_rate_limits_per_tenant(engine: Engine, corner: Tenant, beta: Tenant) -> None:
    for _ in range(100):
        assert engine.limiter.check(corner.id, "api_requests").allowed
    decision = engine.limiter.check(corner.id, "api_requests")
    assert not decision.allowed
    assert decision.retry_after > 0
    assert engine.limiter.check(beta.id, "api_requests").allowed


def test_the_four_plans_have_exactly_the_designs_figures(engine: Engine) -> None:
    figures = {
        name: (
            plan.price,
            plan.quotas.max_users,
            plan.quotas.max_projects,
            plan.quotas.max_tokens_per_month,
            plan.quotas.max_storage_gb,
            plan.quotas.max_concurrent_agents,
            plan.rate_limits["api_requests"].max_requests,
            plan.rate_limits["agent_spawns"].max_requests,
            plan.rate_limits["api_requests"].window_ms,
            plan.isolation.value,
        )
        for name, plan in engine.plans.items()
    }
    unlimited = "unlimited"
    assert figures == {
        "free": (0, 1, 3, 100_000, 1, 2, 100, 10, 60_000, "row_level"),
        "starter": (29, 5, 10, 1_000_000, 10, 5, 500, 50, 60_000, "row_level"),
        "professional": (99, 25, 50, 5_000_000, 100, 15, 2_000, 200, 60_000, "row_level"),
        "enterprise": ("custom", unlimited, unlimited, unlimited, unlimited, 50, 10_000, 1_000, 60_000, "schema_level"),
    }
    assert {name: set(plan.features) for name, plan in engine.plans.items()} == {
        "free": {"basic_orchestration"},
        "starter": {"basic_orchestration", "custom_skills", "priority_support"},
        "professional": {
            "basic_orchestration",
            "custom_skills",
            "custom_agents",
            "compliance_tools",
            "priority_support",
        },
        "enterprise": {"all", "sso", "dedicated_support", "sla", "audit_logs", "compliance_dashboards"},
    }


def test_the_tenant_context_is_established_for_requests_and_only_there(engine: Engine, acme: Tenant) -> None:
    gate = engine.gate(lambda token, tenant_id: Principal("ann", frozenset({"projects:read"})))
    request = Request(headers=[("Host", "acme.partywall.test"), ("Authorization", "Bearer t")])
    with gate.admit(request) as context:
        assert require_tenant() is context
        assert (context.tenant_id, context.user_id) == (acme.id, "ann")
        assert engine.query().tenant_id == acme.id
    assert current_tenant() is None
    with pytest.raises(TenantRequired):
        engine.query()


def test_a_request_without_a_tenant_an_unknown_and_a_suspended_one_each_have_their_own_error(
    engine: Engine, acme: Tenant
) -> None:
    gate = engine.gate(lambda token, tenant_id: Principal("ann", frozenset()) if tenant_id == acme.id else None)
    token = ("Authorization", "Bearer t")

    def enter(*headers: tuple[str, str]) -> None:
        with gate.admit(Request(headers=[*headers, token])):
            pass

    with pytest.raises(TenantRequired):
        enter()
    with pytest.raises(TenantNotFound):
        enter(("X-Tenant-Id", "nobody"))
    engine.tenants.suspend(acme.id, reason="unpaid")
    with pytest.raises(TenantSuspended):
        enter(("X-Tenant-Id", "acme"))


def test_suspension_stops_all_activity(engine: Engine, acme: Tenant) -> None:
    query = engine.query(acme.id)
    row = query.insert("projects", {"name": "Apollo"})
    engine.limiter.check(acme.id, "api_requests")
    agent = engine.agents.spawn(acme.id, asyncio.sleep(60))
    suspension = engine.tenants.suspend(acme.id, reason="unpaid")
    assert suspension.stopped == (agent.id,)
    assert suspension.not_stopped == ()
    operations = [
        lambda: query.select("projects"),
        lambda: query.get("projects", row["id"]),
        lambda: query.count("projects"),
        lambda: query.insert("projects", {"name": "x"}),
        lambda: query.insert_many("projects", [{"name": "x"}]),
        lambda: query.update("projects", row["id"], {"name": "x"}),
        lambda: query.delete("projects", row["id"]),
        lambda: query.upsert("projects", {"name": "x"}, key="name"),
        lambda: query.transaction().__enter__(),
        lambda: engine.query(acme.id),
        lambda: engine.isolation.validate_access(acme.id, "projects", row["id"]),
        lambda: engine.limiter.check(acme.id, "api_requests"),
        lambda: engine.limiter.require(acme.id, "api_requests"),
        lambda: engine.limiter.status(acme.id, "api_requests"),
        lambda: engine.quotas.check(acme.id),
        lambda: engine.quotas.consume(acme.id, projects=1),
        lambda: engine.usage.increment(acme.id, "projects"),
        lambda: engine.features.has(acme.id, "sso"),
        lambda: engine.features.require(acme.id, "sso"),
        lambda: engine.features.allows_model(acme.id, "m"),
        lambda: engine.agents.spawn(acme.id, ["true"]),
        lambda: engine.tenant_context(acme.id).__enter__(),
    ]
    for operation in operations:
        with pytest.raises(TenantSuspended):
            operation()
    engine.tenants.resume(acme.id)
    assert query.count("projects") == 1


def test_features_are_those_of_the_plan(engine: Engine, acme: Tenant) -> None:
    assert engine.features.has(acme.id, "custom_agents")
    assert not engine.features.has(acme.id, "sso")
    with pytest.raises(FeatureNotInPlan) as refusal:
        engine.features.require(acme.id, "sso")
    assert (refusal.value.feature, refusal.value.plan) == ("sso", "professional")
    delta = engine.tenants.get_by_slug("delta-bank")
    assert engine.features.has(delta.id, "anything_at_all")


def test_allowed_models_are_those_of_the_tenants_settings(engine: Engine, beta: Tenant) -> None:
    engine.tenants.update_settings(beta.id, {"allowedModels": ["small", "large"]})
    assert engine.features.allows_model(beta.id, "small")
    assert not engine.features.allows_model(beta.id, "huge")
    engine.tenants.update_settings(beta.id, {"allowedModels": None})
    assert engine.features.allows_model(beta.id, "huge")


def test_tokens_start_anew_each_calendar_month_in_utc(engine: Engine, beta: Tenant, clock: ManualClock) -> None:
    engine.usage.increment(beta.id, "tokens", 700)
    engine.usage.increment(beta.id, "users", 2)
    clock.advance(31 * 86_400)
    report = engine.quotas.check(beta.id)
    assert (report.tokens.current, report.users.current) == (0, 2)


def test_deletion_schedules_cleanup_and_the_cleanup_happens(engine: Engine, corner: Tenant, clock: ManualClock) -> None:
    engine.query(corner.id).insert("projects", {"name": "Last"})
    deleted = engine.tenants.delete(corner.id).tenant
    retention = engine.plans["free"].retention_days
    assert deleted.purge_at is not None
    assert deleted.purge_at.timestamp() == clock.now() + retention * 86_400
    with pytest.raises(TenantDeleted):
        engine.query(corner.id)
    clock.advance(retention * 86_400 - 1)
    assert engine.tenants.purge_due() == []
    clock.advance(1)
    assert engine.tenants.purge_due() == [corner.id]
    with pytest.raises(TenantNotFound):
        engine.tenants.get(corner.id)


def test_rate_limited_requests_say_when_to_come_again(engine: Engine, corner: Tenant, clock: ManualClock) -> None:
    for _ in range(10):
        engine.limiter.require(corner.id, "agent_spawns")
    with pytest.raises(RateLimited) as refusal:
        engine.limiter.require(corner.id, "agent_spawns")
    clock.advance(refusal.value.retry_after)
    assert engine.limiter.check(corner.id, "agent_spawns").allowed


def test_nothing_works_after_close(data_folder: object, clock: ManualClock) -> None:
    engine = partywall.open(str(data_folder), clock=clock, watch=False)
    acme = engine.tenants.get_by_slug("acme")
    query = engine.query(acme.id)
    engine.limiter.check(acme.id, "api_requests")
    engine.close()
    engine.close()
    for operation in (
        lambda: query.count("projects"),
        lambda: engine.limiter.check(acme.id, "api_requests"),
        lambda: engine.quotas.check(acme.id),
        lambda: engine.features.has(acme.id, "sso"),
        lambda: engine.tenants.suspend(acme.id, reason="x"),
    ):
        with pytest.raises(partywall.PartywallError, match="closed"):
            operation()
