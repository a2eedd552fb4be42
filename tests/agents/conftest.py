"""A directory that tests set by hand, over the real ledger and audit log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from partywall.agents import Agents
from partywall.audit import AuditLog
from partywall.clock import SystemClock
from partywall.errors import RateLimited, TenantDeleted, TenantNotFound, TenantPending, TenantSuspended
from partywall.ledger import SqliteLedger
from partywall.model import Grants, Owner, QuotaLimits, RateLimit, Settings, Status, Strategy, Tenant
from partywall.names import PlanName, Slug, TenantId, parse_action

ACME, BETA = TenantId("ten_acme"), TenantId("ten_beta")
REFUSALS = {Status.SUSPENDED: TenantSuspended, Status.DELETED: TenantDeleted, Status.PENDING: TenantPending}


def _grants(agents: int | None) -> Grants:
    quotas = QuotaLimits(users=None, projects=None, tokens=None, storage=None, agents=agents)
    return Grants(PlanName("starter"), quotas, frozenset(), {}, Strategy.ROW, 30, None)


class ByHand:
    """What ``Directory`` offers, with statuses and grants that a test sets."""

    def __init__(self) -> None:
        self.statuses: dict[str, Status] = {ACME: Status.ACTIVE, BETA: Status.ACTIVE}
        self.granted: dict[str, Grants] = {ACME: _grants(None), BETA: _grants(None)}
        self.listeners: list[Callable[[Any], None]] = []

    def require_active(self, tenant_id: str) -> TenantId:
        status = self.statuses.get(tenant_id)
        if status is Status.ACTIVE:
            return TenantId(tenant_id)
        raise REFUSALS.get(status, TenantNotFound)("not in service")

    def grants(self, tenant_id: str) -> Grants:
        if tenant_id not in self.statuses:
            raise TenantNotFound("no such tenant")
        return self.granted[tenant_id]

    def tenant(self, tenant_id: str) -> Tenant:
        owner = Owner(user_id="u1", email="ann@acme.test", name="Ann")
        grants = self.grants(tenant_id)
        return Tenant(
            id=TenantId(tenant_id),
            name="A",
            slug=Slug(tenant_id[4:]),
            plan=grants.plan,
            status=self.statuses[tenant_id],
            owner=owner,
            settings=Settings(),
            quotas=grants.quotas,
            isolation=grants.isolation,
        )

    def put(self, tenant_id: TenantId, after: Status) -> None:
        before, self.statuses[tenant_id] = self.statuses[tenant_id], after
        self._publish({tenant_id: (before, after)})

    def limit(self, tenant_id: TenantId, agents: int | None, **rates: int) -> None:
        limits = {
            parse_action(action): RateLimit(max_requests=most, window_ms=3_600_000) for action, most in rates.items()
        }
        self.granted[tenant_id] = replace(_grants(agents), rate_limits=limits)
        self._publish({})

    def _publish(self, statuses: dict[TenantId, Any]) -> None:
        for listener in self.listeners:
            listener(SimpleNamespace(statuses=statuses, tenants=frozenset(), plans=frozenset()))


@dataclass
class Permits:
    """What ``Limiter.require`` does, for windows that do not end."""

    directory: ByHand
    taken: dict[str, int] = field(default_factory=dict)

    def require(self, tenant_id: str, action: str) -> None:
        most = self.directory.grants(tenant_id).rate_limits[action].max_requests
        if self.taken.get(tenant_id, 0) >= most:
            raise RateLimited("wait", action=action, limit=most, retry_after=60.0)
        self.taken[tenant_id] = self.taken.get(tenant_id, 0) + 1


@dataclass
class World:
    directory: ByHand
    ledger: SqliteLedger
    audit: AuditLog
    limiter: Permits
    agents: Agents

    def recorded(self, action: str, tenant_id: TenantId = ACME) -> list[Any]:
        return [record for record in self.audit.records(tenant_id) if record.action == action]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    directory = ByHand()
    ledger = SqliteLedger(tmp_path / "ledger.sqlite")
    clock = SystemClock()
    audit = AuditLog(ledger, clock)
    limiter = Permits(directory)
    agents = Agents(directory, ledger, audit, limiter, clock)
    directory.listeners.append(agents.on_change)
    yield World(directory, ledger, audit, limiter, agents)
    agents.close(grace=1.0)
    ledger.close()


@pytest.fixture
def agents(world: World) -> Agents:
    return world.agents
