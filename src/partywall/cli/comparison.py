"""What differs between two pictures of the files, in what it comes to: for each tenant, and for each plan at once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from partywall.catalog import Snapshot
from partywall.cli.documents import limit_text, plan_grants, rate_text
from partywall.model import Grants, Plan, Status, TenantSpec
from partywall.names import PlanName, TenantId

__all__ = ["Change", "Comparison", "Group", "PlanDifference", "StatusOf", "changes_between", "compare"]

Kind = Literal["added", "removed", "changed"]
StatusOf = Callable[[TenantSpec], Status]
"""The status in force of what a file declares."""
_LISTED: Final = 3
_WHOLE: Final = "rate_limits."
"""What stands below is one value."""
_MOVED: Final = ("isolation", "region")


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs; None stands for one that is not there, and in a quota for no limit."""

    path: str
    before: Any
    after: Any

    @property
    def key(self) -> str:
        """Equal for equal changes."""
        return json.dumps([self.path, self.before, self.after], sort_keys=True)

    def __str__(self) -> str:
        if isinstance(self.before, list) and isinstance(self.after, list):
            gone = [f"-{each}" for each in self.before if each not in self.after]
            new = [f"+{each}" for each in self.after if each not in self.before]
            if gone or new:
                return f"{self.path}: {' '.join([*gone, *new])}"
        stays = " (data that is there stays until it is moved)" if self.path in _MOVED else ""
        return f"{self.path}: {_shown(self.path, self.before)} -> {_shown(self.path, self.after)}{stays}"


@dataclass(frozen=True, slots=True)
class PlanDifference:
    """A plan that differs, and for each of its changes how many tenants it reaches."""

    plan: PlanName
    kind: Kind
    changes: tuple[tuple[Change, int], ...] = ()


@dataclass(slots=True)
class Group:
    """Tenants on one plan for whom the same changes, beyond what changes with their plan."""

    kind: Kind
    plan: PlanName
    changes: tuple[Change, ...]
    tenants: list[tuple[TenantId, str]] = field(default_factory=list)
    """Each tenant's id and slug."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that differs."""

    plans: tuple[PlanDifference, ...]
    groups: tuple[Group, ...]

    def __bool__(self) -> bool:
        return bool(self.plans or self.groups)

    def lines(self) -> Iterator[str]:
        """One line for each difference."""
        for plan in self.plans:
            if plan.kind != "changed":
                yield f"plan {plan.plan}: {'new' if plan.kind == 'added' else 'gone'}"
            for change, tenants in plan.changes:
                yield f"plan {plan.plan}: {change}{_reach(tenants)}"
        for group in self.groups:
            yield from _group_lines(group)

    def document(self) -> dict[str, Any]:
        """The same as plain JSON."""
        return {
            "plans": [
                {
                    "plan": plan.plan,
                    "kind": plan.kind,
                    "changes": [{**asdict(change), "tenants": tenants} for change, tenants in plan.changes],
                }
                for plan in self.plans
            ],
            "tenants": [
                {
                    "kind": group.kind,
                    "plan": group.plan,
                    "changes": [asdict(change) for change in group.changes],
                    "tenants": [{"id": tenant_id, "slug": slug} for tenant_id, slug in group.tenants],
                }
                for group in self.groups
            ],
        }


def compare(
    before: Snapshot,
    after: Snapshot,
    status_of: StatusOf = lambda spec: spec.status,
    was: StatusOf | None = None,
    *,
    without: Collection[TenantId] = (),
) -> Comparison:
    """What differs, with the status that a tenant would have in force; ``was`` tells the one that it had before.

    Tenants of whom not both sides can be told are left out by ``without``.
    """
    statuses = (was or status_of, status_of)
    differing = {
        name: _plan_changes(before.plans[name], after.plans[name], name)
        for name in after.plans
        if name in before.plans and before.plans[name] != after.plans[name]
    }
    reach: Counter[tuple[PlanName, str]] = Counter()
    groups: dict[tuple[str, ...], Group] = {}
    for tenant_id in sorted({*before.ids(), *after.ids()}.difference(without)):
        group = _tenant(tenant_id, before, after, differing, statuses)
        if group is None:
            continue
        for change in group.changes:
            reach[group.plan, change.key] += 1
        known = {change.key for change in differing.get(group.plan, ())}
        group.changes = tuple(change for change in group.changes if change.key not in known)
        if group.changes or group.kind != "changed":
            key = (group.kind, group.plan, *(change.key for change in group.changes))
            if key in groups:
                groups[key].tenants += group.tenants
            else:
                groups[key] = group
    return Comparison(tuple(_plans(before, after, differing, reach)), tuple(_ordered(groups.values())))


