"""One file's bytes to the model that it declares, or to its problems."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel

from partywall.catalog.cache import Good
from partywall.catalog.document import Document, load
from partywall.catalog.reader import ENGINE, PLANS, TABLES, Folder, Read
from partywall.catalog.validation import canonical, revive, validate
from partywall.errors import Problem
from partywall.model import EngineConfig, PlansFile, TablesFile, TenantSpec
from partywall.names import meant

__all__ = ["MODELS", "Candidate", "Loaded", "from_cache", "load_document", "load_tenant", "undeclared"]

M = TypeVar("M", bound=BaseModel)

MODELS: dict[str, type[BaseModel]] = {ENGINE: EngineConfig, PLANS: PlansFile, TABLES: TablesFile}
"""What each file that is not a tenant's declares."""


@dataclass(frozen=True, slots=True)
class Candidate(Generic[M]):
    """A valid content of one file: what it declares, and what the cache keeps of it."""

    model: M
    good: Good


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
    return Loaded(None if checked is None else Candidate(checked, Good(read.digest, data)), document)


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


def from_cache(good: Good | None, model: type[M]) -> Candidate[M] | None:
    """The last good version, if there is one and it still fits."""
    if good is None:
        return None
    try:
        return Candidate(revive(model, good.data), good)
    except ValueError:  # an older release may have accepted what this one does not
        return None
