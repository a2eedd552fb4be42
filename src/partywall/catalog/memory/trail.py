"""What was changed and is not on record yet: kept with the last good versions, so that no kill can lose it.

The versions in force and the edits that led to them are one transaction of the cache. Whoever writes the
audit log takes the edits from here and says when they are on record; until then they come up at every start.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from pydantic import BaseModel

from partywall.catalog.memory.cache import Cache
from partywall.catalog.snapshot import CatalogChange
from partywall.names import PlanName, TenantId

__all__ = ["Edit", "Edited", "Trail"]

_FILE: Final = "file"


@dataclass(frozen=True, slots=True)
class Edit:
    """What one change did to one tenant or plan: what was declared before and after, as JSON."""

    tenant_id: TenantId | None
    """None when it was a plan."""
    plan: PlanName | None
    before: str | None
    """None for what was not there."""
    after: str | None
    """None for what is not there any more."""


@dataclass(frozen=True, slots=True)
class Edited:
    """The edits of one publication, to be recorded together."""

    id: str
    actor: str
    """``file``, or who called."""
    edits: tuple[Edit, ...]
    left_behind: bool = False
    """Found at the start: whoever was killed may have recorded it, and not yet said so here."""

    @property
    def document(self) -> str:
        """What the cache keeps of it."""
        edits = [(edit.tenant_id, edit.plan, edit.before, edit.after) for edit in self.edits]
        return json.dumps([self.actor, edits])


class Trail:
    """The edits that are not on record yet, oldest first. Used under the catalog's lock."""

    def __init__(self, cache: Cache | None) -> None:
        self._cache = cache
        self._actor: str | None = None
        self._silent = False
        left = {} if cache is None else cache.unrecorded()
        self._pending = {edited_id: _revived(edited_id, document) for edited_id, document in left.items()}

    @contextmanager
    def by(self, actor: str | None) -> Iterator[None]:
        """Within the block a caller edits; None when that caller writes the records itself."""
        before, self._actor = self._actor, actor
        try:
            yield
        finally:
            self._actor = before

    @contextmanager
    def silent(self, silent: bool) -> Iterator[None]:
        """Within the block nothing is noted if ``silent``: on the first start nobody knows a before."""
        self._silent = silent
        try:
            yield
        finally:
            self._silent = False

    def note(self, change: CatalogChange | None) -> Edited | None:
        """Keep the edits of a publication until they are on record; None for what is not to be recorded."""
        if change is None or self._silent:
            return None
        actor = _FILE if change.source == "file" else self._actor
        if actor is None:
            return None
        edited = Edited(secrets.token_hex(8), actor, tuple(_edits(change)))
        self._pending[edited.id] = edited
        return edited

    def pending(self) -> list[Edited]:
        """What is not on record yet."""
        return list(self._pending.values())

    def recorded(self, edited_id: str) -> None:
        """Forget what is on record."""
        if self._pending.pop(edited_id, None) is not None and self._cache is not None:
            self._cache.recorded(edited_id)

    def forget(self, tenant_ids: Collection[TenantId]) -> None:
        """Drop what these tenants declared: they are purged, and nothing of them may stay."""
        for edited in self.pending():
            kept = tuple(edit for edit in edited.edits if edit.tenant_id not in tenant_ids)
            if len(kept) < len(edited.edits):
                self._pending[edited.id] = replace(edited, edits=kept)
                if self._cache is not None:
                    self._cache.store({}, {edited.id: self._pending[edited.id].document})


def _revived(edited_id: str, document: str) -> Edited:
    actor, edits = json.loads(document)
    return Edited(edited_id, actor, tuple(Edit(*edit) for edit in edits), left_behind=True)


def _edits(change: CatalogChange) -> Iterator[Edit]:
    before, after = change.previous, change.snapshot
    for tenant_id in sorted(change.tenants):
        yield Edit(tenant_id, None, _text(before.tenant(tenant_id)), _text(after.tenant(tenant_id)))
    for plan in sorted(change.plans):
        yield Edit(None, plan, _text(before.plans.get(plan)), _text(after.plans.get(plan)))


def _text(model: BaseModel | None) -> str | None:
    return None if model is None else model.model_dump_json(by_alias=True, exclude_none=True)
