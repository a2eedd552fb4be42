"""Holds: places of a concurrency quota, for what the embedder runs itself."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Final

from partywall.clock import Clock
from partywall.errors import InvalidArgument, ReservationEnded
from partywall.names import TenantId
from partywall.quotas.counters import AGENTS
from partywall.quotas.places import Places
from partywall.quotas.reservations import legal_lease
from partywall.quotas.tenants import Tenants

__all__ = ["Hold", "Holds"]


class Hold:
    """Places that a tenant holds until they are released. Made by ``quotas.hold``; safe to share between threads.

    Leaving its ``with`` or ``async with`` block releases them; the end of the process does so too.
    """

    def __init__(self, holds: Holds, tenant_id: TenantId, amount: int) -> None:
        self._holds = holds
        self._tenant_id = tenant_id
        self._amount = amount
        self._id: Final = f"hold_{secrets.token_hex(8)}"

    @property
    def id(self) -> str:
        """``hold_`` and 16 hexadecimal digits."""
        return self._id

    @property
    def tenant_id(self) -> TenantId:
        """Whose quota is held."""
        return self._tenant_id

    @property
    def amounts(self) -> Mapping[str, int]:
        """What is held, by metric."""
        return {AGENTS: self._amount}

    def release(self) -> None:
        """Give all of it back; no error when that was done before, or when the lease had ended."""
        self._holds.end(self)

    def extend(self, lease: float) -> None:
        """Let the hold end so many seconds from now.

        Raises ReservationEnded when it has ended before, InvalidArgument, the refusals of a tenant that is not in
        service.
        """
        self._holds.extend(self, legal_lease(lease))

    def __enter__(self) -> Hold:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    async def __aenter__(self) -> Hold:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<Hold {self.id} {dict(self.amounts)}>"


class Holds:
    """The holds of one engine. Thread-safe."""

    def __init__(self, places: Places, tenants: Tenants, clock: Clock) -> None:
        self._places = places
        self._tenants = tenants
        self._clock = clock
        self._ends: dict[Hold, list[float | None]] = {}
        """When each open hold ends, by the monotonic clock; None for one that only its process ends.

        No lock: a signal handler or a finalizer may release a hold amid any call, so each step is one of the dict.
        """

    def take(self, tenant_id: str, amounts: Mapping[str, int], lease: float | None, wait: float | None) -> Hold:
        """Take places and hold them."""
        known, amount, seconds = self._checked(tenant_id, amounts, lease)
        self._places.take(known, amount=amount, wait=wait)
        return self._held(known, amount, seconds)

    async def take_async(
        self, tenant_id: str, amounts: Mapping[str, int], lease: float | None, wait: float | None
    ) -> Hold:
        """The awaitable twin of ``take``."""
        known, amount, seconds = self._checked(tenant_id, amounts, lease)
        await self._places.take_async(known, amount=amount, wait=wait)
        return self._held(known, amount, seconds)

    def extend(self, hold: Hold, lease: float) -> None:
        """Let an open hold end so many seconds from now."""
        self._tenants.require_active(hold.tenant_id)
        self.expire()
        end = self._clock.monotonic() + lease
        ends = self._ends.get(hold)
        if ends is None:
            raise ReservationEnded("the hold has ended; take another one", state="released")
        ends[0] = end

    def end(self, hold: Hold) -> None:
        """Give back what an open hold holds."""
        if self._ends.pop(hold, None) is not None:
            self._places.give_back(hold.tenant_id, hold.amounts[AGENTS])

    def expire(self) -> int:
        """End every hold whose lease has ended; returns how many."""
        now = self._clock.monotonic()
        ended = [hold for hold, (end,) in self._ends.copy().items() if end is not None and end <= now]
        for hold in ended:
            self.end(hold)
        return len(ended)

    def _checked(
        self, tenant_id: str, amounts: Mapping[str, int], lease: float | None
    ) -> tuple[TenantId, int, float | None]:
        known = self._tenants.require_active(tenant_id)
        seconds = None if lease is None else legal_lease(lease)
        if set(amounts) != {AGENTS}:
            raise InvalidArgument("hold takes agents=…; what is counted is held with reserve")
        amount = amounts[AGENTS]
        if type(amount) is not int or not 0 < amount <= 2**53:
            raise InvalidArgument("hold takes a whole number of agents, at least 1")
        self.expire()
        return known, amount, seconds

    def _held(self, tenant_id: TenantId, amount: int, lease: float | None) -> Hold:
        hold = Hold(self, tenant_id, amount)
        self._ends[hold] = [None if lease is None else self._clock.monotonic() + lease]
        try:
            # Again, now that it can be seen: a tenant may have left service while this waited.
            self._tenants.require_active(tenant_id)
        except BaseException:
            self.end(hold)
            raise
        return hold
