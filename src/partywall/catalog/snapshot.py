"""One immutable picture of all plans and tenants, cheap to replace by the next one."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Final, Generic, Literal, TypeVar

from partywall.catalog.entry import Entry
from partywall.model import Grants, Plan, TenantSpec, grants_of
from partywall.names import PlanName, TenantId

__all__ = ["CatalogChange", "Plans", "Shards", "Snapshot"]

V = TypeVar("V")
_SHARDS: Final = 256


class Shards(Generic[V]):
    """An immutable map of texts; a changed copy shares all but the parts that the change touches."""

    __slots__ = ("_parts", "_size")

    def __init__(self, parts: tuple[dict[str, V], ...] = ({},) * _SHARDS, size: int = 0) -> None:
        self._parts = parts
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[str]:
        for part in self._parts:
            yield from part

    def get(self, key: str) -> V | None:
        """The value, or None."""
        return self._parts[hash(key) % _SHARDS].get(key)

    def changed(self, changes: Mapping[str, V | None]) -> Shards[V]:
        """A copy with these values; None removes the key."""
        parts = list(self._parts)
        own: set[int] = set()
        size = self._size
        for key, value in changes.items():
            index = hash(key) % _SHARDS
            if index not in own:
                own.add(index)
                parts[index] = parts[index].copy()
            size -= key in parts[index]
            if value is None:
                parts[index].pop(key, None)
            else:
                parts[index][key] = value
                size += 1
        return Shards(tuple(parts), size)


class Plans:
    """One version of the plans, with what it grants to those tenants that were asked for so far."""

    __slots__ = ("_granted", "_shared", "plans")

    def __init__(self, plans: Mapping[PlanName, Plan]) -> None:
        self.plans: Mapping[PlanName, Plan] = MappingProxyType(dict(plans))
        self._granted: dict[TenantId, tuple[Entry, Grants]] = {}
        self._shared: dict[Hashable, Grants] = {}

    def grants(self, entry: Entry) -> Grants:
        """What the tenant is granted; resolved once for each of its versions, and shared by those with the same."""
        if entry.plain:
            return self._shared.get(entry.plan) or self._share(entry.plan, entry)
        known = self._granted.get(entry.id)
        if known is not None and known[0] is entry:
            return known[1]
        grants = self._share(_overrides(entry.spec), entry)
        self._granted[entry.id] = (entry, grants)
        return grants

    def _share(self, key: Hashable, entry: Entry) -> Grants:
        grants = self._shared.get(key)
        if grants is None:
            grants = self._shared[key] = grants_of(entry.spec, self.plans)
        return grants

    def forget(self, tenant_ids: Iterable[TenantId]) -> None:
        """Give back what is kept for tenants that changed."""
        for tenant_id in tenant_ids:
            self._granted.pop(tenant_id, None)


def _overrides(spec: TenantSpec) -> Hashable:
    return (spec.type, spec.quotas, spec.isolation, frozenset(spec.rate_limits.items()), spec.settings.allowed_models)


class Snapshot:
    """All plans and tenants as they are in force together. A request takes one and stays with it."""

    def __init__(
        self,
        generation: int,
        digest: str,
        plans: Plans,
        tenants: Shards[Entry],
        slugs: Shards[Entry],
        domains: Shards[Entry],
    ) -> None:
        self.generation: Final = generation
        """Grows by one with each snapshot of a catalog."""
        self.digest: Final = digest
        """The same for the same plans and tenants, in every process and whatever their files are called."""
        self._plans = plans
        self._tenants = tenants
        self._slugs = slugs
        self._domains = domains

    def __len__(self) -> int:
        return len(self._tenants)

    def __repr__(self) -> str:
        return f"Snapshot(generation={self.generation}, digest='{self.digest}', tenants={len(self)})"

    @property
    def plans(self) -> Mapping[PlanName, Plan]:
        """The plans by name; read-only."""
        return self._plans.plans

    def tenant(self, tenant_id: str) -> TenantSpec | None:
        """What the tenant's file declares."""
        entry = self._tenants.get(tenant_id)
        return None if entry is None else entry.spec

    def entry(self, tenant_id: str) -> Entry | None:
        """What is asked for all the time of the tenant, without unpacking the rest."""
        return self._tenants.get(tenant_id)

    def entry_by_slug(self, slug: str) -> Entry | None:
        """The tenant with this slug."""
        return self._slugs.get(slug)

    def entry_by_domain(self, host: str) -> Entry | None:
        """The tenant that lists this host, in lower case, among its domains."""
        return self._domains.get(host)

    def holder(self, kind: str, name: str) -> str | None:
        """The key of the file that has an ``id``, ``slug`` or ``domain``."""
        entry = {"id": self._tenants, "slug": self._slugs, "domain": self._domains}[kind].get(name)
        return None if entry is None else entry.key

    def by_slug(self, slug: str) -> TenantSpec | None:
        """The tenant with this slug."""
        entry = self._slugs.get(slug)
        return None if entry is None else entry.spec

    def by_domain(self, host: str) -> TenantSpec | None:
        """The tenant that lists this host, in lower case, among its domains."""
        entry = self._domains.get(host)
        return None if entry is None else entry.spec

    def ids(self) -> tuple[TenantId, ...]:
        """Every tenant's id, sorted."""
        return self._ids

    @cached_property
    def _ids(self) -> tuple[TenantId, ...]:
        return tuple(TenantId(tenant_id) for tenant_id in sorted(self._tenants))

    def grants(self, tenant_id: str) -> Grants | None:
        """What the tenant is granted: its plan, overridden by its own file."""
        entry = self._tenants.get(tenant_id)
        return None if entry is None else self._plans.grants(entry)

    def file_of(self, tenant_id: str) -> str | None:
        """The name of the tenant's file in ``tenants/``."""
        entry = self._tenants.get(tenant_id)
        return None if entry is None else entry.file

    def version_of(self, tenant_id: str) -> str | None:
        """The version of what the tenant's file says: the same for files that say the same."""
        entry = self._tenants.get(tenant_id)
        return None if entry is None else entry.version

    def succeeded_by(  # called from one place
        self, generation: int, digest: str, plans: Plans, before: Iterable[Entry], after: Iterable[Entry]
    ) -> Snapshot:
        """The next snapshot: without the entries ``before``, with the entries ``after``."""
        tenants: dict[str, Entry | None] = {}
        slugs: dict[str, Entry | None] = {}
        domains: dict[str, Entry | None] = {}
        for entry in before:
            tenants[entry.id] = slugs[entry.slug] = None
            domains.update(dict.fromkeys(entry.domains))
        for entry in after:
            tenants[entry.id] = slugs[entry.slug] = entry
            domains.update(dict.fromkeys(entry.domains, entry))
        return Snapshot(
            generation,
            digest,
            plans,
            self._tenants.changed(tenants),
            self._slugs.changed(slugs),
            self._domains.changed(domains),
        )


@dataclass(frozen=True, slots=True)
class CatalogChange:
    """One publication: the snapshot in force from now on, the one before, and what differs."""

    snapshot: Snapshot
    previous: Snapshot
    tenants: frozenset[TenantId]
    """Added, removed, or changed."""
    plans: frozenset[PlanName]
    """Added, removed, or changed."""
    source: Literal["file", "engine"]
    """Who edited: somebody in the files, or a call of the engine."""
