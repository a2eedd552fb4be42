"""A handle to one tenant's limit of one action, and the error that a refusal becomes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from partywall.errors import RateLimited
from partywall.limits.cell import Cell
from partywall.limits.decision import Decision

if TYPE_CHECKING:
    from partywall.limits.limiter import Limiter

__all__ = ["BoundLimit", "refusal"]

_ONE: Final = 1


class BoundLimit:
    """The limit of one tenant, action and, if named, user. Made by ``Limiter.bind``; safe to share and to keep."""

    __slots__ = ("_action", "_cell", "_find", "_limiter", "_monotonic", "_tenant_id", "_user_id")

    def __init__(
        self,
        limiter: Limiter,
        find: Callable[[str, str, str | None], Cell | None],
        monotonic: Callable[[], float],
        *,
        tenant_id: str,
        action: str,
        user_id: str | None,
    ) -> None:
        self._limiter = limiter
        self._find = find
        self._monotonic = monotonic
        self._tenant_id = tenant_id
        self._action = action
        self._user_id = user_id
        self._cell: Cell | None = None

    def check(self, cost: int = 1) -> Decision:
        """As ``Limiter.check``."""
        cell = self._cell
        if cell is not None and self._monotonic() < cell.end and cost is _ONE:
            for decision in cell:
                return decision
        decision = self._limiter.check(self._tenant_id, self._action, cost, self._user_id)
        self._cell = self._find(self._tenant_id, self._action, self._user_id)
        return decision

    def require(self, cost: int = 1) -> Decision:
        """As ``Limiter.require``."""
        decision = self.check(cost)
        if not decision.allowed:
            raise refusal(self._action, decision)
        return decision

    def allow(self, cost: int = 1) -> bool:
        """As ``Limiter.allow``."""
        return self.check(cost).allowed

    def peek(self, cost: int = 1) -> Decision:
        """As ``Limiter.peek``."""
        return self._limiter.peek(self._tenant_id, self._action, cost, self._user_id)

    def status(self) -> Decision:
        """As ``Limiter.status``."""
        return self._limiter.status(self._tenant_id, self._action, user_id=self._user_id)

    def refund(self, cost: int = 1) -> Decision:
        """As ``Limiter.refund``."""
        return self._limiter.refund(self._tenant_id, self._action, cost, self._user_id)


def refusal(action: str, decision: Decision) -> RateLimited:
    """The error for a decision that is not allowed."""
    wait = decision.retry_after
    whose = " of each user" if decision.scope == "user" else ""
    text = f"the rate limit of {decision.limit} for '{action}'{whose} is used up; retry in {wait:.3f} s"
    return RateLimited(text, action=action, limit=decision.limit, retry_after=wait)
