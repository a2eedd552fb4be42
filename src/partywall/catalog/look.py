"""A look at the files that owns and writes nothing: for commands beside a running engine, and without one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, Final

from partywall.catalog.changes import Changes, no_id, no_room_for_id, suggested_id
from partywall.catalog.disk.reader import (
    ENGINE,
    FIXED,
    TABLES,
    UNSEEN,
    Folder,
    Read,
    Signature,
    Unreadable,
    Unstable,
    digest_of,
)
from partywall.catalog.disk.writer import writable
from partywall.catalog.health import Health, health_of
from partywall.catalog.memory.cache import Cache, Good
from partywall.catalog.problems import in_order
from partywall.catalog.reload import Reload
from partywall.catalog.snapshot import Snapshot
from partywall.catalog.sources import load_document
from partywall.catalog.text.document import Document
from partywall.catalog.text.edits import with_id
from partywall.catalog.unread import unread
from partywall.clock import SystemClock
from partywall.errors import ConfigError, InvalidArgument, Problem
from partywall.model import EngineConfig, Table
from partywall.names import PlanName, TableName

__all__ = ["Look", "edit_plan", "engine_config", "last_good", "look", "look_as_first", "look_at", "reported", "stamp"]

_SOME_TABLE: Final = '{"tables": {"some": {"columns": {"some": {"type": "text"}}}}}'


class Look:
    """What a catalog would have in force if one opened the folder at this moment."""

    def __init__(self, reload: Reload) -> None:
        self.config: EngineConfig = reload.config
        """engine.yaml."""
        self.tables: Mapping[TableName, Table] = MappingProxyType(reload.tables.tables)
        """tables.yaml."""
        self.snapshot: Snapshot = reload.assembly.snapshot
        """Plans and tenants. A file that is wrong shows as its last good version, if there is one."""
        self.before: Snapshot = reload.before
        """The last good versions alone, as a catalog had them in force; without tenants if none ever was open."""
        self.problems: tuple[Problem, ...] = _with_restless(reload)
        """What is wrong in the files, and which could not be read because somebody is writing them."""


def look(root: Path, *, last_good: bool = True, give_ids: bool = False, stand_in: EngineConfig | None = None) -> Look:
    """Look at the files of a data folder; writes nothing, whatever they hold.

    ``last_good=False`` takes the files alone. A tenant's file without an id is a problem, because only an engine
    writes one back; with ``give_ids`` it is taken as if it had been given one. Raises ConfigError when plans.yaml,
    tables.yaml or engine.yaml is wrong and there is no good version of it. With a ``stand_in`` only plans.yaml has
    to be right: it is taken for an engine.yaml that is wrong, and tables.yaml for one that is of no interest.
    """
    folder, identify = Folder(Path(root)), _given if give_ids else _without
    with _last_good(Path(root)) if last_good else _nothing() as cache:
        try:
            return Look(Reload(folder, SystemClock(), cache, identify))
        except ConfigError as error:
            if stand_in is None:
                raise
            wrong = {problem.file for problem in error.problems}
    stand_ins = {ENGINE: stand_in.model_dump_json(by_alias=True), TABLES: _SOME_TABLE}
    with closing(_StandIns({key: data for key, data in stand_ins.items() if folder.label(key) in wrong})) as instead:
        return Look(Reload(folder, SystemClock(), instead, identify))


def engine_config(root: Path) -> EngineConfig | None:
    """What engine.yaml says by itself; None when it is not there, or wrong."""
    folder = Folder(Path(root))
    try:
        candidate = load_document(folder, ENGINE, folder.read(ENGINE), EngineConfig).candidate
    except (FileNotFoundError, Unreadable, Unstable):
        return None
    return None if candidate is None else candidate.model


def look_as_first(root: Path) -> Look:
    """As ``look``, of the files alone, as an engine would that opens them for the first time.

    A file without an id is a problem where the engine could not write one into it.
    """
    folder = Folder(Path(root))

    def identify(key: str, document: Document, read: Read, had: str | None) -> Read | Problem:
        given = _given(key, document, read, had)
        may = isinstance(given, Problem) or writable(folder.path(key))
        return given if may else no_id(document, had or suggested_id(key))

    return Look(Reload(folder, SystemClock(), None, identify))


def look_at(root: Path, reference: str) -> Look | None:
    """As ``look``, at one tenant's file, found by id or slug, and those that all share; the others are left alone.

    None when no catalog knew the tenant, or its file is not what it was in a way that only a look at all can judge.
    """
    with _last_good(Path(root)) as cache:
        key = None if cache is None else cache.key_of(reference)
        if key is None:
            return None
        with closing(_LastGoodOf(Folder(Path(root).absolute()).cache, key)) as one:
            found = Look(Reload(_FolderOf(Path(root), key), SystemClock(), one, _without))
    named = found.snapshot.entry(reference) or found.snapshot.entry_by_slug(reference)
    return None if named is None or found.problems else found


def last_good(root: Path) -> Snapshot | None:
    """What the catalog that is open on the folder has in force, or the last one had; None before there was one."""
    with _last_good(Path(root)) as cache, TemporaryDirectory() as without_files:
        try:
            # Where there are no files at all, every last good version is held.
            return None if cache is None else Reload(Folder(Path(without_files)), SystemClock(), cache, _without).before
        except ConfigError:
            return None


def stamp(root: Path) -> frozenset[object]:
    """Equal as long as no file was touched; nothing is read."""
    try:
        return frozenset(Folder(Path(root)).scan().items())
    except OSError as error:
        return frozenset([str(error)])


def reported(root: Path) -> Health | None:
    """How the files are doing, as the last catalog that was open on the folder told; None before the first."""
    with _last_good(Path(root)) as cache:
        return None if cache is None else health_of(cache)


def edit_plan(root: Path, plan: PlanName, changes: Mapping[str, object]) -> None:
    """Change lines of plans.yaml as an editor would: whoever has the folder open reads the change as an edit.

    InvalidArgument, TenantConflict or ConfigError, as ``Catalog.edit_plan``.
    """
    with _last_good(Path(root)) as cache:
        reload = Reload(Folder(Path(root)), SystemClock(), cache, _without)
        Changes(reload, lambda _: None).edit_plan(plan, changes)


def _with_restless(reload: Reload) -> tuple[Problem, ...]:
    told = {problem.file for problem in reload.problems}
    restless = [key for key in reload.restless if reload.folder.label(key) not in told]
    return in_order({"": list(reload.problems)}, {key: [unread(reload.folder, key)] for key in restless})


class _LastGood(Cache):
    """The last good versions as another process keeps them; what is found here is not remembered."""

    def _open(self) -> None:
        self._connection = sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, timeout=2, isolation_level=None)

    def _rebuild(self) -> None:
        self.close()

    def store(self, changes: Mapping[str, Good | None], edited: Mapping[str, str] = MappingProxyType({})) -> None:
        """Remember nothing."""

    def keep_intents(self, key: str, intents: Iterable[tuple[Any, ...]]) -> None:
        """Remember nothing."""

    def unrecorded(self) -> dict[str, str]:
        """Nothing: records are the engine's to write."""
        return {}

    def intents(self) -> list[tuple[str, list[Any]]]:
        """Nothing: what an operator overwrote is the engine's to write again."""
        return []


