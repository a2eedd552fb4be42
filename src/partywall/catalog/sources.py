"""One file's bytes to the model that it declares, or to its problems."""

from __future__ import annotations

import zlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from pydantic import BaseModel

from partywall.catalog.disk.reader import ENGINE, PLANS, TABLES, Folder, Read
from partywall.catalog.entry import Entry, entry_of, index_of, indexed, pack, unpack
from partywall.catalog.memory.cache import Good
from partywall.catalog.memory.versions import mark_of
from partywall.catalog.text.document import Document, load
from partywall.catalog.text.validation import canonical, revive, validate
from partywall.errors import Problem
from partywall.model import EngineConfig, PlansFile, TablesFile, TenantSpec
from partywall.names import meant

__all__ = [
    "MODELS",
    "Candidate",
    "Loaded",
    "from_cache",
    "load_document",
    "load_tenant",
    "packed",
    "restored",
    "undeclared",
]

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

MODELS: dict[str, type[BaseModel]] = {ENGINE: EngineConfig, PLANS: PlansFile, TABLES: TablesFile}
"""What each file that is not a tenant's declares."""


@dataclass(frozen=True, slots=True)
class Candidate(Generic[T]):
    """A valid content of one file: what it declares, and what the cache keeps of it."""

    model: T
    good: Good
    mark: int = 0
    """A tenant's part of the snapshot's digest."""


@dataclass(frozen=True, slots=True)
class Loaded(Generic[M]):
    """What became of one file's bytes: a candidate, or at least one problem."""

    candidate: Candidate[M] | None
    document: Document

    @property
    def problems(self) -> list[Problem]:
        """Everything that is wrong."""
        return self.document.problems


def load_document(folder: Folder, key: str, read: Read, model: type[M]) -> Loaded[M]:
    """Load and validate a file. Never raises for what it holds."""
    document = load(folder.label(key), read.raw)
    if document.root is None:
        return Loaded(None, document)
    try:
        data = canonical(document.data)
        checked = validate(model, document, data)
    except Exception as error:  # noqa: BLE001  # whatever one file does to validation is that file's problem
        document.problems.append(document.problem((), f"cannot be validated: {error!r}"))
        return Loaded(None, document)
    good = Good(read.digest, data.encode(), read.signature if read.settled else None)
    return Loaded(None if checked is None else Candidate(checked, good), document)


def undeclared(region: str | None, regions: Collection[str]) -> str | None:
    """What is wrong when a tenant's region is not declared."""
    if region is None or region in regions:
        return None
    declared = ", ".join(sorted(regions)) or "none is"
    return f"the region '{region}' is not declared in {ENGINE} (declared: {declared}){meant(region, regions)}"


def load_tenant(folder: Folder, key: str, read: Read, regions: Collection[str]) -> Loaded[TenantSpec]:
    """Load and validate a tenant's file."""
    loaded = load_document(folder, key, read, TenantSpec)
    if loaded.candidate is not None:
        message = undeclared(loaded.candidate.model.settings.data_residency, regions)
        if message:
            loaded.problems.append(loaded.document.problem(("settings", "dataResidency"), message))
            return Loaded(None, loaded.document)
    return loaded


def packed(key: str, candidate: Candidate[TenantSpec]) -> Candidate[Entry]:
    """The tenant's content as it is kept."""
    data = pack(unpack(candidate.good.data))
    entry, mark = entry_of(key, candidate.model, data), mark_of(candidate.model)
    return Candidate(entry, replace(candidate.good, data=data, index=index_of(entry, mark)), mark)


def restored(key: str, good: Good) -> Candidate[Entry] | None:
    """A tenant's last good version, if it still fits; its ``good`` has an index if that is to be kept anew."""
    found = None if good.index is None else indexed(key, good.index, good.data)
    if found is not None:
        return Candidate(found[0], Good(good.digest, good.data), found[1])
    candidate = from_cache(good, TenantSpec)
    return None if candidate is None or candidate.model.id is None else packed(key, candidate)


def from_cache(good: Good | None, model: type[M]) -> Candidate[M] | None:
    """The last good version, if there is one and it still fits."""
    if good is None:
        return None
    try:
        return Candidate(revive(model, unpack(good.data)), good)
    except (ValueError, zlib.error):  # an older release may have accepted what this one does not
        return None
