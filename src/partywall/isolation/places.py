"""Each tenant's placement and the scope that follows it: one of each at any moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from partywall.audit import AuditLog
from partywall.backend import Backend, Capability, Placement
from partywall.directory import Directory
from partywall.errors import PartywallError
from partywall.isolation.counting import RowCounter
from partywall.isolation.scope import Scope
from partywall.isolation.stores import Stores
from partywall.ledger import Ledger, Transaction
from partywall.model import Strategy
from partywall.names import Region, TenantId

__all__ = ["Places", "StoreProblem"]


@dataclass(frozen=True, slots=True)
class StoreProblem:
    """One thing that is wrong with a store."""

    backend: str
    place: str
    """The region, if any, and the backend's own words for the place."""
    problem: str
    tenant_id: TenantId | None = None
    """Whose place could not be opened; None where the store itself tells what is wrong."""


class Places:
    """Places tenants, and gives out their scopes. What the ledger says of a placement is the truth."""

    def __init__(self, directory: Directory, ledger: Ledger, audit: AuditLog, stores: Stores, rows: RowCounter) -> None:
        self._directory = directory
        self._ledger = ledger
        self._audit = audit
        self._stores = stores
        self._rows = rows
        self._scopes: dict[TenantId, Scope] = {}
        self._placing = threading.Lock()

    def placement(self, tenant_id: TenantId) -> Placement | None:
        """Where the tenant's data lives; None before it is provisioned."""
        return self._ledger.read(lambda tx: tx.placement(tenant_id))

    def wanted(self, tenant_id: TenantId) -> tuple[Strategy, Region | None]:
        """The strategy and region that the tenant's plan and file wish for."""
        region = self._directory.spec(tenant_id).settings.data_residency
        return self._directory.grants(tenant_id).isolation, region

    def check_placeable(self, strategy: Strategy, region: Region | None) -> None:
        """Raise what provisioning would: BackendNotFound, ConfigError, or BackendError for the region."""
        self._stores.chosen(strategy)
        self._stores.check_region(region)

    def provision(self, tenant_id: TenantId) -> Placement:
        """Make room for the tenant where its plan and region say, and record it; finds what is there already."""
        with self._placing:
            return self.placement(tenant_id) or self._place(tenant_id)

    def scope(self, tenant_id: TenantId) -> Scope:
        """The tenant's scope; the tenant is provisioned if it never was."""
        scope = self._scopes.get(tenant_id)
        if scope is None:
            with self._placing:
                scope = self._scopes.get(tenant_id)
                if scope is None:
                    scope = self.opened(self.placement(tenant_id) or self._place(tenant_id))
                    self._scopes[tenant_id] = scope
        return scope

    def open_scope(self, tenant_id: TenantId) -> Scope | None:
        """The tenant's scope, if anybody asked for it since it was placed."""
        return self._scopes.get(tenant_id)

    def forget(self, tenant_id: TenantId) -> None:
        """Give out a new scope from now on, as the ledger says then."""
        self._scopes.pop(tenant_id, None)

    def switch(self, tenant_id: TenantId, commit: Callable[[], None]) -> None:
        """Run what changes the placement in the ledger; nobody is given a scope of before once it has begun."""
        with self._placing:
            try:
                commit()
            finally:
                self.forget(tenant_id)

    def ready(self, placement: Placement) -> Backend:
        """The placement's backend, which has the place: a store that forgets makes room for it again."""
        backend = self._stores.backend(placement.backend)
        if not self.durable(placement):
            backend.provision(placement.tenant_id, placement.region)
        return backend

    def check(self) -> list[StoreProblem]:
        """What is wrong with the places of tenants: each is opened, and asked whose it is."""
        found: dict[StoreProblem, None] = {}
        for placement in self._ledger.read(lambda tx: tx.placements()):
            try:
                self.ready(placement).session(placement).close()
            except PartywallError as error:
                place = f"{placement.region}/{placement.location}" if placement.region else placement.location
                found[StoreProblem(placement.backend, place, str(error), placement.tenant_id)] = None
        for backend, problems in self._stores.health().items():
            found |= {StoreProblem(backend, place, problem): None for place, problem in problems.items()}
        return list(found)

    def opened(self, placement: Placement) -> Scope:
        """A scope that follows the placement, and that is nobody else's."""
        self.ready(placement)
        backend = partial(self._stores.backend, placement.backend)
        return Scope(self._directory, placement, backend, self.capabilities(placement), self._rows)

    def durable(self, placement: Placement) -> bool:
        """Whether the placement's backend keeps rows across a restart."""
        return Capability.DURABLE in self.capabilities(placement)

    def capabilities(self, placement: Placement) -> frozenset[Capability]:
        """What the placement's backend does itself."""
        return self._stores.named(placement.backend).spec.capabilities

    def _place(self, tenant_id: TenantId) -> Placement:
        strategy, region = self.wanted(tenant_id)
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