def changes_between(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """The values that differ between two documents, by dotted path."""
    old, new = _flat(before), _flat(after)
    paths = [*old, *(path for path in new if path not in old)]
    return [Change(path, old.get(path), new.get(path)) for path in paths if old.get(path) != new.get(path)]


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping) and prefix != _WHOLE:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _plans(
    before: Snapshot,
    after: Snapshot,
    differing: Mapping[PlanName, list[Change]],
    reach: Mapping[tuple[PlanName, str], int],
) -> Iterator[PlanDifference]:
    for name in before.plans:
        if name not in after.plans:
            yield PlanDifference(name, "removed")
    for name in after.plans:
        if name not in before.plans:
            yield PlanDifference(name, "added")
        elif name in differing:
            counted = ((change, reach[name, change.key]) for change in differing[name])
            yield PlanDifference(name, "changed", tuple(counted))


def _plan_changes(before: Plan, after: Plan, name: PlanName) -> list[Change]:
    """What a tenant is granted that overrides nothing, and then what only people see of the plan."""
    told = [{"name": plan.name, "price": plan.price} for plan in (before, after)]
    granted = changes_between(_granted(plan_grants(name, before)), _granted(plan_grants(name, after)))
    return [*granted, *changes_between(*told)]


def _tenant(
    tenant_id: TenantId,
    before: Snapshot,
    after: Snapshot,
    differing: Mapping[PlanName, list[Change]],
    statuses: tuple[StatusOf, StatusOf],
) -> Group | None:
    old, new = before.tenant(tenant_id), after.tenant(tenant_id)
    spec = new or old
    if spec is None or (old == new and spec.type not in differing):
        return None
    who = [(tenant_id, str(spec.slug))]
    if old is None or new is None:
        return Group("added" if old is None else "removed", spec.type, (), who)
    changes = [*_declared_changes(old, new, statuses), *_granted_changes(tenant_id, before, after)]
    return Group("changed", new.type, tuple(changes), who) if changes else None


def _declared_changes(old: TenantSpec, new: TenantSpec, statuses: tuple[StatusOf, StatusOf]) -> list[Change]:
    was, status_of = statuses
    return [] if old == new else changes_between(_declared(old, was), _declared(new, status_of))


def _granted_changes(tenant_id: TenantId, before: Snapshot, after: Snapshot) -> list[Change]:
    old, new = before.grants(tenant_id), after.grants(tenant_id)
    if old is None or new is None or old == new:
        return []
    return changes_between(_granted(old), _granted(new))


def _declared(spec: TenantSpec, status_of: StatusOf) -> dict[str, Any]:
    """What a tenant's file says beside what it grants."""
    settings = spec.settings.model_dump(mode="json", by_alias=True, exclude={"data_residency"})
    return {
        "status": str(status_of(spec)),
        "plan": spec.type,
        "name": spec.name,
        "slug": spec.slug,
        "region": spec.settings.data_residency,
        "domains": list(spec.domains),
        "owner": spec.owner.model_dump(mode="json", by_alias=True),
        "settings": settings,
        "billing": spec.billing.model_dump(mode="json", by_alias=True) if spec.billing else {},
    }


def _granted(grants: Grants) -> dict[str, Any]:
    return {
        "isolation": str(grants.isolation),
        "quotas": asdict(grants.quotas),
        "soft_quotas": sorted(grants.soft),
        "features": sorted(grants.features),
        "rate_limits": {action: limit.model_dump(mode="json") for action, limit in sorted(grants.rate_limits.items())},
        "retention_days": grants.retention_days,
        "reservations": grants.reservations.model_dump(mode="json"),
    }


def _ordered(groups: Iterable[Group]) -> list[Group]:
    order = {"changed": 0, "added": 1, "removed": 2}
    return sorted(groups, key=lambda group: (order[group.kind], group.plan, group.tenants[0][1]))


def _group_lines(group: Group) -> Iterator[str]:
    who = _who([slug for _, slug in group.tenants])
    if group.kind == "changed":
        for change in group.changes:
            yield f"{who} on {group.plan}: {change}"
    else:
        yield f"{who} on {group.plan}: {'new' if group.kind == 'added' else 'gone'}"


def _who(slugs: list[str]) -> str:
    if len(slugs) == 1:
        return f"tenant {slugs[0]}"
    more = f" and {len(slugs) - _LISTED:,} more" if len(slugs) > _LISTED else ""
    return f"{len(slugs):,} tenants ({', '.join(slugs[:_LISTED])}{more})"


def _reach(tenants: int) -> str:
    return f" ({tenants:,} tenant{'' if tenants == 1 else 's'})" if tenants else ""


def _shown(path: str, value: Any) -> str:
    room, _, metric = path.partition(".")
    if room == "quotas" and isinstance(value, int | None):
        return limit_text(metric, value)
    if value is None:
        return "none"
    if f"{room}." == _WHOLE:
        return rate_text(value)
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