class _StandIns(_LastGood):
    """What is taken for files that are wrong, in place of good versions that nobody has."""

    def __init__(self, documents: Mapping[str, str]) -> None:
        self._documents = documents
        super().__init__(Path())

    def _open(self) -> None:
        """There is no file."""

    def all(self) -> Iterator[tuple[str, Good]]:
        """What is taken for them."""
        return ((key, Good("", document.encode())) for key, document in self._documents.items())


class _LastGoodOf(_LastGood):
    """Those of one tenant's file and of the files that all share."""

    def __init__(self, path: Path, key: str) -> None:
        self._keys = (*FIXED, key)
        super().__init__(path)

    def all(self) -> Iterator[tuple[str, Good]]:
        """Those versions alone."""
        return self.some(self._keys)


class _FolderOf(Folder):
    """One tenant's file, and the files that all share."""

    def __init__(self, root: Path, key: str) -> None:
        super().__init__(root)
        self._keys = (*FIXED, key)

    def entries(self) -> Iterator[tuple[str, Signature]]:
        """Those files alone."""
        looks = ((key, self.look(key)) for key in self._keys)
        return ((key, signature) for key, signature in looks if signature is not None)

    def keys(self) -> set[str]:
        """Their keys."""
        return {key for key, _ in self.entries()}


@contextmanager
def _last_good(root: Path) -> Iterator[Cache | None]:
    path = Folder(root.absolute()).cache
    if not path.exists():
        yield None
        return
    with closing(_LastGood(path)) as cache:
        yield cache


@contextmanager
def _nothing() -> Iterator[None]:
    yield None


def _without(_key: str, document: Document, _read: Read, _had: str | None) -> Read | Problem:
    return document.problem((), "the file has no id yet; the engine gives it one when it is opened")


def _given(key: str, document: Document, _read: Read, had: str | None) -> Read | Problem:
    # The same id each time, so that two looks at a file agree that it is one tenant's.
    identity = had or suggested_id(key)
    try:
        raw = with_id(document, identity).encode()
    except InvalidArgument:
        return no_room_for_id(document, identity)
    return Read(raw, digest_of(raw), UNSEEN)
