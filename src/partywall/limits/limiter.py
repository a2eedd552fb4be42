"""The limiter: a check on the path of every request, and the slow path on which accounts are changed.

An admitted call looks up one cell, reads the monotonic clock and takes the next ready-made decision: no lock,
no new object, no key built. Everything else happens under one lock: keys seen for the first time, ended windows,
costs above one, several limits at once, and tenants or plans that changed, for which the directory is asked.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from partywall.clock import Clock
from partywall.errors import InvalidArgument
from partywall.limits.accounts import Accounts, Claim
from partywall.limits.bound import BoundLimit, refusal
from partywall.limits.cell import CLOSED, Cell
from partywall.limits.changes import ShelfName
from partywall.limits.decision import Decision
from partywall.limits.places import SHARED_USER, Place, Places, acting_user
from partywall.limits.shelves import Shelves
from partywall.limits.timeline import Timeline
from partywall.names import parse_action, parse_tenant_id

if TYPE_CHECKING:
    from partywall.directory import Directory, DirectoryChange

__all__ = ["Limiter"]

_ONE: Final = 1


def _iterators_are_safe() -> bool:
    return sys.implementation.name == "cpython" and bool(getattr(sys, "_is_gil_enabled", lambda: True)())


class Limiter:
    """Counts what each tenant does and refuses what its plan does not grant. Never waits, so async code calls it too.

    Where the plan limits the tenant and each of its users, a call needs room in both limits and counts in both or in
    neither. ``max_users`` bounds the accounts kept for the users of one tenant and action, or of all actions together
    that its plan does not name; further users share one until others are idle.
    """

    def __init__(self, directory: Directory, clock: Clock, *, max_users: int = 100_000) -> None:
        self._timeline = Timeline(clock)
        self._monotonic = self._timeline.monotonic
        self._shelves = Shelves()
        self._cells = self._shelves.by_action
        self._users = self._shelves.by_user
        self._places = Places(directory, self._timeline, self._shelves, max_users)
        # Without the global lock, or on another interpreter, a shared iterator may give a permit out twice.
        self._accounts = Accounts(self._timeline, self._shelves, lock_free=_iterators_are_safe())
        # Reentrant: a signal handler or finalizer that checks a limit must not stop the thread that holds it.
        self._lock = threading.RLock()
        directory.subscribe(self._on_change)

    # Parameters by keyword only would cost a tenth of a check.
    def check(self, tenant_id: str, action: str, cost: int = 1, user_id: str | None = None) -> Decision:
        """Count a call if the tenant may make it, and say so; a refused call is not counted.

        ``cost`` counts as that many calls, all or nothing. ``user_id`` is needed where the plan limits each user,
        unless the tenant context names the user; elsewhere it has no effect. Of several limits the decision is that
        of the one that refuses longest, or else has the least left; its ``action`` and ``scope`` say which.

        Raises TenantNotFound, TenantPending, TenantSuspended or TenantDeleted; InvalidArgument for an action that
        the plan does not name when it has no ``default``, and for a cost that the limit can never admit.
        """
        try:
            cell = self._cells[action][tenant_id]
            if self._monotonic() < cell.end and cost is _ONE:
                for decision in cell:
                    return decision
        except (KeyError, TypeError):
            # Not seen before, counted by user, or not even a text.
            return self._check_by_user(tenant_id, action, cost, user_id)
        if cost is not _ONE:
            _require_cost(cost)
        with self._lock:
            counted = self._accounts.again(action, tenant_id, cost)
        return counted if counted is not None else self._check_by_user(tenant_id, action, cost, user_id)

    def require(self, tenant_id: str, action: str, cost: int = 1, user_id: str | None = None) -> Decision:
        """The decision of ``check`` if it is to go on; RateLimited otherwise."""
        decision = self.check(tenant_id, action, cost, user_id)
        if not decision.allowed:
            raise refusal(action, decision)
        return decision

    def allow(self, tenant_id: str, action: str, cost: int = 1, user_id: str | None = None) -> bool:
        """Whether ``check`` admitted and counted the call."""
        return self.check(tenant_id, action, cost, user_id).allowed

    def peek(self, tenant_id: str, action: str, cost: int = 1, user_id: str | None = None) -> Decision:
        """The decision that ``check`` would give now, with what would remain after it; takes nothing."""
        _require_cost(cost)
        with self._lock:
            return self._accounts.foresee(lambda: self._claims(tenant_id, {action: cost}, user_id))

    def status(self, tenant_id: str, action: str, *, user_id: str | None = None) -> Decision:
        """Whether a call would be admitted now, with the exact number that remains; takes nothing."""
        with self._lock:
            return self._accounts.status(lambda: self._places.of(*_texts(tenant_id, action), user_id))

    def refund(self, tenant_id: str, action: str, cost: int = 1, user_id: str | None = None) -> Decision:
        """Give back the permits of an admitted call that was not carried out, and return the status after it.

        Never more is given back than counts as used, so the limit is never passed; what has come back by itself since
        is not given twice. A refused call took nothing: giving it back would take from the tenant's other calls.
        Raises as ``check``.
        """
        return self.refund_all(tenant_id, {action: cost}, user_id=user_id)

    def check_all(self, tenant_id: str, costs: Mapping[str, int], *, user_id: str | None = None) -> Decision:
        """Count a call that costs permits of several actions, in all of their limits or in none.

        The decision is that of the limit that refuses longest, so after its ``retry_after`` all of them admit the
        call if no other comes first, or else of the one with the least left. Raises as ``check``; InvalidArgument too
        where actions that the plan does not name share an account in which they never fit together.
        """
        _require_costs(costs)
        with self._lock:
            return self._accounts.count(lambda: self._claims(tenant_id, costs, user_id))

    def require_all(self, tenant_id: str, costs: Mapping[str, int], *, user_id: str | None = None) -> Decision:
        """The decision of ``check_all`` if the call is to go on; RateLimited otherwise."""
        decision = self.check_all(tenant_id, costs, user_id=user_id)
        if not decision.allowed:
            raise refusal(decision.action, decision)
        return decision

    def refund_all(self, tenant_id: str, costs: Mapping[str, int], *, user_id: str | None = None) -> Decision:
        """Give back what ``check_all`` took for a call that was not carried out, as ``refund`` does."""
        _require_costs(costs)
        with self._lock:
            return self._accounts.give_back(lambda: self._claims(tenant_id, costs, user_id, bounded=False))

    def bind(self, tenant_id: str, action: str, *, user_id: str | None = None) -> BoundLimit:
        """One tenant's limit of one action as a handle: a cheaper check for whoever makes many of the same."""
        tenant_id, action = _texts(tenant_id, action)
        return BoundLimit(self, self._open_cell, self._monotonic, tenant_id=tenant_id, action=action, user_id=user_id)

    def sweep(self) -> int:
        """Forget every idle key and return how many are left. Happens bit by bit by itself as others call."""
        with self._lock:
            self._shelves.sweep_all(self._timeline.now())
            return len(self._shelves)

    def close(self) -> None:
        """Send every call to the directory again, which refuses them once it is closed itself."""
        with self._lock:
            self._shelves.close_all()

    def _check_by_user(self, tenant_id: str, action: str, cost: int, user_id: str | None) -> Decision:
        tenant_id, action = _texts(tenant_id, action)
        _require_cost(cost)
        user = acting_user(tenant_id, user_id) if tenant_id in self._users else None
        cell = self._users_cell(tenant_id, action, user)
        if cell is not None and self._monotonic() < cell.end and cost is _ONE:
            for decision in cell:
                return decision
        with self._lock:
            if cell is not None and user is not None:
                counted = self._accounts.again((action, tenant_id), user, cost)
                if counted is not None:
                    return counted
            return self._accounts.count(lambda: self._claims(tenant_id, {action: cost}, user_id))

    def _users_cell(self, tenant_id: str, action: str, user: object) -> Cell | None:
        if not isinstance(user, str) or user == SHARED_USER:
            return None
        cell = self._users.get(tenant_id, {}).get(action, {}).get(user)
        return cell if cell is not None and cell.end > CLOSED else None

    def _open_cell(self, tenant_id: str, action: str, user_id: str | None) -> Cell | None:
        cell = self._users_cell(tenant_id, action, user_id)
        return cell if cell is not None else self._cells.get(action, {}).get(tenant_id)

    def _claims(
        self, tenant_id: str, costs: Mapping[str, int], user_id: str | None, *, bounded: bool = True
    ) -> list[Claim]:
        claims: dict[tuple[ShelfName, str], Claim] = {}
        unnamed: set[str] = set()
        for action, cost in costs.items():
            for place in self._places.of(*_texts(tenant_id, action), user_id, unnamed):
                # Actions that a plan does not name may share an account.
                shared = claims.get((place.shelf, place.key))
                total = cost + (shared.cost if shared else 0)
                if bounded and total > place.rule.limit > 0:
                    raise _never_admitted(place, action, total, shared=shared is not None)
                claims[place.shelf, place.key] = Claim(place, total)
                if place.unnamed:
                    unnamed.add(action)
        return list(claims.values())

    def _on_change(self, change: DirectoryChange) -> None:
        # The directory is asked under the same lock: who asked before the change is closed here, later ones hear of it.
        with self._lock:
            if change.plans:
                self._shelves.close_all()
            else:
                self._shelves.close({*change.statuses, *change.tenants})


def _never_admitted(place: Place, action: str, cost: int, *, shared: bool) -> InvalidArgument:
    limit = place.rule.limit
    if not shared:
        return InvalidArgument(f"cost {cost} is above the limit of {limit} for '{action}': never admitted")
    return InvalidArgument(
        f"'{action}' and other actions of this call share one account, as the tenant uses many that its plan does not "
        f"name: together they cost {cost} or more, above its limit of {limit}; make several calls, or name the actions "
        "in the plan"
    )


def _texts(tenant_id: object, action: object) -> tuple[str, str]:
    return (
        tenant_id if isinstance(tenant_id, str) else parse_tenant_id(tenant_id),
        action if isinstance(action, str) else parse_action(action),
    )


def _require_cost(cost: object) -> None:
    if type(cost) is not int or cost < 1:
        raise InvalidArgument("cost must be a whole number of at least 1")


def _require_costs(costs: object) -> None:
    if not isinstance(costs, Mapping) or not costs:
        raise InvalidArgument("costs must say for at least one action how much the call costs, as {action: cost}")
    for cost in costs.values():
        _require_cost(cost)
