"""Where a call is counted: what the directory grants the tenant for an action, and the keys that this comes to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from partywall.context import current_tenant
from partywall.errors import InvalidArgument
from partywall.limits.changes import ShelfName
from partywall.limits.gcra import GcraRule
from partywall.limits.rule import Rule
from partywall.limits.shelves import Shelves
from partywall.limits.timeline import Timeline
from partywall.limits.windows import WindowRule
from partywall.model import Algorithm, Rate, RateLimit
from partywall.names import Action, TenantId, parse_action

if TYPE_CHECKING:
    from partywall.directory import Directory

__all__ = ["SHARED_USER", "Place", "Places", "acting_user"]

SHARED_USER: Final = ""
"""Whose account users share once a tenant has too many; no user's own id is empty."""
_DEFAULT: Final = Action("default")
_LONGEST_USER: Final = 200
_UNNAMED: Final = 100
"""How many actions that its plan does not name a tenant may have in windows of their own."""
_MOST_RULES: Final = 4096


class Place(NamedTuple):
    """One key under one rule."""

    shelf: ShelfName
    key: str
    rule: Rule
    unnamed: bool
    """Whether the plan does not name the action."""
    shared: tuple[tuple[ShelfName, str], ...] = ()
    """The keys of accounts that may have counted its calls while there was no room for one of its own."""
    alone: bool = True
    """Whether a call of the action is counted here only."""


class Places:
    """From tenant, action and user to the keys in which a call is counted. Called under the limiter's lock."""

    def __init__(self, directory: Directory, timeline: Timeline, shelves: Shelves, max_users: int) -> None:
        self._directory = directory
        self._timeline = timeline
        self._shelves = shelves
        self._max_users = max_users
        self._rules: dict[tuple[str, str, int, int, int, str], Rule] = {}

    def of(self, tenant_id: str, action: str, user_id: str | None, beside: Collection[str] = ()) -> list[Place]:
        """The tenant's key, the user's, or both; ``beside`` are the unnamed actions that the same call counts."""
        tenant = self._directory.require_active(tenant_id)
        limits = self._directory.grants(tenant).rate_limits
        known = Action(action) if action in limits else parse_action(action)
        if known in limits:
            return self._at(tenant, known, known, limits[known], user_id)
        limit = limits.get(_DEFAULT)
        if limit is None:
            raise InvalidArgument(f"the plan has no rate limit for '{known}' and no default; it names {_named(limits)}")
        held = self._shelves.unnamed(tenant)
        own = known in held or len({*held, *beside, known}) <= _UNNAMED
        return self._at(tenant, known if own else _DEFAULT, _DEFAULT, limit, user_id)

    def _at(self, tenant: TenantId, action: Action, name: Action, limit: RateLimit, user_id: str | None) -> list[Place]:
        """The keys of an action under the limit of that name in the plan."""
        rule, unnamed = self._rule(name, limit.per, limit), action != name
        if limit.per == "user":
            return [self._users(tenant, action, rule, user_id, alone=True)]
        alone = limit.per_user is None
        tenants = Place(action, tenant, rule, unnamed, ((name, tenant),) if unnamed else (), alone)
        if limit.per_user is None:
            return [tenants]
        return [
            tenants,
            self._users(tenant, action, self._rule(name, "user", limit.per_user), user_id, alone=False),
        ]

    def _users(self, tenant: TenantId, action: Action, rule: Rule, user_id: str | None, *, alone: bool) -> Place:
        """The key of the user, or the one that users share."""
        user, shelf = _legal_user(acting_user(tenant, user_id)), (action, tenant)
        beside: list[ShelfName] = [shelf]
        shared: list[tuple[ShelfName, str]] = [(shelf, SHARED_USER)]
        if rule.action == _DEFAULT:
            # Actions that the plan does not name: their users count together, and may have shared more.
            default = (_DEFAULT, tenant)
            beside = list({shelf, default, *((one, tenant) for one in self._shelves.unnamed(tenant))})
            shared += [(default, SHARED_USER), (default, user)]
        if not self._shelves.has_room(shelf, user, self._max_users, beside):
            user = SHARED_USER
        return Place(shelf, user, rule, action != rule.action, tuple(shared), alone)

    def _rule(self, action: str, scope: str, rate: Rate) -> Rule:
        key = (action, scope, rate.max_requests, rate.window_ms, rate.at_once, rate.algorithm)
        rule = self._rules.get(key)
        if rule is None:
            if len(self._rules) >= _MOST_RULES:
                self._rules.clear()
            made = GcraRule if rate.algorithm is Algorithm.GCRA else WindowRule
            rule = self._rules.setdefault(key, made(rate, self._timeline, action, scope))
        return rule


def acting_user(tenant_id: str, user_id: str | None) -> str | None:
    """The user that is named, or else that of the tenant context, if it is the tenant's."""
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
