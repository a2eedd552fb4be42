"""The engine for async code: what can block, awaited, under the same names and arguments.

Written by tools/generate_aio.py from the rooms' own signatures; change those and run ``make format``.
What is in memory (limiter, features, snapshot, tenant context) is called on the engine itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from partywall.aio._quotas import AsyncQuotas, AsyncReservation, AsyncUsage
from partywall.aio._rows import AsyncIsolation, AsyncScopedQuery
from partywall.aio._tenants import AsyncAgents, AsyncAuditLog, AsyncTenants
from partywall.workers import Workers

if TYPE_CHECKING:
    from partywall.engine import Engine

__all__ = [
    "AsyncAgents",
    "AsyncAuditLog",
    "AsyncEngine",
    "AsyncIsolation",
    "AsyncQuotas",
    "AsyncReservation",
    "AsyncScopedQuery",
    "AsyncTenants",
    "AsyncUsage",
]


class AsyncEngine:
    """The awaitable face of an engine: ``engine.aio``."""

    def __init__(self, engine: Engine, workers: Workers) -> None:
        self._engine = engine
        self._workers = workers
        self.tenants = AsyncTenants(engine.tenants, workers)
        self.quotas = AsyncQuotas(engine.quotas, workers)
        self.usage = AsyncUsage(engine.usage, workers)
        self.isolation = AsyncIsolation(engine.isolation, workers)
        self.agents = AsyncAgents(engine.agents, workers)
        self.audit = AsyncAuditLog(engine.audit, workers)

    async def query(self, tenant_id: str | None = None) -> AsyncScopedQuery:
        """A handle to the rows of the named tenant, or of the tenant context's."""
        return AsyncScopedQuery(self._engine.query(tenant_id), self._workers)
