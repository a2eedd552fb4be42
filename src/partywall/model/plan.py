"""plans.yaml: what each plan grants, and what it comes to for one tenant."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema, field_validator

from partywall.model._base import FileModel, named, one_of
from partywall.names import Action, PlanName, meant, parse_action, parse_plan

__all__ = [
    "ALL_FEATURES",
    "GIGABYTE",
    "METRICS",
    "SOFT",
    "Algorithm",
    "Grants",
    "Plan",
    "PlansFile",
    "QuotaLimits",
    "Quotas",
    "Rate",
    "RateLimit",
    "Reservations",
    "Strategy",
]

ALL_FEATURES: Final = "all"
"""The feature that grants every feature."""
GIGABYTE: Final = 1_000_000_000
"""Bytes in one of the gigabytes that plans are written in."""


class Strategy(StrEnum):
    """How a tenant's rows are kept apart from every other tenant's."""

    ROW = "row_level"
    SCHEMA = "schema_level"
    DATABASE = "database_level"


class Algorithm(StrEnum):
    """How a rate limit counts."""

    SLIDING_WINDOW = "sliding_window"
    FIXED_WINDOW = "fixed_window"
    GCRA = "gcra"


def _count(value: Any) -> int | Literal["unlimited"]:
    if value == "unlimited":
        return "unlimited"
    if type(value) is not int or not 0 <= value <= 2**53:
        raise ValueError("expected a whole number from 0 to 2^53, or 'unlimited'")
    return value


def _gigabytes(value: Any) -> int | float | Literal["unlimited"]:
    if value == "unlimited":
        return "unlimited"
    if type(value) not in (int, float) or not math.isfinite(value) or not 0 <= value <= 2**53 / GIGABYTE:
        raise ValueError("expected a number of gigabytes from 0 to 9 million, or 'unlimited'")
    return value  # type: ignore[no-any-return]  # narrowed to int or float by the check above


def _price(value: Any) -> int | float | Literal["custom"]:
    if value == "custom":
        return "custom"
    if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
        raise ValueError("expected a price of at least 0, or 'custom'")
    return value  # type: ignore[no-any-return]  # narrowed to int or float by the check above


def _number_or(word: str, kind: str = "number", **more: float) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": kind, "minimum": 0, **more}, {"const": word}]})


Count = Annotated[
    int | Literal["unlimited"], BeforeValidator(_count), _number_or("unlimited", "integer", maximum=2**53)
]
Gigabytes = Annotated[
    int | float | Literal["unlimited"],
    BeforeValidator(_gigabytes),
    _number_or("unlimited", maximum=2**53 / GIGABYTE),
]
Price = Annotated[int | float | Literal["custom"], BeforeValidator(_price), _number_or("custom")]


StrategyField = Annotated[Strategy, one_of(Strategy)]


class Quotas(FileModel):
    """The quotas of a plan, or a tenant's overrides of them: of what is not said, the plan's stands."""

    max_users: Count | None = None
    """The most users, or ``unlimited``."""
    max_projects: Count | None = None
    """The most projects, or ``unlimited``."""
    max_tokens_per_month: Count | None = None
    """The most tokens in one month of UTC, or ``unlimited``."""
    max_storage_gb: Annotated[Gigabytes | None, Field(alias="maxStorageGB")] = None
    """The most storage in gigabytes of 10^9 bytes, such as 0.5, or ``unlimited``."""
    max_concurrent_agents: Count | None = None
    """The most agents that run at the same time, or ``unlimited``."""


class PlanQuotas(Quotas):
    """A plan names every quota: what is not said would otherwise be guessed."""

    max_users: Count
    max_projects: Count
    max_tokens_per_month: Count
    max_storage_gb: Annotated[Gigabytes, Field(alias="maxStorageGB")]
    max_concurrent_agents: Count


SOFT: Final[Mapping[str, str]] = MappingProxyType(
    {"maxUsers": "users", "maxProjects": "projects", "maxTokensPerMonth": "tokens", "maxStorageGB": "storage"}
)
"""The quotas that a plan may call soft, as files and as code name them; agents are always counted strictly."""


def _soft(value: str) -> str:
    if value not in SOFT:
        raise ValueError(f"expected one of {', '.join(SOFT)}{meant(value, SOFT)}")
    return value


SoftQuota = Annotated[str, AfterValidator(_soft), WithJsonSchema({"enum": list(SOFT)})]


class Reservations(FileModel):
    """What becomes of the reservations of a plan's tenants that do not end as they were meant to."""

    on_expiry: Literal["release", "charge_cap"] = "release"
    """Whether a reservation whose lease ends is given back, or counted in full."""
    overrun: Literal["charge", "cap"] = "charge"
    """Whether what was used beyond the reserved amount is counted too, or only recorded."""


_AS_USUAL: Final = Reservations()


