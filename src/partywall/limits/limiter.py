"""The limiter: a check on the path of every request, and the slow path on which windows are counted.

An admitted call looks up one cell, reads the monotonic clock and takes the next ready-made decision: no lock,
no new object, no key built. Everything else happens under one lock, where the directory is asked each time:
keys seen for the first time, ended windows, costs above one, and tenants or plans that changed.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from partywall.clock import Clock
from partywall.context import current_tenant
from partywall.errors import InvalidArgument
from partywall.limits.bound import BoundLimit, refusal
from partywall.limits.cell import Tables, closed, granting, refusing
from partywall.limits.decision import Decision, Measured
from partywall.limits.rule import Rule, Spent
from partywall.limits.shelves import ShelfName, Shelves
from partywall.limits.timeline import Timeline
from partywall.model import RateLimit
from partywall.names import Action, parse_action, parse_tenant_id

if TYPE_CHECKING:
    from partywall.directory import Directory, DirectoryChange

__all__ = ["Limiter"]

_ONE: Final = 1
_DEFAULT: Final = Action("default")
_SHARED_USER: Final = ""
"""Whose window users share once a tenant has too many; no user's own id is empty."""
_LONGEST_USER: Final = 200
_MOST_RULES: Final = 4096


class _Place(NamedTuple):
    shelf: ShelfName
    key: str
    rule: Rule
    unnamed: bool


def _iterators_are_safe() -> bool:
    return sys.implementation.name == "cpython" and bool(getattr(sys, "_is_gil_enabled", lambda: True)())


