"""A handle to one tenant's limit of one action, and the error that a refusal becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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

    __slots__ = ("_action", "_cell", "_cells", "_limiter", "_monotonic", "_tenant_id", "_user_id")

    def __init__(
        self,
        limiter: Limiter,
        cells: Mapping[str, Mapping[str, Cell]],
        monotonic: Callable[[], float],
        *,
        tenant_id: str,
        action: str,
        user_id: str | None,
    ) -> None:
        self._limiter = limiter
        self._cells = cells
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
        self._cell = self._cells.get(self._action, {}).get(self._tenant_id)
        return decision

    def require(self, cost: int = 1) -> Decision:
        """As ``Limiter.require``."""
        decision = self.check(cost)
        if not decision.allowed:
            raise refusal(self._action, decision)
        return decision


def refusal(action: str, decision: Decision) -> RateLimited:
    """The error for a decision that is not allowed."""
    wait = decision.retry_after
    text = f"the rate limit of {decision.limit} for '{action}' is used up; retry in {wait:.3f} s"
    return RateLimited(text, action=action, limit=decision.limit, retry_after=wait)