class Rate(FileModel):
    """At most ``max_requests`` in a window of ``window_ms`` milliseconds."""

    max_requests: Annotated[int, Field(ge=0, le=10_000_000)]
    """The most calls in one window; 0 admits none."""
    window_ms: Annotated[int, Field(ge=1, le=31 * 86_400_000)]
    """The length of the window in milliseconds; 60000 is a minute."""
    algorithm: Annotated[Algorithm, one_of(Algorithm)] = Algorithm.SLIDING_WINDOW
    """How calls are counted: ``sliding_window``, ``fixed_window``, or ``gcra``, which spreads them evenly."""
    burst: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Under ``gcra`` the most calls at once, from 1 to ``maxRequests``, which it is when it is not said."""

    @field_validator("burst")
    @classmethod
    def _burst_has_a_meaning(cls, burst: int | None, known: ValidationInfo) -> int | None:
        # A field that is wrong itself is not among the known ones, and has an error of its own.
        if burst is None:
            return None
        if known.data.get("algorithm", Algorithm.GCRA) is not Algorithm.GCRA:
            raise ValueError("burst has a meaning only beside 'algorithm: gcra'; windows admit maxRequests at once")
        most = known.data.get("max_requests", burst)
        if burst > most:
            raise ValueError(f"burst is at most maxRequests, {most}; a longer window admits more at once")
        return burst

    @property
    def at_once(self) -> int:
        """The most calls that can be admitted at one moment."""
        return self.max_requests if self.burst is None else self.burst


class RateLimit(Rate):
    """What a plan allows of one action: a rate for the tenant or for each user, or one for both."""

    per: Literal["tenant", "user"] = "tenant"
    """Whether all users of a tenant share the limit, or each has one."""
    per_user: Rate | None = None
    """A second limit, for each user within the tenant's; a call needs room in both and counts in both or neither."""

    @field_validator("per_user")
    @classmethod
    def _tenants_limit_beside(cls, rate: Rate | None, known: ValidationInfo) -> Rate | None:
        if rate is not None and known.data.get("per") == "user":
            raise ValueError("perUser stands beside the tenant's limit; 'per: user' says that there is none")
        return rate


_FEATURE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


def _feature(value: str) -> str:
    if _FEATURE.fullmatch(value) is None:
        raise ValueError("expected the name of a feature: a letter, then up to 63 of a-z, 0-9 and _")
    return value


RateLimits = dict[Annotated[Action, AfterValidator(parse_action), named(parse_action)], RateLimit]
Feature = Annotated[
    str, AfterValidator(_feature), WithJsonSchema({"type": "string", "pattern": f"^{_FEATURE.pattern}$"})
]


class Plan(FileModel):
    """What tenants of one type are granted."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    """What people call the plan."""
    price: Price
    """The price, for those who show it, or ``custom``."""
    quotas: PlanQuotas
    """The most that a tenant may have; every quota is named."""
    features: tuple[Feature, ...]
    """What is granted by name; ``all`` grants every feature."""
    rate_limits: Annotated[RateLimits, Field(alias="rate_limits")]
    """Limits of calls by action; ``default`` serves the actions that are not named."""
    isolation: StrategyField = Strategy.ROW
    """How a new tenant's rows are kept apart. Data that is there already stays where it is until it is moved."""
    retention_days: Annotated[int, Field(ge=0, le=3650)] = 30
    """Days between a tenant's deletion and the purge of its data."""
    soft_quotas: tuple[SoftQuota, ...] = ()
    """Quotas that refuse nothing: what exceeds them is reported."""
    reservations: Reservations = _AS_USUAL
    """What becomes of reservations that do not end as they were meant to."""


PlanKey = Annotated[PlanName, AfterValidator(parse_plan), named(parse_plan)]


class PlansFile(FileModel):
    """The document ``plans.yaml``."""

    plans: Annotated[dict[PlanKey, Plan], Field(min_length=1)]
    """The plans by name; a tenant's ``type`` is one of them."""


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """The most a tenant may have of each metric, in whole units (storage in bytes); None is unlimited."""

    users: int | None
    projects: int | None
    tokens: int | None
    storage: int | None
    agents: int | None

    def __iter__(self) -> Iterator[tuple[str, int | None]]:
        return ((metric, getattr(self, metric)) for metric in METRICS)


METRICS: Final = tuple(field.name for field in fields(QuotaLimits))
"""The metrics that have quotas, in the order of the plans."""


@dataclass(frozen=True, slots=True)
class Grants:
    """What one tenant is granted in the end: its plan, overridden by what its own file says."""

    plan: PlanName
    quotas: QuotaLimits
    features: frozenset[str]
    rate_limits: Mapping[Action, RateLimit]
    isolation: Strategy
    retention_days: int
    allowed_models: tuple[str, ...] | None
    """None admits every model."""
    soft: frozenset[str] = frozenset()
    """The metrics whose quota refuses nothing."""
    reservations: Reservations = _AS_USUAL
