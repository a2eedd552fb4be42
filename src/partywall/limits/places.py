"""Where a call is counted: what the directory grants the tenant for an action, and the keys that this comes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from partywall.context import current_tenant
from partywall.errors import InvalidArgument
from partywall.limits.gcra import GcraRule
from partywall.limits.rule import Rule
from partywall.limits.shelves import ShelfName, Shelves
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
_MOST_RULES: Final = 4096


class Place(NamedTuple):
    """One key under one rule."""

    shelf: ShelfName
    key: str
    rule: Rule
    unnamed: bool
    """Whether the plan does not name the action."""
    closings: int
    """How often cells had been closed when the directory was asked."""
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

    def of(self, tenant_id: str, action: str, user_id: str | None) -> list[Place]:
        """The tenant's key, the user's, or both."""
        closings = self._shelves.closings
        tenant = self._directory.require_active(tenant_id)
        limits = self._directory.grants(tenant).rate_limits
        known = Action(action) if action in limits else parse_action(action)
        unnamed = known not in limits
        limit = limits.get(_DEFAULT) if unnamed else limits[known]
        if limit is None:
            raise InvalidArgument(f"the plan has no rate limit for '{known}' and no default; it names {_named(limits)}")
        name = _DEFAULT if unnamed else known
        if unnamed and not self._shelves.has_room_for_unnamed(tenant, known):
            known, unnamed = _DEFAULT, False
        if limit.per == "user":
            user = self._user(tenant, known, user_id)
            return [Place((known, tenant), user, self._rule(name, "user", limit), unnamed, closings)]
        tenants = Place(known, tenant, self._rule(name, "tenant", limit), unnamed, closings)
        if limit.per_user is None:
            return [tenants]
        user, rule = self._user(tenant, known, user_id), self._rule(name, "user", limit.per_user)
        users = Place((known, tenant), user, rule, unnamed, closings)
        return [tenants._replace(alone=False), users._replace(alone=False)]

    def _user(self, tenant: TenantId, action: Action, user_id: str | None) -> str:
        user = _legal_user(acting_user(tenant, user_id))
        return user if self._shelves.has_room((action, tenant), user, self._max_users) else SHARED_USER

    def _rule(self, action: str, scope: str, rate: Rate) -> Rule:
        key = (action, scope, rate.max_requests, rate.window_ms, rate.at_once, rate.algorithm)
        rule = self._rules.get(key)
        if rule is None:
            if len(self._rules) >= _MOST_RULES:
                self._rules.clear()
            made = GcraRule if rate.algorithm is Algorithm.GCRA else WindowRule
            rule = self._rules[key] = made(rate, self._timeline, action, scope)
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
