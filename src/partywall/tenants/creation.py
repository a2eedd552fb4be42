"""Making a tenant: journal, file, place in a store, and only then in service."""

from __future__ import annotations

import json
from typing import Final

from partywall.catalog import Catalog
from partywall.directory import Directory
from partywall.errors import InvalidArgument, PartywallError, TenantConflict
from partywall.isolation import Isolation
from partywall.journal import Journal
from partywall.ledger import LifecycleRecord, Operation, Transaction
from partywall.model import Status, Tenant, TenantSpec, grants_of
from partywall.names import TenantId

__all__ = ["Creation"]


class Creation:
    """Creates tenants; what a crash interrupts is finished at the next start."""

    KIND: Final = "tenant.create"

    def __init__(self, catalog: Catalog, directory: Directory, isolation: Isolation, journal: Journal) -> None:
        self._catalog = catalog
        self._directory = directory
        self._isolation = isolation
        self._journal = journal

    def create(self, spec: TenantSpec) -> Tenant:
        """Make the tenant or nothing; the spec has its id."""
        self._check(spec)
        tenant_id = _id(spec)
        document = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
        pending = LifecycleRecord(tenant_id, spec.slug, Status.PENDING)
        operation = self._journal.begin(
            self.KIND, tenant_id, {"spec": document}, also=lambda tx: tx.put_lifecycle(pending)
        )
        self._directory.impose(pending)
        with self._journal.undoing(lambda error: self._undo(operation, error)):
            self._catalog.create_tenant(spec, audited=True)
            self._isolation.provision(tenant_id)
        return self._activate(operation, spec)

    def recover(self, operation: Operation) -> None:
        """Go on where a crash interrupted, or undo when that is no longer possible."""
        spec = TenantSpec.model_validate_json(_json(operation))
        try:
            if self._catalog.snapshot.tenant(_id(spec)) is None:
                self._check(spec)
                self._catalog.create_tenant(spec, audited=True)
            self._isolation.provision(_id(spec))
        except PartywallError as error:
            self._undo(operation, error)
            return
        self._activate(operation, spec)

    def _check(self, spec: TenantSpec) -> None:
        snapshot = self._catalog.snapshot
        if spec.type not in snapshot.plans:
            raise InvalidArgument(f"plan '{spec.type}' is not in plans.yaml; it has {', '.join(snapshot.plans)}")
        if snapshot.by_slug(spec.slug) is not None:
            raise TenantConflict(f"slug '{spec.slug}' is in use")
        for domain in spec.domains:
            if snapshot.by_domain(domain) is not None:
                raise TenantConflict(f"domain '{domain}' is in use")
        self._isolation.check_placeable(grants_of(spec, snapshot.plans).isolation, spec.settings.data_residency)

    def _activate(self, operation: Operation, spec: TenantSpec) -> Tenant:
        active = LifecycleRecord(_id(spec), spec.slug, Status.ACTIVE)

        def also(tx: Transaction) -> None:
            tx.put_lifecycle(active)

        self._journal.finish(operation, "tenant.created", {"slug": spec.slug, "plan": spec.type}, also=also)
        self._directory.impose(active)
        return self._directory.tenant(active.tenant_id)

    def _undo(self, operation: Operation, error: Exception) -> None:
        tenant_id = TenantId(str(operation.tenant_id))
        self._isolation.drop(tenant_id)
        if self._catalog.snapshot.tenant(tenant_id) is not None:
            self._catalog.remove_tenant(tenant_id, audited=True)
        self._catalog.retire([tenant_id])
        now = self._journal.clock.now()
        record = self._directory.imposed(tenant_id)
        slug = record.slug if record else operation.arguments["spec"]["slug"]
        gone = LifecycleRecord(tenant_id, slug, Status.DELETED, purged_at=now)

        def also(tx: Transaction) -> None:
            tx.forget_tenant(tenant_id)
            tx.put_lifecycle(gone)

        self._journal.fail(operation, error, also=also)
        self._directory.impose(gone)


def _id(spec: TenantSpec) -> TenantId:
    return TenantId(str(spec.id))


def _json(operation: Operation) -> str:
    return json.dumps(operation.arguments["spec"])
