"""Where each tenant's data lives, and the handles that reach it."""

from __future__ import annotations

from collections.abc import Iterable

from partywall.backend import Placement
from partywall.context import current_tenant
from partywall.directory import Directory, DirectoryChange
from partywall.errors import InvalidArgument, IsolationBreach, TenantRequired
from partywall.isolation.counting import RowCounter
from partywall.isolation.cursors import Cursors
from partywall.isolation.moving import Batch, Edit, Move, Moves
from partywall.isolation.pending import PendingMove, pending_moves
from partywall.isolation.places import Places, StoreProblem
from partywall.isolation.query import ScopedQuery
from partywall.isolation.rawsql import RawSql
from partywall.isolation.recounting import Recounting
from partywall.isolation.scope import Scope
from partywall.isolation.statements import Guard
from partywall.isolation.stores import Stores
from partywall.journal import Journal
from partywall.model import Status, Strategy
from partywall.names import Region, TenantId, parse_region

__all__ = ["Isolation"]

_WRITE_TIMEOUT = 10.0
_SETTLE_TIMEOUT = 5.0


class Isolation:
    """The wall: placements, scoped queries that follow them, and moves between them."""

    def __init__(
        self,
        directory: Directory,
        journal: Journal,
        stores: Stores,
        guard: Guard,
        cursors: Cursors,
        raw: RawSql,
        rows: RowCounter,
        edit: Edit,
    ) -> None:
        self._directory = directory
        self._stores = stores
        self._guard = guard
        self._cursors = cursors
        self._raw = raw
        self._ledger = journal.ledger
        self._places = Places(directory, journal.ledger, journal.audit, stores, rows)
        self._moves = Moves(self._places, directory, stores, journal, guard.tables, edit)
        places = self._places
        self.recounting = Recounting(directory, journal.ledger, guard, rows, self._scope, places.opened, places.durable)
        """Counts rows that quotas count where nobody knows how many there are."""

    def query(self, tenant_id: str | None = None) -> ScopedQuery:
        """A handle bound to the tenant, or to the one of the tenant context when none is named.

        TenantRequired without either. Naming another tenant than the context's is an IsolationBreach: code
        that works for one tenant has no business with another's rows.
        """
        context = current_tenant()
        if tenant_id is None:
            if context is None:
                raise TenantRequired("no tenant context is set here; enter one, or name the tenant")
            tenant_id = context.tenant_id
        elif context is not None and context.tenant_id != tenant_id:
            raise IsolationBreach("the tenant context belongs to another tenant than the one named")
        known = self._directory.require_active(tenant_id)
        return ScopedQuery(
            known, self._guard, self._cursors, self._raw, lambda: self._scope(known), timeout=_WRITE_TIMEOUT
        )

    def validate_access(self, tenant_id: str, table: str, row_id: str) -> bool:
        """Whether the row is the tenant's own; another tenant's and one that does not exist answer alike."""
        return self.query(tenant_id).get(table, row_id) is not None

    def placement(self, tenant_id: str) -> Placement | None:
        """Where the tenant's data lives; None before it is provisioned."""
        return self._places.placement(TenantId(tenant_id))

    def move(self, tenant_id: str, *, to: Strategy | str | None = None, region: str | None = None) -> Move:
        """Move the tenant's data to another isolation strategy, region or both; told neither, where its file wishes.

        Reads go on meanwhile, and writes wait; handles follow. The file wishes for what was named afterwards, and
        nothing is left in the old place. Only tables and columns that tables.yaml declares are taken along. Raises,
        having moved nothing: TenantConflict when a transaction stays open for 30 s, or the tenant is deleted or being
        moved; BackendNotFound, ConfigError or BackendError for a place that cannot be had.
        """
        known = self._directory.find(tenant_id)
        return self._moves.move(known, _strategy(to), None if region is None else parse_region(region))

    def move_pending(self) -> Batch:
        """Carry out every pending move; what failed changed nothing, is named, and can be tried again."""
        return self._moves.move_pending()

    def pending_moves(self) -> list[PendingMove]:
        """The tenants whose plan or file wishes for another strategy or region than their data has."""
        return list(pending_moves(self._directory, self._ledger))

    def finish_moves(self) -> None:
        """Undo or finish the moves that were interrupted; one that cannot be yet is tried again."""
        self._moves.finish_left()

    def check_placeable(self, strategy: Strategy, region: Region | None) -> None:
        """Raise what provisioning would: BackendNotFound, ConfigError, or BackendError for the region."""
        self._places.check_placeable(strategy, region)

    def check_stores(self) -> list[StoreProblem]:
        """What is wrong with the stores: each tenant's place is opened, and asked whose it is."""
        return self._places.check()

    def provision(self, tenant_id: TenantId) -> Placement:
        """Make room for the tenant where its plan and region say, and record it; finds what is there already."""
        return self._places.provision(tenant_id)

    def settle_moves(self, tenant_id: TenantId) -> None:
        """Finish what an interrupted move left of the tenant; TenantConflict while one is under way."""
        self._moves.settle(tenant_id)

    def together(self, tenant_ids: Iterable[TenantId]) -> list[list[TenantId]]:
        """The tenants in groups that are best dropped at once: those of one place."""
        groups: dict[tuple[object, ...], list[TenantId]] = {}
        for tenant_id in tenant_ids:
            placement = self._places.placement(tenant_id)
            place = (placement.backend, placement.region, placement.location) if placement else (tenant_id,)
            groups.setdefault(place, []).append(tenant_id)
        return list(groups.values())

    def drop(self, *tenant_ids: TenantId) -> None:
        """Destroy the tenants' data, down to its bytes on disk; their records stay with the caller."""
        backends: dict[str, list[Placement]] = {}
        for tenant_id in tenant_ids:
            self._moves.settle(tenant_id)
            self.settle(tenant_id)
            placement = self._places.placement(tenant_id)
            if placement is not None:
                backends.setdefault(placement.backend, []).append(placement)
        for name, placements in backends.items():
            self._stores.backend(name).drop_many(placements)
        for tenant_id in tenant_ids:
            self._places.forget(tenant_id)

    def settle(self, tenant_id: TenantId) -> bool:
        """Wait a few seconds until the tenant has no statement in progress; False when one is left."""
        scope = self._places.open_scope(tenant_id)
        return scope is None or scope.settle(_SETTLE_TIMEOUT)

    def on_change(self, change: DirectoryChange) -> None:
        """Stop the work in progress of every tenant that just left service."""
        for tenant_id, (_, after) in change.statuses.items():
            scope = self._places.open_scope(tenant_id)
            if scope is not None and after is not Status.ACTIVE:
                scope.cancel()

    def _scope(self, tenant_id: TenantId) -> Scope:
        scope = self._places.open_scope(tenant_id)
        if scope is None:
            self._directory.require_active(tenant_id)
            scope = self._places.scope(tenant_id)
        return scope


def _strategy(named: Strategy | str | None) -> Strategy | None:
    if named is not None and named not in tuple(Strategy):
        raise InvalidArgument(f"to: one of {', '.join(Strategy)}")
    return None if named is None else Strategy(named)
