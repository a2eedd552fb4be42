"""What the backends have in common: sessions that are open, and the shards of one hub with their housekeeping."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from partywall.backend import Backend, BackendSetup, Placement, Session
from partywall.errors import BackendError
from partywall.names import Region, TenantId
from partywall_duckdb.files import StoreFiles
from partywall_duckdb.hub import Hub
from partywall_duckdb.layout import LAYOUT
from partywall_duckdb.options import Options
from partywall_duckdb.selftest import self_test
from partywall_duckdb.session import TenantSession
from partywall_duckdb.shard import Shard

__all__ = ["HubBackend", "region_folders"]

_SLICE: Final = 1.0
"""Seconds that one round of housekeeping checkpoints because memory is short."""


def region_folders(setup: BackendSetup) -> dict[Region | None, Path]:
    """The backend's folder in every region, with symbolic links in the operator's own path resolved."""
    return {region: setup.folder(region).resolve() for region in setup.every_region()}


class HubBackend(Backend):
    """One instance, the shards of every region attached to it, and the sessions that are open."""

    def __init__(self, setup: BackendSetup, options: Options, folders: Mapping[Region | None, Path]) -> None:
        self._setup = setup
        self._folders = folders
        self._checkpoint_above = options.checkpoint_wal_bytes
        paths = [
            path
            for folder in folders.values()
            for name in self.shard_names(folder)
            for files in [StoreFiles(folder, name)]
            for path in (files.main, files.new)
        ]
        self._hub = Hub(options, paths)
        self._shards: dict[Region | None, dict[str, Shard]] = {region: {} for region in folders}
        self._sessions: set[TenantSession] = set()
        self._relieving = False
        with ExitStack() as undo:
            undo.callback(self.close)  # an engine that does not start holds no file
            self_test(self._hub, folders[None] / LAYOUT)
            for region, folder in folders.items():
                for name in self.first_shards(folder):
                    self._opened(region, name)
            undo.pop_all()

    @abstractmethod
    def shard_names(self, folder: Path) -> Iterable[str]:
        """Every shard that a folder may ever have: the instance can open these files and no others."""

    @abstractmethod
    def first_shards(self, folder: Path) -> Iterable[str]:
        """Those of them that are opened at the start."""

    @abstractmethod
    def new_shard(self, region: Region | None, name: str) -> Shard:
        """A shard that is not open yet."""

    def drop(self, placement: Placement) -> None:
        """Delete what the tenant has and write the shard anew without its bytes."""
        self.drop_many([placement])

    def drop_many(self, placements: Sequence[Placement]) -> None:
        """Delete what the tenants have, and write each of their shards anew once."""
        for shard in {self._shard(placement) for placement in placements}:
            shard.expel([each.tenant_id for each in placements if self._shard(each) is shard])

    def stamp(self, placement: Placement) -> TenantId | None:
        """The tenant itself, if the shard's own list holds it."""
        return self._shard(placement).stamp(placement.tenant_id)

    def session(self, placement: Placement) -> Session:
        """A session bound to the tenant."""
        session = TenantSession(self._shard(placement), placement.tenant_id, self._sessions.discard)
        self._sessions.add(session)
        return session

    def maintain(self) -> None:
        """Checkpoint the shards whose log has grown or fills the memory, and look again at those that are damaged."""
        for shard in self._all():
            shard.maintain(self._checkpoint_above)
        self._relieving = self.usable() and self._hub.pressed(relieving=self._relieving)
        if self._relieving:
            self._relieve()

    def usable(self) -> bool:
        """False once DuckDB has given up the instance that all shards are attached to."""
        return not self._hub.lost

    def health(self) -> Mapping[str, str]:
        """What is wrong, by shard."""
        lost = {} if self.usable() else {"instance": "DuckDB gave it up after an error of its own; it is opened anew"}
        return lost | {place: problem for shard in self._all() for place, problem in shard.health().items()}

    def close(self) -> None:
        """Close sessions that were left open, checkpoint, let go of every file."""
        for session in list(self._sessions):
            session.close()
        try:
            for shard in self._all():
                shard.close()
        finally:
            self._hub.close()

    def _relieve(self) -> None:
        """Checkpoint the longest logs until memory is free again; what takes too long is gone on with later."""
        until = time.monotonic() + _SLICE
        for shard in sorted(self._all(), key=Shard.log_size, reverse=True):
            if shard.log_size():
                shard.maintain(0)
            if time.monotonic() > until or not self._hub.pressed(relieving=True):
                return

    def _opened(self, region: Region | None, name: str) -> Shard:
        shard = self.new_shard(region, name)
        self._shards[region][name] = shard
        shard.open()
        return shard

    def _all(self) -> list[Shard]:
        return [shard for shards in self._shards.values() for shard in list(shards.values())]

    def _in(self, region: Region | None) -> dict[str, Shard]:
        shards = self._shards.get(region)
        if shards is None:
            raise BackendError("the tenant's region has no data folder")
        return shards

    def _shard(self, placement: Placement) -> Shard:
        shard = self._in(placement.region).get(placement.location)
        if shard is None:
            raise BackendError("the place that was named is none of this backend's")
        return shard
