"""What files and ledger say now, read beside a running engine or without one; nothing is written or owned."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, cast

from partywall.backend import Placement
from partywall.catalog import Catalog
from partywall.catalog.cache import Cache, Good
from partywall.catalog.document import Document
from partywall.catalog.reader import Folder, Read
from partywall.catalog.reload import Reload
from partywall.catalog.snapshot import Snapshot
from partywall.clock import SystemClock
from partywall.directory import Directory
from partywall.errors import Problem
from partywall.folder import DataFolder
from partywall.ledger import Ledger, open_ledger
from partywall.model import EngineConfig, Strategy
from partywall.names import Region, TenantId

__all__ = ["Files", "PendingMove", "Sight", "look", "open_for_reading"]

_CACHE: Final = "catalog.sqlite"


@dataclass(frozen=True, slots=True)
class PendingMove:
    """A tenant whose files wish for another place than the one where its data lives."""

    tenant_id: TenantId
    placement: Placement
    wanted_strategy: Strategy
    wanted_region: Region | None


class Files:
    """One look at the files. A file that is wrong shows as its last good version, if there is one."""

    def __init__(self, folder: DataFolder, cache: Cache | None = None) -> None:
        self.root = folder.root
        self.reload = Reload(Folder(folder.root), SystemClock(), cache, _without_id)

    @property
    def config(self) -> EngineConfig:
        """engine.yaml."""
        return self.reload.config

    @property
    def snapshot(self) -> Snapshot:
        """Plans and tenants."""
        return self.reload.assembly.snapshot

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong."""
        return self.reload.problems


class Sight(Files):
    """One look at files and ledger together: what the engine has in force, or would have."""

    def __init__(self, folder: DataFolder, ledger: Ledger, cache: Cache | None) -> None:
        super().__init__(folder, cache)
        self.ledger = ledger
        self.directory = Directory(cast("Catalog", _Still(self.snapshot)), ledger)

    def pending_moves(self) -> Iterator[PendingMove]:
        """The tenants whose plan or file wishes for another strategy or region than their data has."""
        for placement in self.ledger.read(lambda tx: tx.placements()):
            tenant_id = placement.tenant_id
            if self.directory.status(tenant_id) is None:
                continue
            strategy = self.directory.grants(tenant_id).isolation
            region = self.directory.spec(tenant_id).settings.data_residency
            if (strategy, region) != (placement.strategy, placement.region):
                yield PendingMove(tenant_id, placement, strategy, region)


@contextmanager
def look(folder: DataFolder) -> Iterator[Sight]:
    """Look at the folder; ConfigError when its files were never usable, LedgerError."""
    folder.require()
    with ExitStack() as opened:
        ledger = opened.enter_context(open_for_reading(folder))
        path = folder.var / _CACHE
        cache = opened.enter_context(closing(_LastGood(path))) if path.exists() else None
        yield Sight(folder, ledger, cache)


@contextmanager
def open_for_reading(folder: DataFolder) -> Iterator[Ledger]:
    """The folder's ledger, which cannot be written through this; an empty one when none was made yet."""
    with ExitStack() as opened:
        path = folder.ledger
        made = path.exists()
        if not made:
            path = Path(opened.enter_context(TemporaryDirectory())) / path.name
        yield opened.enter_context(closing(open_ledger(path, read_only=made)))


class _LastGood(Cache):
    """The engine's last good versions; what this process finds of its own is not remembered."""

    def _open(self) -> None:
        self._connection = sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, timeout=2, isolation_level=None)

    def _rebuild(self) -> None:
        self.close()

    def store(self, changes: Mapping[str, Good | None]) -> None:
        """Remember nothing."""


@dataclass(frozen=True, slots=True)
class _Still:
    """Stands for the catalog where nothing is going to change."""

    snapshot: Snapshot

    def subscribe(self, listener: object) -> None:
        """Nobody will be told of anything."""


def _without_id(_key: str, document: Document, _read: Read, _had: str | None) -> Read | Problem:
    return document.problem((), "the file has no id yet; the engine gives it one when it is opened")
