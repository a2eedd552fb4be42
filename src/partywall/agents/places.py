"""Places for agents: as many as a tenant's quota has, given out first come, first served."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TypeAlias

from partywall.errors import QuotaExceeded
from partywall.names import TenantId

__all__ = ["Place", "Places"]

Place: TypeAlias = "Future[None]"
"""Done once the place is held; fails when the tenant goes out of service first."""


class Places:
    """Counts the places held by each tenant. Tenants share nothing here, so none waits for another."""

    def __init__(self, limit_of: Callable[[TenantId], int | None]) -> None:
        self._limit_of = limit_of
        self._lock = threading.Lock()
        self._held: dict[TenantId, int] = {}
        self._waiting: dict[TenantId, deque[Place]] = {}

    def count(self, tenant_id: TenantId) -> int:
        """How many places the tenant holds."""
        return self._held.get(tenant_id, 0)

    def waiting(self) -> list[TenantId]:
        """The tenants that have somebody in their queue."""
        with self._lock:
            return list(self._waiting)

    def ask(self, tenant_id: TenantId, *, queue: bool) -> Place:
        """A place, held at once if there is one; otherwise the last in the queue, or QuotaExceeded."""
        place: Place = Future()
        place.set_running_or_notify_cancel()  # an awaiting task that is cancelled must not settle it: withdraw does
        with self._lock:
            if tenant_id not in self._waiting and self._free(tenant_id):
                self._give(tenant_id, place)
            elif queue:
                self._waiting.setdefault(tenant_id, deque()).append(place)
            else:
                raise self._full(tenant_id)
        return place

    def withdraw(self, tenant_id: TenantId, place: Place) -> QuotaExceeded:
        """Give up on a place, held or not; returns the error that says that there was none."""
        with self._lock:
            queue = self._waiting.get(tenant_id)
            if queue is not None and place in queue:
                queue.remove(place)
                self._forget_if_empty(tenant_id)
            elif place.done() and place.exception() is None:
                self._take_back(tenant_id)
            return self._full(tenant_id)

    def give_back(self, tenant_id: TenantId) -> None:
        """Let go of a held place; the first in the queue gets it."""
        with self._lock:
            self._take_back(tenant_id)

    def look_again(self, tenant_ids: Iterable[TenantId]) -> None:
        """Serve the queues of tenants whose quota may have changed."""
        with self._lock:
            for tenant_id in tenant_ids:
                self._serve(tenant_id)

    def refuse(self, tenant_id: TenantId, error: Callable[[], Exception]) -> None:
        """Send everybody in the tenant's queue away."""
        with self._lock:
            for place in self._waiting.pop(tenant_id, ()):
                place.set_exception(error())

    def _free(self, tenant_id: TenantId) -> bool:
        limit = self._limit_of(tenant_id)
        return limit is None or self.count(tenant_id) < limit

    def _full(self, tenant_id: TenantId) -> QuotaExceeded:
        held, limit = self.count(tenant_id), self._limit_of(tenant_id) or 0
        message = f"quota 'agents' is used up: {held} of {limit} agents are running"
        return QuotaExceeded(message, quota="agents", current=held, limit=limit, requested=1)

    def _give(self, tenant_id: TenantId, place: Place) -> None:
        self._held[tenant_id] = self.count(tenant_id) + 1
        place.set_result(None)

    def _take_back(self, tenant_id: TenantId) -> None:
        left = self._held.pop(tenant_id) - 1
        if left:
            self._held[tenant_id] = left
        self._serve(tenant_id)

    def _serve(self, tenant_id: TenantId) -> None:
        queue = self._waiting.get(tenant_id)
        while queue and self._free(tenant_id):
            self._give(tenant_id, queue.popleft())
        self._forget_if_empty(tenant_id)

    def _forget_if_empty(self, tenant_id: TenantId) -> None:
        if not self._waiting.get(tenant_id, True):
            del self._waiting[tenant_id]
