"""``partywall audit``: who did what, when."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from partywall.audit import AuditLog
from partywall.cli.app import Call, command, partywall
from partywall.cli.documents import audit_document
from partywall.cli.references import tenant_id
from partywall.cli.sight import open_for_reading
from partywall.clock import SystemClock
from partywall.names import TenantId, is_tenant_id

__all__ = ["audit"]


@partywall.group()
def audit() -> None:
    """Who did what, when."""


@command(audit, "list")
@click.argument("ref", required=False)
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most so many.")
@click.option("--after", type=click.IntRange(0), help="Those after this sequence number; without it, the newest.")
def list_records(call: Call, ref: str | None, limit: int, after: int | None) -> None:
    """List audit records, oldest first, all or those of a tenant. A purged tenant is named by its id."""
    call.folder.require()
    known = None if ref is None else _known(call, ref)
    with open_for_reading(call.folder) as ledger:
        log = AuditLog(ledger, SystemClock())
        records = log.records(known, after=after or 0, limit=limit, newest=after is None)
    documents = [audit_document(record) for record in records]
    if call.output.as_json:
        call.output.document({"records": documents})
        return
    call.output.table(
        ["sequence", "time", "actor", "action", "tenant", "details"],
        [
            (
                each["sequence"],
                each["at"],
                each["actor"],
                each["action"],
                each["tenant_id"],
                _shown(each["details"]),
            )
            for each in documents
        ],
    )


def _shown(details: Mapping[str, Any]) -> str:
    """Each path that changed from what to what, and then what else is known."""
    changes = details.get("changes")
    if not isinstance(changes, Mapping):
        return _text(details) if details else ""
    rest = {name: value for name, value in details.items() if name not in {"changes", "edit"}}
    lines = [f"{path}: {_text(before)} -> {_text(after)}" for path, (before, after) in changes.items()]
    return ", ".join([*lines, *([_text(rest)] if rest else [])])


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _known(call: Call, ref: str) -> TenantId:
    # An id needs no tenant: the records of one that was purged, or whose file is wrong, are still there.
    return TenantId(ref) if is_tenant_id(ref) else tenant_id(call, ref)
