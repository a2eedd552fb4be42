"""What files declare, as frozen models: plans, tenants, tables, and the engine's settings."""

from partywall.model.plan import (
    ALL_FEATURES,
    GIGABYTE,
    METRICS,
    SOFT,
    Algorithm,
    Grants,
    Plan,
    PlansFile,
    QuotaLimits,
    Quotas,
    Rate,
    RateLimit,
    Reservations,
    Strategy,
)
from partywall.model.settings import BackendChoice, EngineConfig, ReloadConfig, SqlConfig, SqlTier
from partywall.model.table import ID, Column, Table, TablesFile
from partywall.model.tenant import Billing, Owner, Settings, Status, Tenant, TenantSpec, grants_of
from partywall.model.values import ColumnType, encode

__all__ = [
    "ALL_FEATURES",
    "GIGABYTE",
    "ID",
    "METRICS",
    "SOFT",
    "Algorithm",
    "BackendChoice",
    "Billing",
    "Column",
    "ColumnType",
    "EngineConfig",
    "Grants",
    "Owner",
    "Plan",
    "PlansFile",
    "QuotaLimits",
    "Quotas",
    "Rate",
    "RateLimit",
    "ReloadConfig",
    "Reservations",
    "Settings",
    "SqlConfig",
    "SqlTier",
    "Status",
    "Strategy",
    "Table",
    "TablesFile",
    "Tenant",
    "TenantSpec",
    "encode",
    "grants_of",
]
