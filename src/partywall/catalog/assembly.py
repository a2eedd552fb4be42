"""What is in force, and which of the candidates may join it: the checks across files.

``decide`` changes nothing: it says which valid contents can be in force together. A candidate that
collides is refused and its file's last good version stays; it is tried again whenever something changes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, Literal, TypeAlias

from partywall.catalog.disk.reader import PLANS
from partywall.catalog.entry import Entry
from partywall.catalog.memory.versions import mark_of
from partywall.catalog.snapshot import CatalogChange, Plans, Shards, Snapshot
from partywall.catalog.sources import Candidate
from partywall.catalog.text.document import MOST_PROBLEMS, Path, shortened
from partywall.errors import Problem
from partywall.model import Plan, PlansFile
from partywall.names import PlanName, TenantId, meant

__all__ = ["Assembly", "Decision", "TenantCandidate", "taken_by", "unknown_plan"]

TenantCandidate: TypeAlias = Candidate[Entry]
PlaceOf: TypeAlias = Callable[[str, Path, str], Problem]
"""Makes the problem with a message at a path of a file, given by its key."""
_MODULUS: Final = 1 << 256
_PLACES: Final[dict[str, Path]] = {"id": ("id",), "slug": ("slug",), "domain": ("domains",)}


@dataclass(slots=True)
class Decision:
    """Which contents will be in force, and why others will not."""

    tenants: dict[str, TenantCandidate | None] = field(default_factory=dict)
    """By key, only what differs from what is in force; None takes the tenant out."""
    plans: Candidate[PlansFile] | None = None
    blocked: dict[str, TenantCandidate] = field(default_factory=dict)
    blocked_plans: Candidate[PlansFile] | None = None
    problems: dict[str, list[Problem]] = field(default_factory=dict)
    conflicts: set[str] = field(default_factory=set)
    """Those of the blocked that want an id, slug or domain of another."""


def _mark_of_plans(plans: PlansFile) -> int:
    text = json.dumps(plans.model_dump(mode="json"), sort_keys=True)
    return int.from_bytes(blake2b(text.encode(), digest_size=32).digest(), "big")


def taken_by(kind: str, name: str, place: str) -> str:
    """What is wrong with a tenant that wants an id, slug or domain of the one whose file says so at the place."""
    return f"the {kind} '{name}' is taken by {place}"


def unknown_plan(name: str, plans: Iterable[str]) -> str:
    """What is wrong with a tenant whose plan is not there."""
    return f"the plan '{name}' is not in {PLANS}{meant(name, plans)}"


def _claims(entry: Entry) -> Iterator[tuple[str, str, Path]]:
    yield "id", entry.id, ("id",)
    yield "slug", entry.slug, ("slug",)
    for index, domain in enumerate(entry.domains):
        yield "domain", domain, ("domains", index)


def _names(candidate: TenantCandidate | None) -> frozenset[tuple[str, str]]:
    return frozenset() if candidate is None else frozenset((kind, name) for kind, name, _ in _claims(candidate.model))


class Assembly:
    """The state behind the snapshot. Used under the catalog's lock."""

    def __init__(self, plans: Candidate[PlansFile], place_of: PlaceOf) -> None:
        self._place_of = place_of
        self._plans_mark = _mark_of_plans(plans.model)
        self._sum = self._plans_mark
        self._plans = Plans(plans.model.plans)
        self._in_force: dict[str, Entry] = {}
        self._uses: Counter[PlanName] = Counter()
        self._blocked: dict[str, TenantCandidate] = {}
        self._blocked_plans: Candidate[PlansFile] | None = None
        self.retired: frozenset[TenantId] = frozenset()
        """Ids of purged tenants, which no file can bring back."""
        empty = Shards[Entry]()
        self.snapshot = Snapshot(1, f"{self._sum:064x}", self._plans, empty, empty, empty)

    @property
    def keys(self) -> Collection[str]:
        """The keys of the files whose tenants are in force."""
        return self._in_force.keys()

    @property
    def waiting(self) -> bool:
        """Whether a valid content was refused, and may be accepted once others change."""
        return bool(self._blocked) or self._blocked_plans is not None

    def entry(self, key: str) -> Entry | None:
        """What is in force of a tenant's file."""
        return self._in_force.get(key)

    def decide(
        self,
        incoming: Mapping[str, TenantCandidate | None],
        plans: Candidate[PlansFile] | None = None,
        *,
        stale: Collection[str] = (),
        missing: Collection[str] = (),
    ) -> Decision:
        """Which of the incoming and waiting contents can be in force together.

        ``stale`` are files whose waiting content was replaced by an invalid one, ``missing`` files that are gone
        and still in force: whoever declares the id of one of them takes its place.
        """
        candidates: dict[str, TenantCandidate | None] = {
            key: waiting for key, waiting in self._blocked.items() if key not in stale
        }
        candidates.update(incoming)
        plans = plans or (None if PLANS in stale else self._blocked_plans)
        if plans is None:
            return self._attempt(candidates, self._plans.plans, missing)
        decision = self._attempt(candidates, plans.model.plans, missing)
        in_use = self._used_after(decision) - plans.model.plans.keys()
        if not in_use:
            decision.plans = plans
            return decision
        decision = self._attempt(candidates, self._plans.plans, missing)
        decision.blocked_plans = plans
        told = [self._in_use(name) for name in sorted(in_use)[:MOST_PROBLEMS]]
        decision.problems[PLANS] = shortened(told, len(in_use) - len(told))
        return decision

    def _used_after(self, decision: Decision) -> set[PlanName]:
        uses = self._uses.copy()
        for key, candidate in decision.tenants.items():
            before = self.entry(key)
            if before is not None:
                uses[before.plan] -= 1
            if candidate is not None:
                uses[candidate.model.plan] += 1
        return {name for name, count in uses.items() if count > 0}

    def _in_use(self, name: PlanName) -> Problem:
        keys = sorted(key for key, found in self._in_force.items() if found.plan == name)
        more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
        user = f"{self._at(keys[0], ('type',))}{more}" if keys else "a tenant of the same edit"
        message = f"the plan '{name}' is gone and in use by {user}; the plans of before stay in force"
        return self._place_of(PLANS, ("plans",), message)

    def _at(self, key: str, path: Path) -> str:
        place = self._place_of(key, path, "")
        return f"{place.file}:{place.line}:{place.column}"

    def _attempt(
        self,
        candidates: Mapping[str, TenantCandidate | None],
        plans: Mapping[PlanName, Plan],
        missing: Collection[str],
    ) -> Decision:
        decision = Decision(dict(sorted(candidates.items())))
        for key, candidate in list(decision.tenants.items()):
            problem = None if candidate is None else self._alone(key, candidate.model, plans)
            if candidate is not None and problem is not None:
                self._refuse(decision, key, candidate, [problem])
        leaving = self._replaced(decision, missing)
        while losers := self._losers(decision, leaving):
            for key, problems in losers.items():
                candidate = decision.tenants[key]
                if candidate is not None:
                    self._refuse(decision, key, candidate, problems)
                    decision.conflicts.add(key)
            leaving = {old: new for old, new in leaving.items() if new in decision.tenants}
        decision.tenants.update(dict.fromkeys(leaving))
        return decision

    def _refuse(self, decision: Decision, key: str, candidate: TenantCandidate, problems: list[Problem]) -> None:
        del decision.tenants[key]
        decision.blocked[key] = candidate
        decision.problems[key] = problems

    def _alone(self, key: str, entry: Entry, plans: Mapping[PlanName, Plan]) -> Problem | None:
        before = self.entry(key)
        if before is not None and before.id != entry.id:
            message = (
                f"the id of a tenant never changes, and this file's is '{before.id}'; use a new file for a new tenant"
            )
            return self._place_of(key, ("id",), message)
        if entry.id in self.retired:
            message = "the tenant of this id was purged, and an id is never used again; remove the file or its id"
            return self._place_of(key, ("id",), message)
        if entry.plan not in plans:
            return self._place_of(key, ("type",), unknown_plan(entry.plan, plans))
        return None

    def _replaced(self, decision: Decision, missing: Collection[str]) -> dict[str, str]:
        """Files that are gone, by key, and the file in which their tenant turned up again."""
        leaving: dict[str, str] = {}
        for key, candidate in decision.tenants.items():
            old = None if candidate is None else self.snapshot.holder("id", candidate.model.id)
            if old is not None and old != key and old in missing and old not in decision.tenants:
                leaving[old] = key
        return leaving

    def _losers(self, decision: Decision, leaving: Collection[str]) -> dict[str, list[Problem]]:
        taken: dict[str, dict[str, str]] = {kind: {} for kind in _PLACES}
        kept: dict[str, frozenset[tuple[str, str]]] = {}
        losers: dict[str, list[Problem]] = {}
        for key, candidate in decision.tenants.items():
            lost: list[tuple[str, str, Path, str]] = []
            for kind, name, path in () if candidate is None else _claims(candidate.model):
                holder = self._standing((kind, name), key, decision, leaving, kept) or taken[kind].get(name)
                if holder is not None and holder != key:
                    lost.append((kind, name, path, holder))
            if lost:
                losers[key] = self._lost(key, lost)
                continue
            for kind, name, _ in () if candidate is None else _claims(candidate.model):
                taken[kind][name] = key
        return losers

    def _lost(self, key: str, lost: list[tuple[str, str, Path, str]]) -> list[Problem]:
        """Put into words what others have, as far as anybody will read it."""
        told = [
            self._place_of(key, path, taken_by(kind, name, self._at(holder, _PLACES[kind])))
            for kind, name, path, holder in lost[:MOST_PROBLEMS]
        ]
        return shortened(told, len(lost) - len(told))

    def _standing(
        self,
        claim: tuple[str, str],
        key: str,
        decision: Decision,
        leaving: Collection[str],
        kept: dict[str, frozenset[tuple[str, str]]],
    ) -> str | None:
        """The file that has the name in force, unless it gives it up; ``kept`` is remembered from call to call."""
        holder = self.snapshot.holder(*claim)
        if holder is None or holder in leaving:
            return None
        if holder == key or holder not in decision.tenants:
            return holder
        if holder not in kept:
            kept[holder] = _names(decision.tenants[holder])
        return holder if claim in kept[holder] else None

    def commit(self, decision: Decision, source: Literal["file", "engine"], *, step: int = 1) -> CatalogChange | None:
        """Put the decision in force; None when it changes nothing that anybody can see."""
        self._blocked = decision.blocked
        self._blocked_plans = decision.blocked_plans
        before, after = self._replace(decision)
        changed_plans = self._replace_plans(decision.plans)
        if not before and not after and not changed_plans:
            return None
        tenants = frozenset(entry.id for entry in [*before, *after])
        self._plans.forget(tenants)
        previous = self.snapshot
        digest = f"{self._sum:064x}"
        self.snapshot = previous.succeeded_by(previous.generation + step, digest, self._plans, before, after)
        return CatalogChange(self.snapshot, previous, tenants, changed_plans, source)

    def _replace(self, decision: Decision) -> tuple[list[Entry], list[Entry]]:
        before: list[Entry] = []
        after: list[Entry] = []
        for key, candidate in decision.tenants.items():
            found = self._in_force.get(key)
            if candidate is not None and found is not None and _same(found, candidate.model):
                continue
            if found is not None:
                before.append(found)
                self._uses[found.plan] -= 1
                self._sum = (self._sum - mark_of(found.spec)) % _MODULUS
                del self._in_force[key]
            if candidate is not None:
                after.append(candidate.model)
                self._sum = (self._sum + candidate.mark) % _MODULUS
        for entry in after:
            self._uses[entry.plan] += 1
            self._in_force[entry.key] = entry
        return before, after

    def _replace_plans(self, candidate: Candidate[PlansFile] | None) -> frozenset[PlanName]:
        if candidate is None:
            return frozenset()
        old, new = self._plans.plans, candidate.model.plans
        changed = frozenset(name for name in {*old, *new} if old.get(name) != new.get(name))
        if changed:
            mark = _mark_of_plans(candidate.model)
            self._sum = (self._sum - self._plans_mark + mark) % _MODULUS
            self._plans_mark = mark
            self._plans = Plans(new)
        return changed


def _same(left: Entry, right: Entry) -> bool:
    return left.packed == right.packed or left.spec == right.spec
