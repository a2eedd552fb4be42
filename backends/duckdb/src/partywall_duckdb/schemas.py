"""``duckdb-schema``: a schema for each tenant, up to a hundred of them in one file."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from partywall.backend import BackendSetup, Placement
from partywall.errors import BackendError
from partywall.names import Region, TenantId, parse_tenant_id
from partywall_duckdb.backend import HubBackend, region_folders
from partywall_duckdb.contents import Schemas
from partywall_duckdb.files import StoreFiles
from partywall_duckdb.gate import Gate
from partywall_duckdb.layout import require_layout
from partywall_duckdb.options import SchemaOptions
from partywall_duckdb.shard import Shard
from partywall_duckdb.store import place_of

__all__ = ["SchemaBackend"]

_MOST_SHARDS: Final = 500
"""Files of one region. The instance learns their names when it starts, and opens no others afterwards."""
_NAMES: Final = tuple(f"schemas-{number:03d}" for number in range(_MOST_SHARDS))
_SHARD: Final = re.compile(r"schemas-[0-9]{3}")


class SchemaBackend(HubBackend):
    """Shards that are filled one after the other; the placement says which is a tenant's own."""

    def __init__(self, setup: BackendSetup) -> None:
        options = SchemaOptions.parse(setup.options)
        folders = region_folders(setup)
        for folder in folders.values():
            require_layout(folder)
        self._most = options.schemas_per_shard
        self._provisioning = threading.Lock()
        super().__init__(setup, options, folders)

    def provision(self, tenant_id: TenantId, region: Region | None) -> str:
        """The shard that holds the tenant, or from now on will: the first with room."""
        tenant = parse_tenant_id(tenant_id)
        with self._provisioning:
            name = self._holding(region, tenant) or self._with_room(region)
            self._in(region)[name].admit(tenant)
        return name

    def drop_many(self, placements: Sequence[Placement]) -> None:
        """Drop the tenants' schemas, and write each of their shards anew once."""
        super().drop_many(placements)
        # While a shard was damaged, its tenant may have been given room in another one.
        for placement in placements:
            for name, shard in list(self._in(placement.region).items()):
                if name != placement.location and placement.tenant_id in shard.tenants:
                    shard.expel([placement.tenant_id])

    def shard_names(self, folder: Path) -> Iterable[str]:  # noqa: ARG002  # the same in every folder
        """All that there may be."""
        return _NAMES

    def first_shards(self, folder: Path) -> Iterable[str]:
        """Those whose files are there."""
        return sorted({name for path in folder.iterdir() if _SHARD.fullmatch(name := path.name.partition(".")[0])})

    def new_shard(self, region: Region | None, name: str) -> Shard:
        """A shard with a schema for each tenant."""
        alias = name.replace("-", "_") + (f"_in_{region}" if region else "")
        gate = Gate()
        contents = Schemas(alias, self._setup, gate, self._hub.cursor)
        return Shard(
            self._setup, self._hub, StoreFiles(self._folders[region], name), place_of(region, name), gate, contents
        )

    def _shard(self, placement: Placement) -> Shard:
        shards = self._in(placement.region)
        if placement.location in _NAMES and placement.location not in shards:
            with self._provisioning:
                return shards.get(placement.location) or self._opened(placement.region, placement.location)
        return super()._shard(placement)

    def _holding(self, region: Region | None, tenant: TenantId) -> str | None:
        return next((name for name, shard in self._in(region).items() if tenant in shard.tenants), None)

    def _with_room(self, region: Region | None) -> str:
        shards = self._in(region)
        for name in _NAMES:
            shard = shards.get(name) or self._opened(region, name)
            if shard.problem is None and len(shard.tenants) < self._most:
                return name
        raise BackendError("no room is left for the tenant: every file of its region is full")
