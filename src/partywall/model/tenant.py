"""tenants/*.yaml: what a tenant's file declares, and the tenant as the engine shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, TypeVar

from pydantic import AfterValidator, Field, WithJsonSchema

from partywall.model._base import FileModel, Moment, named, one_of
from partywall.model.plan import (
    GIGABYTE,
    SOFT,
    Grants,
    Plan,
    PlanKey,
    PlanQuotas,
    QuotaLimits,
    Quotas,
    RateLimits,
    Strategy,
    StrategyField,
)
from partywall.names import (
    PlanName,
    Region,
    Slug,
    TenantId,
    parse_region,
    parse_slug,
    parse_tenant_id,
)

__all__ = ["Billing", "Owner", "Settings", "Status", "Tenant", "TenantSpec", "grants_of"]

T = TypeVar("T")


class Status(StrEnum):
    """Where a tenant stands, from the least strict to the strictest."""

    ACTIVE = "active"
    PENDING = "pending"
    SUSPENDED = "suspended"
    DELETED = "deleted"

    @property
    def strictness(self) -> int:
        """The rank by which the stricter of two statuses is found."""
        return tuple(Status).index(self)


_LABEL: Final = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
"""A part of a host name."""


def _email(value: str) -> str:
    local, _, domain = value.rpartition("@")
    if not local or "." not in domain.strip(".") or " " in value or not value.isprintable():
        raise ValueError("expected an e-mail address")
    return value


def _domain(value: str) -> str:
    labels = value.split(".")
    legal = len(labels) > 1 and len(value) <= 253 and value == value.lower() and value.isascii()
    if not legal or not all(0 < len(part) <= 63 and part.replace("-", "a").isalnum() for part in labels):
        raise ValueError("expected a host name in lower-case ASCII, such as 'app.acme.test'")
    if any(part[0] == "-" or part[-1] == "-" for part in labels) or labels[-1].isdigit():
        raise ValueError("expected a host name, not an address or a name with an outer hyphen")
    return value


Name = Annotated[str, Field(min_length=1, max_length=200)]
Email = Annotated[
    str,
    Field(max_length=254),
    AfterValidator(_email),
    WithJsonSchema({"type": "string", "maxLength": 254, "pattern": r"^\S+@\.*[^@\s.][^@\s]*\.[^@\s]*[^@\s.]\.*$"}),
]
Domain = Annotated[
    str,
    AfterValidator(_domain),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": 253,
            "pattern": rf"^(?:{_LABEL}\.)+(?![0-9]+$){_LABEL}$",
        }
    ),
]


class Owner(FileModel):
    """The person who answers for the tenant."""

    user_id: Name
    """Who it is where users are kept."""
    email: Email
    """Where the owner is written to."""
    name: Name
    """What people call the owner."""


class Settings(FileModel):
    """What a tenant chooses for itself."""

    default_model: Name | None = None
    """The model that the tenant's agents use unless they name another."""
    allowed_models: tuple[Name, ...] | None = None
    """The models that the tenant's agents may use; without this, every model."""
    compliance_frameworks: tuple[Name, ...] = ()
    """What the tenant has to comply with, such as gdpr."""
    data_residency: Annotated[Region, AfterValidator(parse_region), named(parse_region)] | None = None
    """The region that the tenant's data may not leave; its folder is named in engine.yaml."""


class Billing(FileModel):
    """Where the tenant's invoices go."""

    stripe_customer_id: Name | None = None
    """The customer at the payment service."""
    subscription_id: Name | None = None
    """The subscription at the payment service."""
    billing_email: Email | None = None
    """Where invoices are sent."""


class TenantSpec(FileModel):
    """The document ``tenants/<label>.yaml``; what it says overrides the plan. Usage is never in it."""

    id: Annotated[TenantId, AfterValidator(parse_tenant_id), named(parse_tenant_id)] | None = None
    """What the tenant and its data are known by; it never changes. The engine writes one into a file without it."""
    name: Name
    """What people call the tenant."""
    slug: Annotated[Slug, AfterValidator(parse_slug), named(parse_slug)]
    """Its name in hosts and paths; may change, and is no other tenant's."""
    type: PlanKey
    """The plan, by its name in plans.yaml."""
    status: Annotated[Status, one_of(Status)]
    """Where the tenant stands. What the engine imposed counts too: the stricter of the two is in force."""
    created_at: Moment | None = None
    """When the tenant was made, such as "2026-11-23T10:00:00Z"."""
    suspended_at: Moment | None = None
    """When it was suspended."""
    suspension_reason: Name | None = None
    """Why it was suspended."""
    deleted_at: Moment | None = None
    """When it was deleted; its data is kept until its plan's retention is over."""
    owner: Owner
    """The person who answers for the tenant."""
    settings: Settings = Settings()
    """What the tenant chooses for itself."""
    quotas: Quotas = Quotas()
    """Quotas that this tenant has instead of its plan's."""
    billing: Billing | None = None
    """Where invoices go."""
    isolation: StrategyField | None = None
    """Instead of the plan's. Data that is there already stays where it is until it is moved."""
    rate_limits: Annotated[RateLimits, Field(alias="rate_limits", default_factory=dict)]
    """Limits that this tenant has beside its plan's, or instead of them."""
    domains: tuple[Domain, ...] = ()
    """Hosts of the tenant's own, in lower case; each belongs to one tenant."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant as it is in force: its file, its plan and what the engine imposed, together."""

    id: TenantId
    name: str
    slug: Slug
    plan: PlanName
    status: Status
    """The stricter of the file's and the engine's."""
    owner: Owner
    settings: Settings
    quotas: QuotaLimits
    isolation: Strategy
    """The strategy that holds the tenant's data, or that will when it is provisioned."""
    billing: Billing | None = None
    domains: tuple[str, ...] = ()
    version: str | None = None
    """Of what its file says: edits that name another, older one are refused as conflicts."""
    created_at: datetime | None = None
    suspended_at: datetime | None = None
    suspension_reason: str | None = None
    deleted_at: datetime | None = None
    purge_at: datetime | None = None


def _count(limit: int | str) -> int | None:
    return None if isinstance(limit, str) else limit


def _bytes(gigabytes: float | str) -> int | None:
    return None if isinstance(gigabytes, str) else round(gigabytes * GIGABYTE)


def _chosen(override: T | None, granted: T) -> T:
    return granted if override is None else override


def _quotas(plan: PlanQuotas, own: Quotas) -> QuotaLimits:
    return QuotaLimits(
        users=_count(_chosen(own.max_users, plan.max_users)),
        projects=_count(_chosen(own.max_projects, plan.max_projects)),
        tokens=_count(_chosen(own.max_tokens_per_month, plan.max_tokens_per_month)),
        storage=_bytes(_chosen(own.max_storage_gb, plan.max_storage_gb)),
        agents=_count(_chosen(own.max_concurrent_agents, plan.max_concurrent_agents)),
    )


def grants_of(spec: TenantSpec, plans: Mapping[PlanName, Plan]) -> Grants:
    """What the tenant is granted: its plan, overridden by its own file. KeyError when the plan is not there."""
    plan = plans[spec.type]
    return Grants(
        plan=spec.type,
        quotas=_quotas(plan.quotas, spec.quotas),
        features=frozenset(plan.features),
        rate_limits={**plan.rate_limits, **spec.rate_limits},
        isolation=spec.isolation or plan.isolation,
        retention_days=plan.retention_days,
        allowed_models=spec.settings.allowed_models,
        soft=frozenset(SOFT[quota] for quota in plan.soft_quotas),
        reservations=plan.reservations,
    )
