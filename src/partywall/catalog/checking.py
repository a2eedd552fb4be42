"""``partywall validate``: every problem of every file, with nothing written and nothing running."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from partywall.catalog.assembly import taken_by, unknown_plan
from partywall.catalog.disk.reader import ENGINE, FIXED, PLANS, Folder, Unreadable, Unstable
from partywall.catalog.look import Look, look_as_first
from partywall.catalog.problems import illegible
from partywall.catalog.snapshot import Snapshot
from partywall.catalog.sources import load_document, undeclared
from partywall.catalog.text.document import MOST_PROBLEMS, Document, load_again, shortened
from partywall.catalog.text.document import Path as Place
from partywall.catalog.text.scalars import Plain
from partywall.catalog.unread import strays, unread
from partywall.errors import ConfigError, Problem
from partywall.model import TenantSpec

__all__ = ["check"]


def check(root: Path) -> list[Problem]:
    """The problems of the files under a data folder, as a first start would find them. Never raises for them.

    What is wrong with a file's shape hides nothing of what is wrong with its place among the others. A tenant's file
    without an id is no problem here where the engine can give it one.
    """
    folder = Folder(Path(root))
    seen: Look | None = None
    found: defaultdict[str, list[Problem]] = defaultdict(list)
    try:
        seen = look_as_first(root)
        told: Sequence[Problem] = seen.problems
        doubtful = {problem.file for problem in told}
        keys = [key for key in _tenants(folder) if folder.label(key) in doubtful]
    except ConfigError as error:
        keys = _tenants(folder)
        alone = (problem for key in keys for problem in _alone(folder, key))
        told = [*error.problems, *illegible(folder), *alone]
    for problem in [*told, *strays(folder)]:
        found[problem.file].append(problem)
    across = _Across(folder, seen)
    for key in keys:
        label = folder.label(key)
        if len(found[label]) < MOST_PROBLEMS:
            found[label] = across.added(key, found[label])
    return sorted((problem for problems in found.values() for problem in problems), key=_place)


def _place(problem: Problem) -> tuple[str, int, int]:
    return problem.file, problem.line, problem.column


def _tenants(folder: Folder) -> list[str]:
    try:
        return sorted(key for key in folder.scan() if key not in FIXED)
    except OSError:
        return []


def _alone(folder: Folder, key: str) -> list[Problem]:
    """What is wrong with one tenant's file, when there are no plans to hold it against."""
    try:
        return load_document(folder, key, folder.read(key), TenantSpec).problems
    except (OSError, Unstable):
        return [unread(folder, key)]
    except Unreadable as error:
        return [Problem(folder.label(key), 1, 1, str(error))]


class _Across:
    """What is wrong between files, told from their plain data, whether or not they are well by themselves."""

    def __init__(self, folder: Folder, seen: Look | None) -> None:
        self._folder = folder
        self._snapshot: Snapshot | None = seen.snapshot if seen else None
        self._plans = seen.snapshot.plans.keys() if seen else self._keys(PLANS, "plans")
        self._regions = seen.config.regions.keys() if seen else self._keys(ENGINE, "regions") or ()
        self._taken: dict[tuple[str, str], tuple[str, str]] = {}

    def added(self, key: str, found: list[Problem]) -> list[Problem]:
        """What was found in a tenant's file, and at its other places what is wrong with it among the others.

        That is plans and regions that are not there, and ids, slugs and domains that another file has.
        """
        document = self._document(key)
        data = None if document is None else document.data
        if document is None or not isinstance(data, dict):
            return found
        told = {_place(problem) for problem in found}
        wrong = [*self._missing(data), *self._collisions(document, data, key)]
        new = [problem for path, message in wrong if _place(problem := document.problem(path, message)) not in told]
        return shortened([*found, *new])

    def _missing(self, data: dict[str, Plain]) -> Iterator[tuple[Place, str]]:
        plan, settings = data.get("type"), data.get("settings")
        if isinstance(plan, str) and self._plans and plan not in self._plans:
            yield ("type",), unknown_plan(plan, self._plans)
        region = settings.get("dataResidency") if isinstance(settings, dict) else None
        message = undeclared(region, self._regions) if isinstance(region, str) else None
        if message:
            yield ("settings", "dataResidency"), message

    def _collisions(self, document: Document, data: dict[str, Plain], key: str) -> Iterator[tuple[Place, str]]:
        for kind, name, path in _claims(data):
            holder = self._holder(kind, name, key)
            if holder is not None:
                yield path, taken_by(kind, name, holder)
            else:
                line, column = document.place(path)
                self._taken.setdefault((kind, name), (key, f"{document.file}:{line}:{column}"))

    def _holder(self, kind: str, name: str, key: str) -> str | None:
        """Where another file says the same."""
        if (kind, name) in self._taken:
            owner, place = self._taken[kind, name]
            return None if owner == key else place
        if self._snapshot is None:
            return None
        find = {"id": self._snapshot.tenant, "slug": self._snapshot.by_slug, "domain": self._snapshot.by_domain}[kind]
        spec = find(name)
        file = None if spec is None else f"tenants/{self._snapshot.file_of(str(spec.id))}"
        return None if file is None or file == key else self._places(file).get((kind, name))

    @lru_cache(maxsize=4)  # noqa: B019  # lives as long as one check
    def _places(self, key: str) -> dict[tuple[str, str], str]:
        """Where a file that is well says its names."""
        document = self._document(key)
        if document is None or not isinstance(data := document.data, dict):
            return {}
        places = {(kind, name): document.place(path) for kind, name, path in _claims(data)}
        return {claim: f"{document.file}:{line}:{column}" for claim, (line, column) in places.items()}

    def _document(self, key: str) -> Document | None:
        try:
            return load_again(self._folder.label(key), self._folder.read(key).raw)
        except (OSError, Unreadable, Unstable):
            return None

    def _keys(self, key: str, name: str) -> Collection[str] | None:
        document = self._document(key)
        data = None if document is None else document.data
        within = data.get(name) if isinstance(data, dict) else None
        return within.keys() if isinstance(within, dict) else None


def _claims(data: dict[str, Plain]) -> Iterator[tuple[str, str, Place]]:
    for kind in ("id", "slug"):
        name = data.get(kind)
        if isinstance(name, str):
            yield kind, name, (kind,)
    domains = data.get("domains")
    for index, domain in enumerate(domains if isinstance(domains, list) else ()):
        if isinstance(domain, str):
            yield "domain", domain, ("domains", index)
