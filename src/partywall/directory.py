"""Which tenants there are and where each stands: the files' word and the ledger's, the stricter one in force.

Every room asks here before it does anything for a tenant, on every operation. The answer to
``require_active`` is one dictionary look-up; it changes the moment a suspension is committed or an edited
file is in force, and listeners hear of it after that.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from partywall.catalog import Catalog, CatalogChange
from partywall.clock import utc
from partywall.errors import BackendError, PartywallError, TenantDeleted, TenantNotFound, TenantPending, TenantSuspended
from partywall.ledger import Ledger, LifecycleRecord
from partywall.model import Grants, Status, Tenant, TenantSpec
from partywall.names import PlanName, Region, TenantId, is_tenant_id

__all__ = ["Directory", "DirectoryChange", "refusal_of", "stricter"]

_log: Final = logging.getLogger("partywall.directory")


@dataclass(frozen=True, slots=True)
class DirectoryChange:
    """What is different from now on."""

    statuses: Mapping[TenantId, tuple[Status | None, Status | None]]
    """Tenants whose status in force changed: before and after; None stands for a tenant that is not there."""
    tenants: frozenset[TenantId] = frozenset()
    """Tenants whose file changed, so that their grants may have."""
    plans: frozenset[PlanName] = frozenset()
    """Plans that changed, so that the grants of every tenant on them did."""


def stricter(declared: Status, imposed: Status) -> Status:
    """The status in force: the stricter of what the file declares and what the engine imposed."""
    return max(declared, imposed, key=lambda status: status.strictness)


def refusal_of(status: Status) -> PartywallError | None:
    """The error for a tenant that is there with this status; None for one in service."""
    match status:
        case Status.SUSPENDED:
            return TenantSuspended("the tenant is suspended; resume it to go on")
        case Status.DELETED:
            return TenantDeleted("the tenant is deleted; it can be restored until it is purged")
        case Status.PENDING:
            return TenantPending("the tenant is not in service yet")
        case Status.ACTIVE:
            return None


class Directory:
    """The tenants in force. Thread-safe; reading never waits."""

    def __init__(self, catalog: Catalog, ledger: Ledger) -> None:
        self._catalog = catalog
        self._listeners: list[Callable[[DirectoryChange], None]] = []
        self._changing = threading.RLock()
        self._closed = False
        self._status: dict[TenantId, Status] = {}
        self._counts: Counter[Status] = Counter()
        # A record that imposes nothing is as good as none, and there may be one for each tenant.
        self._imposed = {each.tenant_id: each for each in ledger.read(lambda tx: tx.lifecycles()) if _imposes(each)}
        self._settle(catalog.snapshot.ids())
        catalog.subscribe(self._on_catalog)

    def ids(self) -> list[TenantId]:
        """Every tenant that is there, whatever its status."""
        return list(self._status)

    def status(self, tenant_id: TenantId) -> Status | None:
        """The status in force; None for a tenant that is not there."""
        return self._status.get(tenant_id)

    def counts(self) -> Mapping[Status, int]:
        """How many tenants stand where."""
        with self._changing:
            return {status: self._counts[status] for status in Status}

    def imposed(self, tenant_id: TenantId) -> LifecycleRecord | None:
        """What the engine imposed on the tenant, tombstones included; None for nothing."""
        return self._imposed.get(tenant_id)

    def all_imposed(self) -> list[LifecycleRecord]:
        """Everything that the engine imposed, tombstones included."""
        return list(self._imposed.values())

    def require_active(self, tenant_id: str) -> TenantId:
        """The id itself if its tenant is in service.

        Raises TenantNotFound, TenantPending, TenantSuspended or TenantDeleted otherwise.
        """
        # A subclass of str may compare as one tenant and read as another.
        if type(tenant_id) is str and self._status.get(TenantId(tenant_id)) is Status.ACTIVE:
            return TenantId(tenant_id)
        raise self._refusal(tenant_id)

    def find(self, reference: str) -> TenantId:
        """The id of a tenant named by id or slug, whatever its status; TenantNotFound otherwise."""
        if type(reference) is not str:
            raise self._absence()
        if is_tenant_id(reference):
            tenant_id: TenantId | None = TenantId(reference)
        else:
            entry = self._catalog.snapshot.entry_by_slug(reference)
            tenant_id = entry.id if entry else None
        if tenant_id is None or tenant_id not in self._status:
            raise self._absence()
        return tenant_id

    def by_domain(self, host: str) -> TenantId | None:
        """The tenant that declares the host among its own domains."""
        entry = self._catalog.snapshot.entry_by_domain(host)
        return entry.id if entry and entry.id in self._status else None

    def spec(self, tenant_id: str) -> TenantSpec:
        """What the tenant's file declares; TenantNotFound."""
        spec = self._catalog.snapshot.tenant(TenantId(tenant_id))
        if spec is None or tenant_id not in self._status:
            raise self._absence()
        return spec

    def region(self, tenant_id: str) -> Region | None:
        """The region that the tenant's file declares; TenantNotFound."""
        entry = self._catalog.snapshot.entry(tenant_id)
        if entry is None or tenant_id not in self._status:
            raise self._absence()
        return entry.region

    def grants(self, tenant_id: str) -> Grants:
        """What the tenant is granted: its plan, overridden by its own file; TenantNotFound."""
        grants = self._catalog.snapshot.grants(TenantId(tenant_id))
        if grants is None or tenant_id not in self._status:
            raise self._absence()
        return grants

    def tenant(self, tenant_id: str) -> Tenant:
        """The tenant as it is in force; TenantNotFound."""
        known = TenantId(tenant_id)
        version = self._catalog.snapshot.version_of(known)  # first: one that is too old is refused, one too new is not
        spec, grants = self.spec(tenant_id), self.grants(tenant_id)
        imposed = self._imposed.get(known) or LifecycleRecord(known, spec.slug, Status.ACTIVE)
        status = self._status[known]
        out = status in (Status.SUSPENDED, Status.DELETED)
        return Tenant(
            id=known,
            name=spec.name,
            slug=spec.slug,
            plan=spec.type,
            status=status,
            owner=spec.owner,
            settings=spec.settings,
            quotas=grants.quotas,
            isolation=grants.isolation,
            billing=spec.billing,
            domains=spec.domains,
            version=version,
            created_at=spec.created_at,
            suspended_at=_moment(imposed.suspended_at) or spec.suspended_at if out else None,
            suspension_reason=imposed.reason or spec.suspension_reason if out else None,
            deleted_at=_moment(imposed.deleted_at) or spec.deleted_at if out else None,
            purge_at=_moment(imposed.purge_at),
        )

    def impose(self, record: LifecycleRecord) -> None:
        """Put in force what was just committed to the ledger; listeners have heard of it when this returns."""
        with self._changing:
            self._imposed[record.tenant_id] = record
            self._publish(self._settle([record.tenant_id]), frozenset(), frozenset())

    def subscribe(self, listener: Callable[[DirectoryChange], None]) -> None:
        """Call the listener after each change, in order, from whichever thread made it; it must not wait."""
        self._listeners.append(listener)

    def close(self) -> None:
        """Refuse everything from now on: the engine is closing."""
        with self._changing:
            self._closed = True
            self._status = {}
            self._counts.clear()

    def disown(self) -> None:
        """Refuse everything, without the lock, in a process forked from the engine's."""
        self._closed = True
        self._status = {}

    def _absence(self) -> PartywallError:
        return BackendError("the engine is closed") if self._closed else TenantNotFound("no such tenant")

    def _refusal(self, tenant_id: object) -> PartywallError:
        status = self._status.get(TenantId(tenant_id)) if type(tenant_id) is str else None
        return (None if status is None else refusal_of(status)) or self._absence()

    def _on_catalog(self, change: CatalogChange) -> None:
        with self._changing:
            if self._closed:
                return
            self._publish(self._settle(change.tenants), change.tenants, change.plans)

    def _in_force(self, tenant_id: TenantId) -> Status | None:
        entry = self._catalog.snapshot.entry(tenant_id)
        imposed = self._imposed.get(tenant_id)
        if entry is None or (imposed is not None and imposed.purged_at is not None):
            return None
        return stricter(entry.status, imposed.status) if imposed else entry.status

    def _settle(self, tenant_ids: Iterable[TenantId]) -> dict[TenantId, tuple[Status | None, Status | None]]:
        changed: dict[TenantId, tuple[Status | None, Status | None]] = {}
        for tenant_id in tenant_ids:
            before, after = self._status.get(tenant_id), self._in_force(tenant_id)
            if before is after:
                continue
            changed[tenant_id] = (before, after)
            if before is not None:
                self._counts[before] -= 1
            if after is None:
                del self._status[tenant_id]
            else:
                self._counts[after] += 1
                self._status[tenant_id] = after
        return changed

    def _publish(
        self,
        statuses: Mapping[TenantId, tuple[Status | None, Status | None]],
        tenants: frozenset[TenantId],
        plans: frozenset[PlanName],
    ) -> None:
        if not (statuses or tenants or plans):
            return
        change = DirectoryChange(statuses, tenants, plans)
        for listener in tuple(self._listeners):
            try:
                listener(change)
            except Exception:  # noqa: BLE001  # one listener must not keep a change from the others
                _log.exception("a listener failed on a change of tenants")


def _imposes(record: LifecycleRecord) -> bool:
    moments = (record.suspended_at, record.deleted_at, record.purge_at, record.purged_at)
    return record.status is not Status.ACTIVE or any(moment is not None for moment in moments)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else utc(seconds)
