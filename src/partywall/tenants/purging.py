"""Purging a deleted tenant: its data, its file, its usage; exactly one of purge and restore wins."""

from __future__ import annotations

from collections.abc import Iterable
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

    def begin(self, tenant_id: TenantId, *, before_due: bool) -> Operation:
        """Commit that all that is left of a deleted tenant will be destroyed; from here on it cannot be restored."""
        record = self._directory.imposed(tenant_id)
        if record is not None and record.purged_at is not None:
            raise TenantNotFound("no such tenant")
        if record is None or record.status is not Status.DELETED:
            raise TenantConflict("the tenant is not deleted; delete it first")
        if not before_due and record.purge_at is not None and record.purge_at > self._journal.clock.now():
            raise TenantConflict(f"its retention lasts until {utc(record.purge_at):%Y-%m-%d %H:%M} UTC")
        self._isolation.settle_moves(tenant_id)
        return self._unfinished(tenant_id) or self._journal.begin(self.KIND, tenant_id, {})

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

    def together(self, operations: Iterable[Operation]) -> list[list[Operation]]:
        """The purges in groups that share the work of writing a store anew."""
        of = {TenantId(str(operation.tenant_id)): operation for operation in operations}
        return [[of[tenant_id] for tenant_id in group] for group in self._isolation.together(of)]

    def carry_out(self, *operations: Operation) -> list[TenantId]:
        """Carry the purges out; every step may be repeated. Returns whom nobody else had purged meanwhile."""
        left = [each for each in operations if not self._is_buried(TenantId(str(each.tenant_id)))]
        tenant_ids = [TenantId(str(operation.tenant_id)) for operation in left]
        self._isolation.drop(*tenant_ids)
        for tenant_id in tenant_ids:
            if self._catalog.snapshot.tenant(tenant_id) is not None:
                self._catalog.remove_tenant(tenant_id, audited=True)
        self._catalog.retire(tenant_ids)
        tombstones = [self._bury(operation) for operation in left]
        self._journal.ledger.scrub()
        self._catalog.scrub()
        for tombstone in tombstones:
            self._directory.impose(tombstone)
        return tenant_ids

    def require_not_begun(self, tenant_id: TenantId) -> None:
        """Raise TenantConflict once the purge has begun: from then on nothing can be restored."""
        if self._unfinished(tenant_id) is not None:
            raise TenantConflict("the purge of this tenant has begun")

    def _is_buried(self, tenant_id: TenantId) -> bool:
        record = self._directory.imposed(tenant_id)
        return record is not None and record.purged_at is not None

    def _bury(self, operation: Operation) -> LifecycleRecord:
        record = self._directory.imposed(TenantId(str(operation.tenant_id)))
        if record is None:
            raise TenantConflict("the tenant has no record")
        now = self._journal.clock.now()
        tombstone = replace(record, slug=Slug("purged"), reason=None, purged_at=now)
        self._journal.finish(operation, "tenant.purged", {}, also=lambda tx: _forget(tx, tombstone))
        return tombstone

    def _unfinished(self, tenant_id: TenantId) -> Operation | None:
        running = self._journal.ledger.read(lambda tx: tx.operations(OperationState.RUNNING))
        mine = [each for each in running if each.kind == self.KIND and each.tenant_id == tenant_id]
        return mine[0] if mine else None


def _forget(tx: Transaction, tombstone: LifecycleRecord) -> None:
    tx.forget_tenant(tombstone.tenant_id)
    tx.redact_audit(tombstone.tenant_id)
    tx.put_lifecycle(tombstone)
