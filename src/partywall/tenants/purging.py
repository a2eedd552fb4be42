"""Purging a deleted tenant: its data, its file, its usage; exactly one of purge and restore wins."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from partywall.catalog import Catalog
from partywall.clock import utc
from partywall.directory import Directory
from partywall.errors import TenantConflict, TenantNotFound
from partywall.isolation import Isolation
from partywall.journal import Journal
from partywall.ledger import LifecycleRecord, Operation, OperationState, Transaction
from partywall.model import Status
from partywall.names import Slug, TenantId

__all__ = ["Purging"]


class Purging:
    """Purges tenants; once begun, a purge is finished, also across a crash."""

    KIND: Final = "tenant.purge"

    def __init__(self, catalog: Catalog, directory: Directory, isolation: Isolation, journal: Journal) -> None:
        self._catalog = catalog
        self._directory = directory
        self._isolation = isolation
        self._journal = journal

    def purge(self, tenant_id: TenantId, *, before_due: bool) -> None:
        """Destroy all that is left of a deleted tenant."""
        record = self._directory.imposed(tenant_id)
        if record is not None and record.purged_at is not None:
            raise TenantNotFound("no such tenant")
        if record is None or record.status is not Status.DELETED:
            raise TenantConflict("the tenant is not deleted; delete it first")
        if not before_due and record.purge_at is not None and record.purge_at > self._journal.clock.now():
            raise TenantConflict(f"its retention lasts until {utc(record.purge_at):%Y-%m-%d %H:%M} UTC")
        self._isolation.settle_moves(tenant_id)
        operation = self._unfinished(tenant_id) or self._journal.begin(self.KIND, tenant_id, {})
        self.recover(operation)

    def due(self) -> dict[TenantId, bool]:
        """The tenants whose retention is over, or whose purge was begun and not finished: those map to True."""
        now = self._journal.clock.now()
        due = {
            record.tenant_id: False
            for record in self._directory.all_imposed()
            if record.purged_at is None and record.purge_at is not None and record.purge_at <= now
        }
        begun = [TenantId(str(each.tenant_id)) for each in self._journal.unfinished() if each.kind == self.KIND]
        return due | dict.fromkeys(begun, True)

    def recover(self, operation: Operation) -> None:
        """Carry out the purge; every step may be repeated."""
        tenant_id = TenantId(str(operation.tenant_id))
        self._isolation.drop(tenant_id)
        if self._catalog.snapshot.tenant(tenant_id) is not None:
            self._catalog.remove_tenant(tenant_id, audited=True)
        self._catalog.retire([tenant_id])
        record = self._directory.imposed(tenant_id)
        if record is None:
            raise TenantConflict("the tenant has no record")
        now = self._journal.clock.now()
        tombstone = replace(record, slug=Slug("purged"), reason=None, purged_at=now)
        self._journal.finish(operation, "tenant.purged", {}, also=lambda tx: _forget(tx, tombstone))
        self._journal.ledger.scrub()
        self._catalog.scrub()
        self._directory.impose(tombstone)

    def require_not_begun(self, tenant_id: TenantId) -> None:
        """Raise TenantConflict once the purge has begun: from then on nothing can be restored."""
        if self._unfinished(tenant_id) is not None:
            raise TenantConflict("the purge of this tenant has begun")

    def _unfinished(self, tenant_id: TenantId) -> Operation | None:
        running = self._journal.ledger.read(lambda tx: tx.operations(OperationState.RUNNING))
        mine = [each for each in running if each.kind == self.KIND and each.tenant_id == tenant_id]
        return mine[0] if mine else None


def _forget(tx: Transaction, tombstone: LifecycleRecord) -> None:
    tx.forget_tenant(tombstone.tenant_id)
    tx.redact_audit(tombstone.tenant_id)
    tx.put_lifecycle(tombstone)