class Limiter:
    """Counts what each tenant does and refuses what its plan does not grant. Never waits, so async code calls it too.

    ``max_users`` bounds the windows kept for the users of one tenant and action under a rule ``per: user``;
    further users share one window until others are idle.
    """

    def __init__(self, directory: Directory, clock: Clock, *, max_users: int = 100_000) -> None:
        self._directory = directory
        self._timeline = Timeline(clock)
        self._monotonic = self._timeline.monotonic
        self._shelves = Shelves()
        self._cells = self._shelves.by_action
        self._tables = Tables()
        self._rules: dict[tuple[int, int, str], Rule] = {}
        self._max_users = max_users
        # Without the global lock, or on another interpreter, a shared iterator may give a permit out twice.
        self._lock_free = _iterators_are_safe()
        # Reentrant: a signal handler or finalizer that checks a limit must not stop the thread that holds it.
        self._lock = threading.RLock()
        directory.subscribe(self._on_change)

    # Parameters by keyword only would cost a tenth of a check.
    def check(self, tenant_id: str, action: str, cost: int = 1, user_id: str | None = None) -> Decision:
        """Count a call if the tenant may make it, and say so; a refused call is not counted.

        ``cost`` counts as that many calls, all or nothing. ``user_id`` is needed where the plan limits each user,
        unless the tenant context names the user; elsewhere it has no effect.

        Raises TenantNotFound, TenantPending, TenantSuspended or TenantDeleted; InvalidArgument for an action that
        the plan does not name when it has no ``default``, and for a cost that the limit can never admit.
        """
        try:
            cell = self._cells[action][tenant_id]
            if self._monotonic() < cell.end and cost is _ONE:
                for decision in cell:
                    return decision
        except (KeyError, TypeError):
            pass  # not seen before, counted by user, or not even a text: told apart on the slow path
        return self._check_by_user(tenant_id, action, cost, user_id)

    def require(self, tenant_id: str, action: str, cost: int = 1, user_id: str | None = None) -> Decision:
        """The decision of ``check`` if it is to go on; RateLimited otherwise."""
        decision = self.check(tenant_id, action, cost, user_id)
        if not decision.allowed:
            raise refusal(action, decision)
        return decision

    def status(self, tenant_id: str, action: str, *, user_id: str | None = None) -> Decision:
        """What ``check`` would say now, with the exact number that remains; takes nothing."""
        tenant_id, action = _texts(tenant_id, action)
        with self._lock:
            place = self._place(tenant_id, action, user_id)
            cell = self._shelves.get(place.shelf, place.key)
            now = self._timeline.now()
            rule = place.rule
            spent = rule.carried(cell.spent(), cell.rule, now) if cell is not None else rule.nothing(now)
            return Measured(rule, spent, now, cost=1)

    def bind(self, tenant_id: str, action: str, *, user_id: str | None = None) -> BoundLimit:
        """One tenant's limit of one action as a handle: a cheaper check for whoever makes many of the same."""
        tenant_id, action = _texts(tenant_id, action)
        return BoundLimit(self, self._cells, self._monotonic, tenant_id=tenant_id, action=action, user_id=user_id)

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
        user = _user(tenant_id, user_id)
        if cost is _ONE and isinstance(user, str) and user != _SHARED_USER:
            cell = self._shelves.by_user.get(tenant_id, {}).get(action, {}).get(user)
            if cell is not None and self._monotonic() < cell.end:
                for decision in cell:
                    return decision
        return self._count(tenant_id, action, cost, user_id)

    def _count(self, tenant_id: str, action: str, cost: int, user_id: str | None) -> Decision:
        if type(cost) is not int or cost < 1:
            raise InvalidArgument("cost must be a whole number of at least 1")
        with self._lock:
            place = self._place(tenant_id, action, user_id)
            rule = place.rule
            if cost > rule.limit > 0:
                raise InvalidArgument(f"cost {cost} is above the limit of {rule.limit} for '{action}': never admitted")
            cell = self._shelves.get(place.shelf, place.key)
            now = self._timeline.now()
            if cell is None or cell.number != now // cell.rule.window:
                self._shelves.sweep(now)
                cell = self._shelves.get(place.shelf, place.key)
            spent = rule.carried(cell.drain(), cell.rule, now) if cell is not None else rule.nothing(now)
            return self._settle(place, spent, now, cost, again=cell is not None and not cell.grants)

    def _settle(self, place: _Place, spent: Spent, now: int, cost: int, *, again: bool) -> Decision:
        rule = place.rule
        left = rule.left(spent, now)
        decision: Decision
        if cost <= left:
            left -= cost
            spent = Spent(spent.number, spent.previous, spent.used + cost)
            decision = Decision(rule, left)
        else:
            decision = Measured(rule, spent, now, cost)
        if not self._lock_free or not rule.limit:
            cell = closed(rule, spent)
        elif left or decision.allowed:
            cell = granting(rule, spent, left, self._tables)
        else:
            cell = refusing(Measured(rule, spent, now, cost=1), rule, spent, again=again)
        self._shelves.put(place.shelf, place.key, cell, unnamed=place.unnamed)
        return decision

    def _place(self, tenant_id: str, action: str, user_id: str | None) -> _Place:
        tenant = self._directory.require_active(tenant_id)
        limits = self._directory.grants(tenant).rate_limits
        known = Action(action) if action in limits else parse_action(action)
        unnamed = known not in limits
        limit = limits.get(_DEFAULT) if unnamed else limits[known]
        if limit is None:
            raise InvalidArgument(f"the plan has no rate limit for '{known}' and no default; it names {_named(limits)}")
        if unnamed and not self._shelves.has_room_for_unnamed(tenant, known):
            known, unnamed = _DEFAULT, False
        rule = self._rule(limit)
        if limit.per == "tenant":
            return _Place(known, tenant, rule, unnamed)
        user = _legal_user(_user(tenant, user_id))
        shelf = (known, tenant)
        if not self._shelves.has_room(shelf, user, self._max_users):
            user = _SHARED_USER
        return _Place(shelf, user, rule, unnamed)

    def _rule(self, limit: RateLimit) -> Rule:
        key = (limit.max_requests, limit.window_ms, limit.algorithm)
        rule = self._rules.get(key)
        if rule is None:
            if len(self._rules) >= _MOST_RULES:
                self._rules.clear()
            rule = self._rules[key] = Rule(limit, self._timeline)
        return rule

    def _on_change(self, change: DirectoryChange) -> None:
        # The directory is asked under the same lock: who asked before the change is closed here, later ones hear of it.
        with self._lock:
            if change.plans:
                self._shelves.close_all()
            else:
                self._shelves.close({*change.statuses, *change.tenants})


def _texts(tenant_id: object, action: object) -> tuple[str, str]:
    return (
        tenant_id if isinstance(tenant_id, str) else parse_tenant_id(tenant_id),
        action if isinstance(action, str) else parse_action(action),
    )


def _user(tenant_id: str, user_id: str | None) -> str | None:
    if user_id is not None:
        return user_id
    context = current_tenant()
    return context.user_id if context is not None and context.tenant_id == tenant_id else None


def _legal_user(user_id: object) -> str:
    if not isinstance(user_id, str) or not 0 < len(user_id) <= _LONGEST_USER:
        raise InvalidArgument(
            "the plan limits each user: pass user_id, 1 to 200 characters, or enter a tenant context that names one"
        )
    return user_id


def _named(limits: Mapping[Action, RateLimit]) -> str:
    return ", ".join(sorted(limits)) or "none"
