"""Many organisations in one process, and a wall between them.

``partywall.open(folder)`` returns the ``Engine``; each of its attributes leads into one room. Nothing
heavy is imported until it is used: the names below are found on first access.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from partywall.context import TenantContext, carry, current_tenant, require_tenant
    from partywall.engine import Engine, open  # noqa: A004  # `partywall.open` reads like the built-in on purpose
    from partywall.errors import (
        AuthenticationFailed,
        BackendError,
        BackendNotFound,
        ConfigError,
        ConstraintViolation,
        FeatureNotInPlan,
        InvalidArgument,
        IsolationBreach,
        LedgerError,
        PartywallError,
        PermissionDenied,
        QueryError,
        QuotaExceeded,
        RateLimited,
        TenantConflict,
        TenantDeleted,
        TenantNotFound,
        TenantPending,
        TenantRequired,
        TenantSuspended,
    )
    from partywall.hookspecs import hookimpl
    from partywall.operators import between, ge, gt, in_, is_null, le, like, lt, ne, not_in, not_null

__version__ = "0.1.0"

_HOMES = {
    "context": ("TenantContext", "carry", "current_tenant", "require_tenant"),
    "engine": ("Engine", "open"),
    "errors": (
        "AuthenticationFailed",
        "BackendError",
        "BackendNotFound",
        "ConfigError",
        "ConstraintViolation",
        "FeatureNotInPlan",
        "InvalidArgument",
        "IsolationBreach",
        "LedgerError",
        "PartywallError",
        "PermissionDenied",
        "QueryError",
        "QuotaExceeded",
        "RateLimited",
        "TenantConflict",
        "TenantDeleted",
        "TenantNotFound",
        "TenantPending",
        "TenantRequired",
        "TenantSuspended",
    ),
    "hookspecs": ("hookimpl",),
    "operators": ("between", "ge", "gt", "in_", "is_null", "le", "like", "lt", "ne", "not_in", "not_null"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AuthenticationFailed",
    "BackendError",
    "BackendNotFound",
    "ConfigError",
    "ConstraintViolation",
    "Engine",
    "FeatureNotInPlan",
    "InvalidArgument",
    "IsolationBreach",
    "LedgerError",
    "PartywallError",
    "PermissionDenied",
    "QueryError",
    "QuotaExceeded",
    "RateLimited",
    "TenantConflict",
    "TenantContext",
    "TenantDeleted",
    "TenantNotFound",
    "TenantPending",
    "TenantRequired",
    "TenantSuspended",
    "__version__",
    "between",
    "carry",
    "current_tenant",
    "ge",
    "gt",
    "hookimpl",
    "in_",
    "is_null",
    "le",
    "like",
    "lt",
    "ne",
    "not_in",
    "not_null",
    "open",
    "require_tenant",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'partywall' has no attribute '{name}'")
    value = getattr(import_module(f"partywall.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
