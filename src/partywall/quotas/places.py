"""Places: how many may run at once, as many as a tenant's quota has, given out first come, first served.

They are in memory, so that they die with their process: what starts after a kill finds every place free.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeAlias

from partywall.errors import InvalidArgument, QuotaExceeded, TenantNotFound
from partywall.names import TenantId
from partywall.quotas.tenants import Tenants

__all__ = ["Places"]

_Asked: TypeAlias = "Future[None]"
"""Done once the places are held; fails when the tenant goes out of service first."""


class Places:
    """Counts the places held by each tenant. Tenants share nothing here, so none waits for another."""

    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants
        self._lock = threading.Lock()
        self._held: dict[TenantId, int] = {}
        self._waiting: dict[TenantId, deque[tuple[_Asked, int]]] = {}

    def count(self, tenant_id: TenantId) -> int:
        """How many places the tenant holds."""
        return self._held.get(tenant_id, 0)

    def waiting(self) -> list[TenantId]:
        """The tenants that have somebody in their queue."""
        with self._lock:
            return list(self._waiting)

    def take(self, tenant_id: TenantId, *, amount: int = 1, wait: float | None = None) -> None:
        """Hold places, at once or within ``wait`` seconds; QuotaExceeded when they did not become free.

        Raises what ``refuse`` was told when the tenant goes out of service meanwhile, and InvalidArgument where
        waiting would stop an event loop.
        """
        asked = self.ask(tenant_id, amount=amount, queue=_seconds(wait) > 0)
        try:
            if not asked.done() and _in_loop():
                raise InvalidArgument("waiting here would stop the event loop; await it, or use a thread")
            asked.result(wait)
        except TimeoutError:
            raise self.withdraw(tenant_id, asked, amount) from None
        except BaseException:
            self.withdraw(tenant_id, asked, amount)
            raise

    async def take_async(self, tenant_id: TenantId, *, amount: int = 1, wait: float | None = None) -> None:
        """The awaitable twin of ``take``: waiting holds no thread, and may be cancelled."""
        asked = self.ask(tenant_id, amount=amount, queue=_seconds(wait) > 0)
        try:
            await asyncio.wait_for(asyncio.wrap_future(asked), wait)
        except TimeoutError:
            raise self.withdraw(tenant_id, asked, amount) from None
        except BaseException:
            self.withdraw(tenant_id, asked, amount)
            raise

    def give_back(self, tenant_id: TenantId, amount: int = 1) -> None:
        """Let go of held places; the first in the queue gets them."""
        with self._lock:
            self._take_back(tenant_id, amount)

    def look_again(self, tenant_ids: Iterable[TenantId]) -> None:
        """Serve the queues of tenants whose quota may have changed."""
        with self._lock:
            for tenant_id in tenant_ids:
                self._serve(tenant_id)

    def refuse(self, tenant_id: TenantId, error: Callable[[], Exception]) -> None:
        """Send everybody in the tenant's queue away."""
        with self._lock:
            for asked, _ in self._waiting.pop(tenant_id, ()):
                asked.set_exception(error())

    def ask(self, tenant_id: TenantId, *, amount: int = 1, queue: bool) -> _Asked:
        """Places, held at once if they are free; otherwise the last in the queue, or QuotaExceeded."""
        asked: _Asked = Future()
        asked.set_running_or_notify_cancel()  # an awaiting task that is cancelled must not settle it: withdraw does
        with self._lock:
            if tenant_id not in self._waiting and self._free(tenant_id, amount):
                self._give(tenant_id, asked, amount)
            elif queue:
                self._waiting.setdefault(tenant_id, deque()).append((asked, amount))
            else:
                raise self._full(tenant_id, amount)
        return asked

    def withdraw(self, tenant_id: TenantId, asked: _Asked, amount: int = 1) -> QuotaExceeded:
        """Give up on places, held or not; returns the error that says that there were none."""
        with self._lock:
            queue = self._waiting.get(tenant_id)
            if queue is not None and (asked, amount) in queue:
                queue.remove((asked, amount))
                self._serve(tenant_id)
            elif asked.done() and asked.exception() is None:
                self._take_back(tenant_id, amount)
            return self._full(tenant_id, amount)

    def _limit(self, tenant_id: TenantId) -> int | None:
        with suppress(TenantNotFound):
            return self._tenants.grants(tenant_id).quotas.agents
        return 0

    def _free(self, tenant_id: TenantId, amount: int) -> bool:
        limit = self._limit(tenant_id)
        return limit is None or self.count(tenant_id) + amount <= limit

    def _full(self, tenant_id: TenantId, amount: int) -> QuotaExceeded:
        held, limit = self.count(tenant_id), self._limit(tenant_id) or 0
        message = f"quota 'agents' has no room for {amount} more: {held} of {limit} agents are running"
        return QuotaExceeded(message, quota="agents", current=held, limit=limit, requested=amount)

    def _give(self, tenant_id: TenantId, asked: _Asked, amount: int) -> None:
        self._held[tenant_id] = self.count(tenant_id) + amount
        asked.set_result(None)

    def _take_back(self, tenant_id: TenantId, amount: int) -> None:
        left = self._held.pop(tenant_id) - amount
        if left:
            self._held[tenant_id] = left
        self._serve(tenant_id)

    def _serve(self, tenant_id: TenantId) -> None:
        queue = self._waiting.get(tenant_id)
        while queue and self._free(tenant_id, queue[0][1]):
            self._give(tenant_id, *queue.popleft())
        if queue is not None and not queue:
            del self._waiting[tenant_id]


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _seconds(wait: object) -> float:
    seconds = 0.0 if wait is None else wait
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise InvalidArgument("wait is a number of seconds, at least 0")
    return seconds
