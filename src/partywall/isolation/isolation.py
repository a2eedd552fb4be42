"""Where each tenant's data lives, and the handles that reach it."""

from __future__ import annotations

import threading
from functools import partial

from partywall.audit import AuditLog
from partywall.backend import Capability, Placement
from partywall.context import current_tenant
from partywall.directory import Directory, DirectoryChange
from partywall.errors import IsolationBreach, TenantRequired
from partywall.isolation.counting import RowCounter
from partywall.isolation.cursors import Cursors
from partywall.isolation.pending import PendingMove, pending_moves
from partywall.isolation.query import ScopedQuery
from partywall.isolation.recounting import Recounting
from partywall.isolation.scope import Scope
from partywall.isolation.statements import Guard
from partywall.isolation.stores import Stores
from partywall.ledger import Ledger, Transaction
from partywall.model import Status, Strategy
from partywall.names import Region, TenantId

__all__ = ["Isolation"]

_WRITE_TIMEOUT = 10.0
_SETTLE_TIMEOUT = 5.0


class Isolation:
    """The wall: placements, and scoped queries that follow them."""

    def __init__(
        self,
        directory: Directory,
        ledger: Ledger,
        audit: AuditLog,
        stores: Stores,
        guard: Guard,
        cursors: Cursors,
        rows: RowCounter,
    ) -> None:
        self._directory = directory
        self._ledger = ledger
        self._audit = audit
        self._stores = stores
        self._guard = guard
        self._cursors = cursors
        self._rows = rows
        self._scopes: dict[TenantId, Scope] = {}
        self._placing = threading.Lock()
        self.recounting = Recounting(directory, ledger, guard, rows, self._scope, self._opened, self._durable)
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
        return ScopedQuery(known, self._guard, self._cursors, lambda: self._scope(known), timeout=_WRITE_TIMEOUT)

    def validate_access(self, tenant_id: str, table: str, row_id: str) -> bool:
        """Whether the row is the tenant's own; another tenant's and one that does not exist answer alike."""
        return self.query(tenant_id).get(table, row_id) is not None

    def placement(self, tenant_id: str) -> Placement | None:
        """Where the tenant's data lives; None before it is provisioned."""
        known = TenantId(tenant_id)
        return self._ledger.read(lambda tx: tx.placement(known))

    def pending_moves(self) -> list[PendingMove]:
        """The tenants whose plan or file wishes for another strategy or region than their data has."""
        return list(pending_moves(self._directory, self._ledger))

    def check_placeable(self, strategy: Strategy, region: Region | None) -> None:
        """Raise what provisioning would: BackendNotFound, ConfigError, or BackendError for the region."""
        self._stores.chosen(strategy)
        self._stores.check_region(region)

    def provision(self, tenant_id: TenantId) -> Placement:
        """Make room for the tenant where its plan and region say, and record it; finds what is there already."""
        with self._placing:
            existing = self.placement(tenant_id)
            return existing or self._place(tenant_id)

    def drop(self, tenant_id: TenantId) -> None:
        """Destroy the tenant's data, down to its bytes on disk; its record stays with the caller."""
        self.settle(tenant_id)
        placement = self.placement(tenant_id)
        if placement is not None:
            self._stores.backend(placement.backend).drop(placement)
        self._scopes.pop(tenant_id, None)

    def settle(self, tenant_id: TenantId) -> bool:
        """Wait a few seconds until the tenant has no statement in progress; False when one is left."""
        scope = self._scopes.get(tenant_id)
        return scope is None or scope.settle(_SETTLE_TIMEOUT)

    def on_change(self, change: DirectoryChange) -> None:
        """Stop the work in progress of every tenant that just left service."""
        for tenant_id, (_, after) in change.statuses.items():
            scope = self._scopes.get(tenant_id)
            if scope is not None and after is not Status.ACTIVE:
                scope.cancel()

    def _scope(self, tenant_id: TenantId) -> Scope:
        scope = self._scopes.get(tenant_id)
        if scope is None:
            self._directory.require_active(tenant_id)
            scope = self._scopes.setdefault(tenant_id, self._opened(self.provision(tenant_id)))
        return scope

    def _opened(self, placement: Placement) -> Scope:
        backend = self._stores.backend(placement.backend)
        if not self._durable(placement):
            # A store that forgets has forgotten the place too, if it was made before the last start.
            backend.provision(placement.tenant_id, placement.region)
        capabilities = self._stores.named(placement.backend).spec.capabilities
        opened = partial(self._stores.backend, placement.backend)
        return Scope(self._directory, placement, opened, capabilities, self._rows)

    def _durable(self, placement: Placement) -> bool:
        return Capability.DURABLE in self._stores.named(placement.backend).spec.capabilities

    def _place(self, tenant_id: TenantId) -> Placement:
        strategy = self._directory.grants(tenant_id).isolation
        region = self._directory.spec(tenant_id).settings.data_residency
        self.check_placeable(strategy, region)
        found = self._stores.chosen(strategy)
        location = self._stores.backend(found.spec.name).provision(tenant_id, region)
        placement = Placement(tenant_id, strategy, found.spec.name, region, location)
        details = {"strategy": str(strategy), "backend": found.spec.name, "region": region}

        def record(tx: Transaction) -> None:
            tx.put_placement(placement)
            self._audit.record(tx, "tenant.provisioned", tenant_id=tenant_id, details=details)

        self._ledger.write(record)
        return placement
