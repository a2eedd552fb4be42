"""What quotas ask of the directory, and the check that no suspension or purge can slip past."""

from __future__ import annotations

from typing import Protocol

from partywall.directory import refusal_of
from partywall.errors import TenantNotFound
from partywall.ledger import Transaction
from partywall.model import Grants, Status
from partywall.names import TenantId

__all__ = ["Tenants", "require_in_service", "require_known", "require_there"]


class Tenants(Protocol):
    """The part of the directory that is needed here."""

    def require_active(self, tenant_id: str) -> TenantId:
        """The id itself if its tenant is in service, or the typed refusal."""

    def status(self, tenant_id: TenantId) -> Status | None:
        """The status in force; None for a tenant that is not there."""

    def grants(self, tenant_id: str) -> Grants:
        """What the tenant is granted; TenantNotFound."""


def require_known(tenants: Tenants, tenant_id: str) -> TenantId:
    """The id itself if its tenant is there, whatever its status; otherwise the directory's refusal."""
    known = TenantId(tenant_id)
    return known if tenants.status(known) is not None else tenants.require_active(tenant_id)


def require_there(tenants: Tenants, tx: Transaction, tenant_id: str) -> TenantId:
    """The id itself if its tenant is there and not purged in this very transaction, whatever its status."""
    known = require_known(tenants, tenant_id)
    imposed = tx.lifecycle(known)
    if imposed is not None and imposed.purged_at is not None:
        raise TenantNotFound("no such tenant")
    return known


def require_in_service(tenants: Tenants, tx: Transaction, tenant_id: str) -> TenantId:
    """The id itself if its tenant is in service in this very transaction, or the typed refusal.

    The ledger is asked too: a suspension is committed there a moment before the directory says so, and
    usage that is written after a purge would bring back what was forgotten.
    """
    known = tenants.require_active(tenant_id)
    imposed = tx.lifecycle(known)
    refusal = None if imposed is None else refusal_of(imposed.status)
    if refusal is not None:
        raise refusal
    return known
