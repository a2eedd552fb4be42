"""Moves that files wish for and nobody has made: an edit never moves data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from partywall.backend import Placement
from partywall.directory import Directory
from partywall.ledger import Ledger
from partywall.model import Strategy
from partywall.names import Region, TenantId

__all__ = ["PendingMove", "pending_moves"]


@dataclass(frozen=True, slots=True)
class PendingMove:
    """A tenant whose files wish for another place than the one where its data lives."""

    tenant_id: TenantId
    placement: Placement
    wanted_strategy: Strategy
    wanted_region: Region | None


def pending_moves(directory: Directory, ledger: Ledger) -> Iterator[PendingMove]:
    """The tenants whose plan or file wishes for another strategy or region than their data has."""
    for placement in ledger.read(lambda tx: tx.placements()):
        tenant_id = placement.tenant_id
        if directory.status(tenant_id) is None:
            continue
        strategy = directory.grants(tenant_id).isolation
        region = directory.region(tenant_id)
        if (strategy, region) != (placement.strategy, placement.region):
            yield PendingMove(tenant_id, placement, strategy, region)
