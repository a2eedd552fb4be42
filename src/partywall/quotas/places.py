"""Places: how many may run at once, as many as a tenant's quota has, given out first come, first served.

They are in memory, so that they die with their process: what starts after a kill finds every place free.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from typing import Final, NamedTuple

from partywall.errors import InvalidArgument, QuotaExceeded, TenantNotFound
from partywall.names import TenantId
from partywall.quotas.tenants import Tenants

__all__ = ["Asked", "Places"]


class Asked(Future[None]):
    """Done once the places are held; fails when they never will be, or the tenant goes out of service first."""

    def __init__(self, amount: int) -> None:
        super().__init__()
        self.amount = amount
        self.unwanted = False
        """Whether whoever asked has given up."""
        self.held = [amount]
        """Emptied by who gives the places back, so that it is done once."""
        self.set_running_or_notify_cancel()  # an awaiting task that is cancelled must not settle it: withdraw does


class _Standing(NamedTuple):
    """How many places a tenant holds, and who waits for more."""

    held: int = 0
    queue: tuple[Asked, ...] = ()


_NOBODY: Final = _Standing()


class _Room:
    """The places of one tenant; what stands there is replaced as a whole."""

    __slots__ = ("standing",)

    def __init__(self) -> None:
        self.standing = _NOBODY


class Places:
    """Counts the places held by each tenant. Tenants share nothing here, so none waits for another.

    A signal handler or a finalizer may call this amid a call by the same thread. So a change is worked out beside
    what stands, and put in its place only if that is what still stands; nobody is told anything under the lock.
    """

    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants
        self._lock = threading.RLock()
        self._rooms: dict[TenantId, _Room] = {}

    def count(self, tenant_id: TenantId) -> int:
        """How many places the tenant holds."""
        room = self._rooms.get(tenant_id)
        return 0 if room is None else room.standing.held

    def waiting(self) -> list[TenantId]:
        """The tenants that have somebody in their queue."""
        return [tenant_id for tenant_id, room in self._rooms.copy().items() if room.standing.queue]

    def queued(self, tenant_id: TenantId) -> int:
        """How many callers are in the tenant's queue."""
        return len(self._room(tenant_id).standing.queue)

    def take(self, tenant_id: TenantId, *, amount: int = 1, wait: float | None = None) -> None:
        """Hold places, at once or within ``wait`` seconds; QuotaExceeded when they did not become free.

        Raises what ``refuse`` was told when the tenant goes out of service meanwhile, and InvalidArgument where
        waiting would stop an event loop.
        """
        asked, queue = Asked(amount), _seconds(wait) > 0
        try:
            self.ask(tenant_id, asked, queue=queue)
            if not asked.done() and _in_loop():
                raise InvalidArgument("waiting here would stop the event loop; await it, or use a thread")
            asked.result(wait)
        except TimeoutError:
            raise self.withdraw(tenant_id, asked) from None
        except BaseException:
            self.withdraw(tenant_id, asked)
            raise

    async def take_async(self, tenant_id: TenantId, *, amount: int = 1, wait: float | None = None) -> None:
        """The awaitable twin of ``take``: waiting holds no thread, and may be cancelled."""
        asked, queue = Asked(amount), _seconds(wait) > 0
        try:
            self.ask(tenant_id, asked, queue=queue)
            await asyncio.wait_for(asyncio.wrap_future(asked), wait)
        except TimeoutError:
            raise self.withdraw(tenant_id, asked) from None
        except BaseException:
            self.withdraw(tenant_id, asked)
            raise

    def give_back(self, tenant_id: TenantId, amount: int = 1) -> None:
        """Let go of held places; the first in the queue gets them."""
        room, given_back = self._room(tenant_id), False
        while not given_back:
            seen = room.standing
            given_back = self._replace(room, seen, _Standing(seen.held - amount, seen.queue))
        self._serve(tenant_id)

    def look_again(self, tenant_ids: Iterable[TenantId]) -> None:
        """Serve the queues of tenants whose quota may have changed."""
        for tenant_id in tenant_ids:
            self._serve(tenant_id)

    def refuse(self, tenant_id: TenantId, error: Callable[[], Exception]) -> None:
        """Send everybody in the tenant's queue away."""
        room = self._room(tenant_id)
        while (seen := room.standing).queue:
            if self._replace(room, seen, _Standing(seen.held)):
                for asked in seen.queue:
                    asked.set_exception(error())

    def ask(self, tenant_id: TenantId, asked: Asked, *, queue: bool) -> None:
        """Places, held at once if they are free; otherwise the last in the queue, or QuotaExceeded.

        QuotaExceeded also for what can never fit: it would keep everybody behind it waiting.
        """
        room, amount, limit = self._room(tenant_id), asked.amount, self._limit(tenant_id)
        if limit is not None and amount > limit:
            raise self._full(tenant_id, amount)
        while True:
            seen = room.standing
            if not seen.queue and (limit is None or seen.held + amount <= limit):
                if self._replace(room, seen, _Standing(seen.held + amount)):
                    asked.set_result(None)
                    return
            elif not queue:
                raise self._full(tenant_id, amount)
            elif self._replace(room, seen, _Standing(seen.held, (*seen.queue, asked))):
                self._serve(tenant_id)  # the limit may have been raised since it was read
                return

    def withdraw(self, tenant_id: TenantId, asked: Asked) -> QuotaExceeded:
        """Give up on places, held or not; returns the error that says that there were none."""
        room = self._room(tenant_id)
        while asked in (seen := room.standing).queue:
            left = tuple(each for each in seen.queue if each is not asked)
            if self._replace(room, seen, _Standing(seen.held, left)):
                self._serve(tenant_id)
                return self._full(tenant_id, asked.amount)
        asked.unwanted = True
        self._take_back(tenant_id, asked)
        return self._full(tenant_id, asked.amount)

    def _room(self, tenant_id: TenantId) -> _Room:
        return self._rooms.get(tenant_id) or self._rooms.setdefault(tenant_id, _Room())

    def _replace(self, room: _Room, seen: _Standing, now: _Standing) -> bool:
        with self._lock:
            if room.standing is seen:  # no call between these two: nothing can come in between
                room.standing = now
                return True
        return False

    def _limit(self, tenant_id: TenantId) -> int | None:
        with suppress(TenantNotFound):
            return self._tenants.grants(tenant_id).quotas.agents
        return 0

    def _full(self, tenant_id: TenantId, amount: int) -> QuotaExceeded:
        (held, queue), limit = self._room(tenant_id).standing, self._limit(tenant_id) or 0
        why = f"{held} of {limit} agents are running"
        if amount > limit:
            why = f"it is {limit} in all"
        elif queue and held + amount <= limit:
            why = f"{why}, and {len(queue)} wait before you"
        message = f"quota 'agents' has no room for {amount} more: {why}"
        return QuotaExceeded(message, quota="agents", current=held, limit=limit, requested=amount)

    def _take_back(self, tenant_id: TenantId, asked: Asked) -> None:
        # Called by who gives up and by who serves, in whatever order: the later one finds both to be true.
        if asked.unwanted and asked.done() and asked.exception() is None:
            with suppress(IndexError):
                self.give_back(tenant_id, asked.held.pop())

    def _serve(self, tenant_id: TenantId) -> None:
        room = self._room(tenant_id)
        while (seen := room.standing).queue:
            first, limit = seen.queue[0], self._limit(tenant_id)
            if limit is not None and first.amount > limit:
                never = self._full(tenant_id, first.amount)
                if self._replace(room, seen, _Standing(seen.held, seen.queue[1:])):
                    first.set_exception(never)
            elif limit is not None and seen.held + first.amount > limit:
                return
            elif self._replace(room, seen, _Standing(seen.held + first.amount, seen.queue[1:])):
                first.set_result(None)
                self._take_back(tenant_id, first)


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
