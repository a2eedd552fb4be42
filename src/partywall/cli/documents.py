"""Tenants, plans and records as plain JSON: snake_case names that stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from partywall.backend import Placement
from partywall.clock import utc
from partywall.ledger import AuditRecord, Operation
from partywall.model import GIGABYTE, Grants, Plan, Tenant, grants_of
from partywall.model.tenant import Owner, TenantSpec
from partywall.names import PlanName, Slug

__all__ = [
    "audit_document",
    "limit_text",
    "moment",
    "operation_document",
    "placement_document",
    "plan_document",
    "plan_grants",
    "rate_text",
    "tenant_document",
    "tenant_summary",
]


def moment(at: datetime | float | None) -> str | None:
    """The moment in UTC as RFC 3339 text, to the second."""
    if at is None:
        return None
    known = at if isinstance(at, datetime) else utc(at)
    return known.isoformat(timespec="seconds").replace("+00:00", "Z")


def tenant_summary(tenant: Tenant) -> dict[str, Any]:
    """What a list of tenants shows."""
    return {
        "id": tenant.id,
        "slug": tenant.slug,
        "name": tenant.name,
        "plan": tenant.plan,
        "status": tenant.status,
        "isolation": tenant.isolation,
        "region": tenant.settings.data_residency,
    }


def tenant_document(tenant: Tenant, grants: Grants, placement: Placement | None) -> dict[str, Any]:
    """All that is known of a tenant."""
    return {
        **tenant_summary(tenant),
        "owner": tenant.owner.model_dump(mode="json"),
        "settings": tenant.settings.model_dump(mode="json"),
        "quotas": asdict(tenant.quotas),
        **_grants_document(grants),
        "billing": tenant.billing.model_dump(mode="json") if tenant.billing else None,
        "domains": list(tenant.domains),
        "created_at": moment(tenant.created_at),
        "suspended_at": moment(tenant.suspended_at),
        "suspension_reason": tenant.suspension_reason,
        "deleted_at": moment(tenant.deleted_at),
        "purge_at": moment(tenant.purge_at),
        "placement": placement_document(placement) if placement else None,
        "version": tenant.version,
    }


def placement_document(placement: Placement) -> dict[str, Any]:
    """Where a tenant's data lives."""
    return {"strategy": placement.strategy, "backend": placement.backend, "region": placement.region}


def _grants_document(grants: Grants) -> dict[str, Any]:
    limits = {action: limit.model_dump(mode="json") for action, limit in sorted(grants.rate_limits.items())}
    return {"features": sorted(grants.features), "rate_limits": limits, "retention_days": grants.retention_days}


def plan_document(plan: PlanName, declared: Plan) -> dict[str, Any]:
    """A plan: its key in plans.yaml as ``plan``, quotas by metric (storage in bytes, null is unlimited)."""
    grants = plan_grants(plan, declared)
    return {
        "plan": plan,
        "name": declared.name,
        "price": declared.price,
        "isolation": declared.isolation,
        "quotas": asdict(grants.quotas),
        **_grants_document(grants),
        "features": list(declared.features),
    }


def plan_grants(plan: PlanName, declared: Plan) -> Grants:
    """What the plan grants to a tenant that overrides nothing."""
    owner = Owner(user_id="-", email="-@example.test", name="-")
    bare = TenantSpec.model_validate({"name": "-", "slug": Slug("x"), "type": plan, "status": "active", "owner": owner})
    return grants_of(bare, {plan: declared})


def audit_document(record: AuditRecord) -> dict[str, Any]:
    """One audit record."""
    return {
        "sequence": record.sequence,
        "at": moment(record.at),
        "actor": record.actor,
        "action": record.action,
        "tenant_id": record.tenant_id,
        "details": dict(record.details),
    }


def operation_document(operation: Operation) -> dict[str, Any]:
    """An operation that is under way; its arguments are left out, for they may be long."""
    return {
        "id": operation.id,
        "kind": operation.kind,
        "tenant_id": operation.tenant_id,
        "state": operation.state,
        "actor": operation.actor,
        "created_at": moment(operation.created_at),
        "progress": operation.progress,
    }


def rate_text(limit: Mapping[str, Any]) -> str:
    """A rate limit for people."""
    text = _rate_per(limit, limit["per"])
    return f"{text}; {_rate_per(limit['per_user'], 'user')}" if limit["per_user"] else text


def _rate_per(rate: Mapping[str, Any], whose: str) -> str:
    burst = f", burst {rate['burst']:,}" if rate["burst"] else ""
    window = f"{rate['window_ms'] / 1000:g} s"
    return f"{rate['max_requests']:,} in {window} per {whose}, {rate['algorithm'].replace('_', ' ')}{burst}"


def limit_text(metric: str, amount: int | None, *, none: str = "unlimited") -> str:
    """An amount of a metric for people: storage in gigabytes, None as the word for it."""
    if amount is None:
        return none
    if metric == "storage":
        return f"{amount / GIGABYTE:,.3f}".rstrip("0").rstrip(".") + " GB"
    return f"{amount:,}"
