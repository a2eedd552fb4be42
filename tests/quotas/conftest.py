from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from partywall.clock import ManualClock
from partywall.errors import (
    TenantDeleted,
    TenantNotFound,
    TenantPending,
    TenantSuspended,
)
from partywall.ledger import SqliteLedger
from partywall.model import Grants, QuotaLimits, Status, Strategy
from partywall.names import PlanName, TenantId
from partywall.quotas import Quotas, Usage

ACME = TenantId("ten_acme")
BETA = TenantId("ten_beta")
REFUSALS = {
    Status.PENDING: TenantPending,
    Status.SUSPENDED: TenantSuspended,
    Status.DELETED: TenantDeleted,
}


class Tenants:
    """Who is there and what each is granted, without files."""

    def __init__(self) -> None:
        limits = QuotaLimits(users=5, projects=10, tokens=1000, storage=10**9, agents=2)
        grants = Grants(PlanName("starter"), limits, frozenset(), {}, Strategy.ROW, 30, None)
        self.granted = {ACME: grants, BETA: grants}
        self.statuses: dict[TenantId, Status] = {ACME: Status.ACTIVE, BETA: Status.ACTIVE}

    def limit(self, tenant_id: TenantId, **limits: int | None) -> None:
        grants = self.granted[tenant_id]
        self.granted[tenant_id] = replace(grants, quotas=replace(grants.quotas, **limits))

    def status(self, tenant_id: TenantId) -> Status | None:
        return self.statuses.get(tenant_id)

    def require_active(self, tenant_id: str) -> TenantId:
        status = self.statuses.get(TenantId(tenant_id))
        if status is Status.ACTIVE:
            return TenantId(tenant_id)
        raise REFUSALS[status]("no") if status else TenantNotFound("no such tenant")

    def grants(self, tenant_id: str) -> Grants:
        return self.granted[TenantId(tenant_id)]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[SqliteLedger]:
    opened = SqliteLedger(path)
    yield opened
    opened.close()


@pytest.fixture
def tenants() -> Tenants:
    return Tenants()


@pytest.fixture
def usage(ledger: SqliteLedger, tenants: Tenants, clock: ManualClock) -> Usage:
    return Usage(ledger, tenants, clock)


@pytest.fixture
def quotas(ledger: SqliteLedger, tenants: Tenants, clock: ManualClock, usage: Usage) -> Quotas:
    return Quotas(ledger, tenants, clock, usage)
