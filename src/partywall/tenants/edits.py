"""What operators' edits changed: each applied change of a file becomes an audit record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

from partywall.audit import AuditLog, acting_as, changes
from partywall.catalog import CatalogChange
from partywall.ledger import Ledger, Transaction

__all__ = ["record_file_edits"]


def record_file_edits(ledger: Ledger, audit: AuditLog) -> Callable[[CatalogChange], None]:
    """A listener for the catalog that writes one record for each tenant and plan that a file changed."""

    def listener(change: CatalogChange) -> None:
        if change.source == "file" and (change.tenants or change.plans):
            with acting_as("file"):
                ledger.write(lambda tx: _record(tx, audit, change))

    return listener


def _record(tx: Transaction, audit: AuditLog, change: CatalogChange) -> None:
    before, after = change.previous, change.snapshot
    for tenant_id in sorted(change.tenants):
        old, new = before.tenant(tenant_id), after.tenant(tenant_id)
        audit.record(tx, _action("tenant", old, new), tenant_id=tenant_id, details=_details(old, new))
    for plan in sorted(change.plans):
        old_plan, new_plan = before.plans.get(plan), after.plans.get(plan)
        details = {"plan": plan, **_details(old_plan, new_plan)}
        audit.record(tx, _action("plan", old_plan, new_plan), details=details)


def _action(what: str, old: object, new: object) -> str:
    if old is None:
        return f"{what}.file_added"
    return f"{what}.file_removed" if new is None else f"{what}.file_changed"


def _details(old: BaseModel | None, new: BaseModel | None) -> Mapping[str, Any]:
    return {"changes": changes(_document(old), _document(new))} if old and new else {}


def _document(model: BaseModel | None) -> Mapping[str, Any] | None:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True) if model else None
