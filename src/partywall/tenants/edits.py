"""What edits changed: each applied change of a file, and each edit by a caller, becomes an audit record once."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, Final

from partywall.audit import AuditLog, changes
from partywall.catalog import Catalog, Edit, Edited
from partywall.ledger import Ledger, OperationState, Transaction
from partywall.names import TenantId

__all__ = ["EditLog"]

_FILE: Final = "file"
_LATEST: Final = 10_000
"""Records among which those of a killed engine's last edits are looked for."""


class EditLog:
    """Writes the records of the catalog's edits, each edit's in one transaction, and then forgets the edits.

    What a kill or a failing ledger interrupts is written later, with nothing lost and nothing twice.
    """

    def __init__(self, catalog: Catalog, ledger: Ledger, audit: AuditLog) -> None:
        self._catalog = catalog
        self._ledger = ledger
        self._audit = audit
        self._writing = threading.Lock()

    def recover(self) -> None:
        """Write what was left behind, and what was edited while no engine ran.

        A step that a kill interrupted writes its own record once it is finished, so its paths are left to it.
        """
        running = self._ledger.read(lambda tx: tx.operations(OperationState.RUNNING))
        steps = {
            TenantId(each.tenant_id): each.arguments.get("edits") for each in running if each.tenant_id is not None
        }
        self._write(steps)

    def write(self, _change: object = None) -> None:
        """Write what is not on record yet; LedgerError leaves it to the next call."""
        self._write({})

    def _write(self, steps: Mapping[TenantId, Collection[str] | None]) -> None:
        with self._writing:
            pending = self._catalog.unrecorded()
            known = self._known() if any(edited.left_behind for edited in pending) else frozenset[str]()
            for edited in pending:
                if edited.id not in known:
                    self._ledger.write(partial(self._record, edited, steps))
                self._catalog.recorded(edited.id)

    def _known(self) -> frozenset[str]:
        records = self._audit.records(limit=_LATEST, newest=True)
        return frozenset(str(record.details["edit"]) for record in records if "edit" in record.details)

    def _record(self, edited: Edited, steps: Mapping[TenantId, Collection[str] | None], tx: Transaction) -> None:
        for edit in edited.edits:
            found = changes(_document(edit.before), _document(edit.after))
            if edit.tenant_id is not None and edit.tenant_id in steps:
                own = steps[edit.tenant_id]
                found = {} if own is None else {path: pair for path, pair in found.items() if path not in own}
            if found:
                action = _action(edit, "file_" if edited.actor == _FILE else "")
                named = {"plan": edit.plan} if edit.plan else {}
                details = {**named, "edit": edited.id, "changes": found}
                self._audit.record(tx, action, tenant_id=edit.tenant_id, actor=edited.actor, details=details)


def _action(edit: Edit, by: str) -> str:
    what = "plan" if edit.plan else "tenant"
    if edit.before is None:
        return f"{what}.{by}added"
    return f"{what}.{by}{'removed' if edit.after is None else 'changed'}"


def _document(text: str | None) -> Mapping[str, Any] | None:
    return None if text is None else json.loads(text)
