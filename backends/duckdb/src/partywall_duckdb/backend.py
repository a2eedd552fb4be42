"""``duckdb-row``: the rows of many tenants, spread over a few dozen files."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

from partywall.backend import Backend, BackendSetup, Placement, Session
from partywall.errors import BackendError
from partywall.names import Region, TenantId, parse_tenant_id
from partywall_duckdb.files import StoreFiles
from partywall_duckdb.hub import Hub
from partywall_duckdb.layout import LAYOUT, shard_count, shard_names, shard_of
from partywall_duckdb.options import Options
from partywall_duckdb.selftest import self_test
from partywall_duckdb.session import RowSession
from partywall_duckdb.shard import Shard

__all__ = ["RowBackend"]


class RowBackend(Backend):
    """One hub, the shards of every region attached to it, and the sessions that are open."""

    def __init__(self, setup: BackendSetup) -> None:
        self._options = Options.parse(setup.options)
        folders = {region: setup.folder(region).resolve() for region in setup.every_region()}
        self._counts = {region: shard_count(folder, self._options.shards) for region, folder in folders.items()}
        files = {
            region: {name: StoreFiles(folder, name) for name in shard_names(folder, self._counts[region])}
            for region, folder in folders.items()
        }
        paths = [path for each in files.values() for store in each.values() for path in (store.main, store.new)]
        self._hub = Hub(self._options, paths)
        self._shards = {
            region: {name: Shard(self._hub, setup, region, name, store) for name, store in each.items()}
            for region, each in files.items()
        }
        self._sessions: set[RowSession] = set()
        with ExitStack() as undo:
            undo.callback(self.close)  # an engine that does not start holds no file
            self_test(self._hub, folders[None] / LAYOUT)
            for shard in self._all():
                shard.open()
            undo.pop_all()

    def provision(self, tenant_id: TenantId, region: Region | None) -> str:
        """The shard that holds the tenant, or from now on will."""
        tenant = parse_tenant_id(tenant_id)
        shards = self._in(region)
        found = next((name for name, shard in shards.items() if tenant in shard.tenants), None)
        name = found or shard_of(tenant, self._counts[region])
        shards[name].admit(tenant)
        return name

    def drop(self, placement: Placement) -> None:
        """Delete the tenant's rows and write the shard anew without their bytes."""
        self._shard(placement).expel(placement.tenant_id)

    def stamp(self, placement: Placement) -> TenantId | None:
        """The tenant itself, if the shard's own list holds it."""
        return self._shard(placement).stamp(placement.tenant_id)

    def session(self, placement: Placement) -> Session:
        """A session bound to the tenant."""
        session = RowSession(self._hub, self._shard(placement), placement.tenant_id, self._sessions.discard)
        self._sessions.add(session)
        return session

    def maintain(self) -> None:
        """Checkpoint the shards whose log has grown, and look again at those that are damaged."""
        for shard in self._all():
            shard.maintain(self._options.checkpoint_wal_bytes)

    def health(self) -> Mapping[str, str]:
        """What is wrong, by shard."""
        return {shard.place.lstrip("/"): shard.problem for shard in self._all() if shard.problem is not None}

    def close(self) -> None:
        """Close sessions that were left open, checkpoint, let go of every file."""
        for session in list(self._sessions):
            session.close()
        try:
            for shard in self._all():
                shard.close()
        finally:
            self._hub.close()

    def _all(self) -> list[Shard]:
        return [shard for shards in self._shards.values() for shard in shards.values()]

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
