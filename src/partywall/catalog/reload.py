"""Reloading: from the bytes that were read to the next snapshot, with what was wrong kept aside.

Used under the catalog's lock. Nothing here raises for what a file holds: a bad file leaves its last good
version in force, and the other files of the same batch are applied.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final, Literal, TypeVar

from pydantic import BaseModel

from partywall.catalog.assembly import Assembly, Decision, TenantCandidate
from partywall.catalog.batch import Batch, Identify, Known, fresh
from partywall.catalog.disk.intake import Glance, Gone, Intake, Reads
from partywall.catalog.disk.reader import ENGINE, FIXED, PLANS, TABLES, Folder, Read, Unreadable, Unstable
from partywall.catalog.garbage import without_collections
from partywall.catalog.memory.cache import Cache, Good
from partywall.catalog.memory.intents import Intents, reconcile
from partywall.catalog.memory.trail import Edited, Trail
from partywall.catalog.problems import FOLDER, NAMES, gone_at_once, illegible, in_order, put, unlistable
from partywall.catalog.snapshot import CatalogChange, Snapshot
from partywall.catalog.sources import (
    MODELS,
    Candidate,
    from_cache,
    load_document,
    load_tenant,
    packed,
    restored,
    undeclared,
)
from partywall.catalog.text.document import Document, Path, load_again
from partywall.catalog.unread import lookalikes, unread
from partywall.clock import Clock
from partywall.errors import ConfigError, Problem
from partywall.model import EngineConfig, PlansFile, TablesFile
from partywall.names import TenantId

__all__ = ["Batch", "Identify", "Reload"]

M = TypeVar("M", bound=BaseModel)
_OPENING_LOOKS: Final = 20
_OPENING_QUIET_SECONDS: Final = 0.02
_UNIDENTIFIED: Final = "the file has no id; it is given one once nobody has it open for writing"
_LATER: Final = "this edit takes effect at the next start"


class Reload:
    """Everything that is known of the files, and what is in force of them."""

    def __init__(self, folder: Folder, clock: Clock, cache: Cache | None, identify: Identify) -> None:
        self.folder = folder
        self.intake = Intake(folder, clock)
        self.trail = Trail(cache)
        self.intents = Intents(cache)
        self._cache = cache
        self._identify = identify
        self._problems: dict[str, list[Problem]] = {}
        self._refused: dict[str, list[Problem]] = {}
        self._notices: dict[str, list[Problem]] = {}
        self._opened: dict[str, BaseModel] = {}
        self.restless: Collection[str] = ()
        """Files that did not come to rest while everything was opened."""
        self.before: Snapshot
        """What was in force when the catalog was last open; without tenants on the first start."""
        self.opening: tuple[CatalogChange, ...] = ()
        """What the files changed while nothing was open; nothing on the first start, which knows no before."""
        with without_collections(self._count()):
            self._begin()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong in any file now, by file and place."""
        return in_order(self._problems, self._refused)

    @property
    def notices(self) -> tuple[Problem, ...]:
        """Edits that are well and wait for the next start."""
        return in_order(self._notices)

    def _count(self) -> int:
        try:
            return len(self.folder.keys())
        except OSError:
            return 0

    def _begin(self) -> None:
        fixed: dict[str, Good] = {}
        known: Known = {}
        for key, good in () if self._cache is None else self._cache.all():
            if key in FIXED:
                fixed[key] = good
                continue
            known[key] = restored(key, good)
            if good.signature is not None:
                self.intake.expect(key, good.digest, good.signature)
        reads, glance = self._read_all(self._glance())
        engine = self._fixed(ENGINE, EngineConfig, reads, fixed.get(ENGINE))
        tables = self._fixed(TABLES, TablesFile, reads, fixed.get(TABLES))
        plans = self._fixed(PLANS, PlansFile, reads, fixed.get(PLANS), in_force=False)
        if engine is None or tables is None or plans is None:
            broken = [problem for key in FIXED for problem in self._problems.get(key, [])]
            raise ConfigError("the configuration cannot be used", broken)
        self.config, self.tables = engine.model, tables.model
        put(self._problems, NAMES, illegible(self.folder))
        with self.trail.silent(not fixed):
            self._assemble(plans, reads, known, glance)
            self.opening = self.opening if fixed else ()
        self._remember({PLANS: plans.good} if PLANS not in fixed else {})

    def _fixed(
        self, key: str, model: type[M], reads: Reads, good: Good | None, *, in_force: bool = True
    ) -> Candidate[M] | None:
        """The file as it stands, or its last good version; None without either."""
        read = reads.get(key)
        before = from_cache(good, model)
        if isinstance(read, Read):
            loaded = load_document(self.folder, key, read, model)
            if loaded.candidate is not None:
                self._remember({key: loaded.candidate.good} if in_force else {})
                self._opened[key] = loaded.candidate.model
                return before or loaded.candidate if not in_force else loaded.candidate
            self._problems[key] = loaded.problems
        elif isinstance(read, Problem):
            self._problems[key] = [read]
        elif key == ENGINE and before is None and self.folder.look(key) is None:
            put(self._problems, key, [unread(self.folder, key)] if lookalikes(self.folder, key) else [])
            self._opened[key] = model()  # every part of it has a default
            return Candidate(model(), Good("", b"{}"))
        else:
            self._problems[key] = [unread(self.folder, key)]
        if before is not None:
            self._opened[key] = before.model
        return before

    def _assemble(self, plans: Candidate[PlansFile], reads: Reads, known: Known, glance: Glance) -> None:
        """Start from what was in force when the catalog was last open, then apply the files to it as a batch."""
        self.assembly = Assembly(plans, self._problem_at)
        lasting = {
            key: each
            for key, each in known.items()
            if each is not None and undeclared(each.model.region, self.config.regions) is None
        }
        decision = self.assembly.decide(lasting)
        decision.blocked.clear()
        self.assembly.commit(decision, "file", step=0)
        self.before = self.assembly.snapshot
        self._remember({key: each.good for key, each in lasting.items() if each.good.index is not None})
        self._read_unaccepted(known, glance, reads)
        edited, _ = self.absorb(reads, "file", known=lasting, step=0)
        # Of a folder that cannot be listed nobody knows what is gone.
        self.opening = (*edited, *(() if FOLDER in self._problems else self.drop_vanished(step=0)))
        self._remember(dict.fromkeys(known.keys() - reads.keys() - set(self.assembly.keys)))

    def _read_unaccepted(self, known: Known, glance: Glance, reads: Reads) -> None:
        """Read what was taken for known and is not in force all the same; note what is in force and gone."""
        self.intake.forget(glance.gone)
        unaccepted = [key for key in known if key in self.intake and key not in reads and key not in self.assembly.keys]
        self.intake.forget(unaccepted)
        reads.update(self.intake.take(unaccepted)[0])
        for key in self.assembly.keys:
            if key not in self.intake and key not in glance.due:
                self.intake.missing[key] = float("-inf")

    def _read_all(self, first: Glance) -> tuple[Reads, Glance]:
        """Every file that is not known, after a moment for those that are being saved just now."""
        reads: Reads = {}
        glance = first
        for _ in range(_OPENING_LOOKS):
            more, restless = self.intake.sweep(glance, _OPENING_QUIET_SECONDS)
            reads.update(more)
            if not restless:
                break
            time.sleep(_OPENING_QUIET_SECONDS / 4)
            if not self.intake.stands(glance):
                self.intake.unread(reads)
                reads.clear()
                glance = first = self._glance()
                continue
            looks = ((key, self.folder.look(key)) for key in glance.due)
            glance = replace(glance, due={key: signature for key, signature in looks if signature is not None})
        else:
            self.restless = self.intake.unread_of(glance.due)
        return reads, first

    def _glance(self) -> Glance:
        try:
            return self.intake.glance()
        except OSError as error:
            self.unlistable(error)
            due = {key: signature for key in FIXED if (signature := self.folder.look(key)) is not None}
            return Glance(due, (), self.intake.standing())

    def unlistable(self, error: OSError) -> None:
        """Report that the folder cannot be looked into; everything stays as it is."""
        self._problems[FOLDER] = unlistable(self.folder, error)

    def _problem_at(self, key: str, path: Path, message: str) -> Problem:
        """A problem at a path of a file. Places aren't kept: the file is read again for this one."""
        try:
            document = load_again(self.folder.label(key), self.folder.read(key).raw)
        except (OSError, Unreadable, Unstable):
            return Document(self.folder.label(key), "", None, []).problem(path, message)
        return document.problem(path, message)

    def load(self, reads: Reads, *, known: Mapping[str, TenantCandidate] | None = None) -> Batch:
        """Load what was read; ``known`` are contents that need not be loaded when their digest is the same."""
        batch = Batch()
        for key, found in reads.items():
            read = reconcile(self.folder, self.intents, key, found) if isinstance(found, Read) else found
            if read is None:
                self.intake.again(key)
                continue
            if isinstance(read, Read) and read is not found:
                self.intake.seen(key, read)
            batch.problems[key] = []
            batch.notices[key] = []
            if isinstance(read, Problem):
                batch.problems[key].append(read)
            elif isinstance(read, Gone):
                self._load_gone(key, batch)
            elif key in FIXED:
                self._load_fixed(key, read, batch)
            else:
                self._load_tenant(key, read, batch, (known or {}).get(key))
        return batch

    def _load_gone(self, key: str, batch: Batch) -> None:
        if key in FIXED:
            message = "the file is missing; what was in force stays"
            batch.problems[key].append(Problem(self.folder.label(key), 1, 1, message))
        elif key not in self.assembly.keys:
            self.intake.forget([key])

    def _load_fixed(self, key: str, read: Read, batch: Batch) -> None:
        if key == PLANS:
            loaded = load_document(self.folder, key, read, PlansFile)
            batch.plans = loaded.candidate
            batch.problems[key] = loaded.problems
            return
        other = load_document(self.folder, key, read, MODELS[key])
        batch.problems[key] = other.problems
        if other.candidate is not None:
            batch.store[key] = other.candidate.good
            if other.candidate.model != self._opened[key]:
                batch.notices[key].append(Problem(self.folder.label(key), 1, 1, _LATER))

    def _load_tenant(self, key: str, read: Read, batch: Batch, known: TenantCandidate | None) -> None:
        if known is not None and known.good.digest == read.digest:
            if self.assembly.entry(key) is not known.model:
                batch.tenants[key] = known
            return
        loaded = load_tenant(self.folder, key, read, self.config.regions)
        candidate = loaded.candidate
        if candidate is not None and candidate.model.id is None:
            before = self.assembly.entry(key)
            identified = self._identify(key, loaded.document, read, None if before is None else before.id)
            if identified is None:
                self.intake.again(key)
                identified = loaded.document.problem((), _UNIDENTIFIED)
            if isinstance(identified, Problem):
                loaded.problems.append(identified)
                candidate = None
            else:
                self.intake.seen(key, identified)
                loaded = load_tenant(self.folder, key, identified, self.config.regions)
                candidate = loaded.candidate
        batch.problems[key] = loaded.problems
        if candidate is not None:
            batch.tenants[key] = packed(key, candidate)

    def decide(self, batch: Batch) -> Decision:
        """Which contents of the batch can be in force together with everything else."""
        stale = [key for key in batch.problems if key not in batch.tenants]
        stale = [key for key in stale if key != PLANS or batch.plans is None]
        return self.assembly.decide(batch.tenants, batch.plans, stale=stale, missing=self.intake.missing.keys())

    def absorb(
        self,
        reads: Reads,
        source: Literal["file", "engine"],
        *,
        known: Mapping[str, TenantCandidate] | None = None,
        step: int = 1,
        final: bool = True,
    ) -> tuple[list[CatalogChange], set[str]]:
        """Put into force what was read, as far as it is well; what was published, in order.

        Unless ``final``, a file that is wrong and was written a moment ago is not yet judged, because its
        writer may not be done: those are returned, to be read again.
        """
        if not reads:
            return [], set()
        with without_collections(len(reads)):
            batch = self.load(reads, known=known)
            early = set() if final else {key for key, read in reads.items() if batch.problems.get(key) and fresh(read)}
            for key in early:
                self.intake.again(key)
                del batch.problems[key], batch.notices[key]
            return self.commit(batch, self.decide(batch), source, step=step), early

    def commit(
        self, batch: Batch, decision: Decision, source: Literal["file", "engine"], *, step: int = 1
    ) -> list[CatalogChange]:
        """Put a decision into force, and then whatever waited for it."""
        for key in batch.problems:
            put(self._problems, key, batch.problems[key])
            put(self._notices, key, batch.notices[key])
        self._remember(batch.store)
        changes: list[CatalogChange] = []
        while True:
            change = self.assembly.commit(decision, source, step=step)
            self._keep(decision, self.trail.note(change))
            if change is not None:
                changes.append(change)
            if change is None or not self.assembly.waiting:
                return changes
            decision = self.assembly.decide({}, missing=self.intake.missing.keys())

    def _keep(self, decision: Decision, edited: Edited | None) -> None:
        self._refused = decision.problems
        changes: dict[str, Good | None] = {
            key: None if candidate is None else candidate.good for key, candidate in decision.tenants.items()
        }
        if decision.plans is not None:
            changes[PLANS] = decision.plans.good
        self.intake.forget(key for key, candidate in decision.tenants.items() if candidate is None)
        self._remember(changes, edited)

    def _remember(self, changes: Mapping[str, Good | None], edited: Edited | None = None) -> None:
        if self._cache is not None:
            self._cache.store(changes, {edited.id: edited.document} if edited else {})

    @property
    def next_expiry(self) -> float | None:
        """Seconds until the grace of a vanished file ends; None while there is none, or all are held."""
        if FOLDER in self._problems:
            return None
        return self.intake.next_expiry(self.config.reload.vanish_seconds, self.assembly.keys)

    def drop_vanished(self, *, step: int = 1) -> list[CatalogChange]:
        """Take out of force the tenants whose files are gone for good, unless suspiciously many are."""
        keys = self.assembly.keys
        gone = sum(key in keys for key in self.intake.missing)
        if gone and (gone > max(10, len(keys) // 20) or gone == len(keys)):
            self._problems[FOLDER] = gone_at_once(self.folder, gone, len(keys))
            return []
        if self._problems.pop(FOLDER, None) is not None and gone:
            self.intake.restart_grace(lambda key: key in keys)
        expired = self.intake.expired(self.config.reload.vanish_seconds, keys)
        return self.remove(expired, "file", step=step) if expired else []

    def retire(self, tenant_ids: Collection[TenantId]) -> list[CatalogChange]:
        """Never again put a tenant with one of these ids in force; a file that declares one is a problem."""
        self.assembly.retired |= frozenset(tenant_ids)
        self.trail.forget(tenant_ids)
        held = [key for key in self.assembly.keys if (entry := self.assembly.entry(key)) and entry.id in tenant_ids]
        return self.remove(held, "engine", step=0) if held else []

    def remove(self, keys: list[str], source: Literal["file", "engine"], *, step: int = 1) -> list[CatalogChange]:
        """Take these files' tenants out of force."""
        nothing: dict[str, list[Problem]] = {key: [] for key in keys}
        batch = Batch(dict.fromkeys(keys), problems=nothing, notices=nothing)
        return self.commit(batch, self.decide(batch), source, step=step)

    def take(self, keys: Collection[str]) -> tuple[list[CatalogChange], set[str]]:
        """Read these files now; what was published, and which are to be read again soon."""
        if self.intake.moved():
            return [], set(keys)  # the look at the whole release comes first
        reads, restless = self.intake.take(keys)
        if self.intake.moved():
            self.intake.unread(reads)
            return [], set(keys)
        changes, early = self.absorb(reads, "file", final=False)
        return changes, restless | early

    def overtake(self, key: str, read: Read) -> list[CatalogChange]:
        """Put into force, as its own edit, what somebody saved and no look has seen yet."""
        return self.absorb({key: read}, "file")[0] if self.intake.note(key, read) else []

    def sweep(self, glance: Glance, quiet: float, *, final: bool, together: bool) -> tuple[list[CatalogChange], bool]:
        """Act on a look at every file; what was published, and whether some file has not settled yet."""
        reads, restless = self.intake.sweep(glance, quiet, together=together)
        settled = self.intake.settled()
        if settled and self._cache is not None:
            self._cache.settle(settled)
        changes, early = self.absorb(reads, "file", final=final)
        put(self._problems, NAMES, illegible(self.folder))
        return [*changes, *self.drop_vanished()], restless or bool(early)
