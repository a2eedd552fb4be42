"""Two tenants over the real catalog, ledger and audit log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from partywall.agents import Agents
from partywall.audit import AuditLog
from partywall.catalog import Catalog
from partywall.clock import SystemClock
from partywall.directory import Directory
from partywall.ledger import LifecycleRecord, SqliteLedger
from partywall.limits import Limiter
from partywall.model import Status
from partywall.names import TenantId
from partywall.quotas import Places

ACME, BETA = TenantId("ten_acme"), TenantId("ten_beta")
PLANS = """\
plans:
  starter:
    name: Starter
    price: 0
    quotas: {maxUsers: 5, maxProjects: 5, maxTokensPerMonth: 5, maxStorageGB: 5, maxConcurrentAgents: unlimited}
    features: []
    rate_limits: {api_requests: {maxRequests: 100, windowMs: 60000}}
"""
TABLES = "tables: {projects: {columns: {name: {type: text}}}}\n"
OWNER = "{userId: u1, email: ann@acme.test, name: Ann}"


class World:
    """An engine's worth of rooms, without the engine."""

    def __init__(self, folder: Path) -> None:
        self.tenancy = folder / "data" / "system" / "tenancy"
        (self.tenancy / "tenants").mkdir(parents=True)
        (self.tenancy / "plans.yaml").write_text(PLANS)
        (self.tenancy / "tables.yaml").write_text(TABLES)
        for tenant_id in (ACME, BETA):
            self._write(tenant_id)
        clock = SystemClock()
        self.catalog = Catalog(folder / "data", clock=clock, watch=False)
        self.ledger = SqliteLedger(folder / "ledger.sqlite")
        self.directory = Directory(self.catalog, self.ledger)
        self.audit = AuditLog(self.ledger, clock)
        self.limiter = Limiter(self.directory, clock)
        self.agents = Agents(self.directory, self.ledger, self.audit, self.limiter, Places(self.directory), clock)
        self.directory.subscribe(self.agents.on_change)

    def close(self) -> None:
        self.agents.close(grace=1.0)
        self.ledger.close()
        self.catalog.close()

    def put(self, tenant_id: TenantId, status: Status) -> None:
        """Impose a status, as ``tenants.suspend`` does."""
        record = LifecycleRecord(tenant_id, self.directory.spec(tenant_id).slug, status)
        self.ledger.write(lambda tx: tx.put_lifecycle(record))
        self.directory.impose(record)

    def edit(self, tenant_id: TenantId, status: str = "active", agents: int | str = "unlimited", **rates: int) -> None:
        """Save the tenant's file and let it be read."""
        self._write(tenant_id, status, agents, rates)
        self.catalog.refresh()

    def recorded(self, action: str, tenant_id: TenantId = ACME) -> list[Any]:
        return [record for record in self.audit.records(tenant_id) if record.action == action]

    def _write(
        self,
        tenant_id: TenantId,
        status: str = "active",
        agents: int | str = "unlimited",
        rates: dict[str, int] | None = None,
    ) -> None:
        slug = tenant_id.removeprefix("ten_")
        limits = ", ".join(
            f"{name}: {{maxRequests: {most}, windowMs: 3600000}}" for name, most in (rates or {}).items()
        )
        (self.tenancy / "tenants" / f"{slug}.yaml").write_text(
            f"id: {tenant_id}\nname: {slug}\nslug: {slug}\ntype: starter\nstatus: {status}\nowner: {OWNER}\n"
            f"quotas: {{maxConcurrentAgents: {agents}}}\nrate_limits: {{{limits}}}\n"
        )


@contextmanager
def opened(folder: Path) -> Iterator[World]:
    made = World(folder)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with opened(tmp_path) as made:
        yield made


@pytest.fixture
def agents(world: World) -> Agents:
    return world.agents
