"""The awaitable twins of ``Tenants``, ``Agents``, ``AuditLog``; written by tools/generate_aio.py."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from partywall.agents.agent import Agent
from partywall.agents.agents import Agents, Work
from partywall.agents.ladder import StopReport
from partywall.audit.log import AuditLog
from partywall.ledger import AuditRecord
from partywall.model import Owner, Settings, Status, Strategy, Tenant
from partywall.names import TenantId
from partywall.tenants.tenants import Suspension, Tenants
from partywall.workers import Workers

__all__ = ["AsyncAgents", "AsyncAuditLog", "AsyncTenants"]


class AsyncTenants:
    """The awaitable twin of ``Tenants``."""

    def __init__(self, sync: Tenants, workers: Workers) -> None:
        self._sync = sync
        self._workers = workers

    async def create(
        self,
        *,
        name: str,
        slug: str,
        plan: str,
        owner: Owner | Mapping[str, Any],
        status: Status | str = Status.ACTIVE,
        settings: Settings | Mapping[str, Any] | None = None,
        quotas: Mapping[str, Any] | None = None,
        billing: Mapping[str, Any] | None = None,
        isolation: Strategy | str | None = None,
        rate_limits: Mapping[str, Any] | None = None,
        domains: Sequence[str] = (),
    ) -> Tenant:
        """Make a tenant: its file, its place in a store, its records. All of it or nothing."""
        return await self._workers.run(
            self,
            self._sync.create,
            name=name,
            slug=slug,
            plan=plan,
            owner=owner,
            status=status,
            settings=settings,
            quotas=quotas,
            billing=billing,
            isolation=isolation,
            rate_limits=rate_limits,
            domains=domains,
        )

    async def update_settings(
        self, tenant_id: str, settings: Mapping[str, Any], *, if_version: str | None = None
    ) -> Tenant:
        """Set the named settings and leave the others; None removes one."""
        return await self._workers.run(self, self._sync.update_settings, tenant_id, settings, if_version=if_version)

    async def change_plan(self, tenant_id: str, plan: str, *, if_version: str | None = None) -> Tenant:
        """Put the tenant on another plan; its limits and features change at once, its data stays where it is."""
        return await self._workers.run(self, self._sync.change_plan, tenant_id, plan, if_version=if_version)

    async def rename(
        self, tenant_id: str, *, name: str | None = None, slug: str | None = None, if_version: str | None = None
    ) -> Tenant:
        """Give the tenant another name, slug or both; its id, and all that is stored under it, stays."""
        return await self._workers.run(self, self._sync.rename, tenant_id, name=name, slug=slug, if_version=if_version)

    async def suspend(self, tenant_id: str, *, reason: str) -> Suspension:
        """Take the tenant out of service: refused at once, agents stopped, transactions rolled back."""
        return await self._workers.run(self, self._sync.suspend, tenant_id, reason=reason)

    async def resume(self, tenant_id: str) -> Tenant:
        """Put a suspended or pending tenant in service: lifts what was imposed, then what its file says."""
        return await self._workers.run(self, self._sync.resume, tenant_id)

    async def delete(self, tenant_id: str) -> Suspension:
        """Delete the tenant softly: out of service at once, its data kept until ``tenant.purge_at``."""
        return await self._workers.run(self, self._sync.delete, tenant_id)

    async def restore(self, tenant_id: str) -> Tenant:
        """Undo a deletion before the purge; the tenant is as it was, suspended if it was suspended."""
        return await self._workers.run(self, self._sync.restore, tenant_id)

    async def purge(self, tenant_id: str, *, before_due: bool = False) -> None:
        """Destroy all that is left of a deleted tenant, down to its bytes on disk; only audit records remain."""
        return await self._workers.run(self, self._sync.purge, tenant_id, before_due=before_due)

    async def purge_due(self) -> Sequence[TenantId]:
        """Purge every deleted tenant whose retention is over, and those whose purge was begun; returns their ids."""
        return await self._workers.run(
            self,
            self._sync.purge_due,
        )


class AsyncAgents:
    """The awaitable twin of ``Agents``."""

    def __init__(self, sync: Agents, workers: Workers) -> None:
        self._sync = sync
        self._workers = workers

    async def spawn(
        self,
        tenant_id: str,
        work: Work,
        *,
        name: str | None = None,
        wait: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
    ) -> Agent:
        """Run a coroutine or a command for the tenant, which must be in service."""
        return await self._sync.spawn_async(tenant_id, work, name=name, wait=wait, env=env, cwd=cwd)

    async def stop(self, agent_id: str, *, grace: float = 5.0) -> StopReport:
        """Tell an agent to stop, and wait up to ``grace`` seconds; nothing is done for one that is gone."""
        return await self._workers.run(self, self._sync.stop, agent_id, grace=grace)

    async def stop_tenant(self, tenant_id: str, *, grace: float = 5.0) -> StopReport:
        """Tell every agent of the tenant to stop, and wait up to ``grace`` seconds."""
        return await self._workers.run(self, self._sync.stop_tenant, tenant_id, grace=grace)


class AsyncAuditLog:
    """The awaitable twin of ``AuditLog``."""

    def __init__(self, sync: AuditLog, workers: Workers) -> None:
        self._sync = sync
        self._workers = workers

    async def records(
        self, tenant_id: str | None = None, *, after: int = 0, limit: int = 100, newest: bool = False
    ) -> Sequence[AuditRecord]:
        """At most ``limit`` records with a higher sequence number than ``after``; ``newest`` takes the last ones."""
        return await self._workers.run(self, self._sync.records, tenant_id, after=after, limit=limit, newest=newest)
