"""``duckdb-row``: the rows of many tenants, spread over a few dozen files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from partywall.backend import BackendSetup
from partywall.names import Region, TenantId, parse_tenant_id
from partywall_duckdb.backend import HubBackend, region_folders
from partywall_duckdb.contents import SharedTables
from partywall_duckdb.files import StoreFiles
from partywall_duckdb.gate import Gate
from partywall_duckdb.layout import shard_count, shard_names, shard_of
from partywall_duckdb.options import RowOptions
from partywall_duckdb.shard import Shard
from partywall_duckdb.store import place_of

__all__ = ["RowBackend"]


class RowBackend(HubBackend):
    """A number of shards that was settled when the folder was first used; a tenant's id says which is its own."""

    def __init__(self, setup: BackendSetup) -> None:
        options = RowOptions.parse(setup.options)
        folders = region_folders(setup)
        self._counts = {folder: shard_count(folder, options.shards) for folder in folders.values()}
        super().__init__(setup, options, folders)

    def provision(self, tenant_id: TenantId, region: Region | None) -> str:
        """The shard that holds the tenant, or from now on will."""
        tenant = parse_tenant_id(tenant_id)
        shards = self._in(region)
        found = next((name for name, shard in shards.items() if tenant in shard.tenants), None)
        name = found or shard_of(tenant, self._counts[self._folders[region]])
        shards[name].admit(tenant)
        return name

    def shard_names(self, folder: Path) -> Iterable[str]:
        """As many as the folder began with."""
        return shard_names(folder, self._counts[folder])

    def first_shards(self, folder: Path) -> Iterable[str]:
        """All of them."""
        return self.shard_names(folder)

    def new_shard(self, region: Region | None, name: str) -> Shard:
        """A shard with tables that its tenants share."""
        alias = name.replace("-", "_") + (f"_in_{region}" if region else "")
        contents = SharedTables(alias, self._setup)
        return Shard(
            self._setup, self._hub, StoreFiles(self._folders[region], name), place_of(region, name), Gate(), contents
        )
