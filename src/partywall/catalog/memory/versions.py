"""Versions of what a tenant's file says: who edits may name the one that it saw, and is shown what changed since."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from difflib import unified_diff
from hashlib import blake2b
from typing import Final

from partywall.catalog.text.edits import plain_of
from partywall.catalog.text.render import rendered
from partywall.errors import TenantConflict
from partywall.model import TenantSpec
from partywall.names import TenantId

__all__ = ["Versions", "mark_of", "version_of"]

_DIGITS: Final = 16
_TENANTS: Final = 1000
_EACH: Final = 8


def mark_of(spec: TenantSpec) -> int:
    """A number of 256 bits, the same for files that say the same, however they are laid out."""
    return int.from_bytes(blake2b(spec.model_dump_json().encode(), digest_size=32).digest(), "big")


def version_of(mark: int) -> str:
    """The mark as callers see it: 16 hexadecimal digits."""
    return f"{mark:064x}"[:_DIGITS]


class Versions:
    """The last few contents of the tenants that changed last, kept in memory alone. Used under the catalog's lock."""

    def __init__(self) -> None:
        self._before: OrderedDict[TenantId, deque[TenantSpec]] = OrderedDict()

    def remember(self, specs: Iterable[TenantSpec | None]) -> None:
        """Keep what was in force until now."""
        for spec in specs:
            if spec is not None and spec.id is not None:
                self._before.setdefault(spec.id, deque(maxlen=_EACH)).append(spec)
                self._before.move_to_end(spec.id)
        while len(self._before) > _TENANTS:
            self._before.popitem(last=False)

    def forget(self, tenant_ids: Iterable[TenantId]) -> None:
        """Keep nothing of tenants whose data is destroyed."""
        for tenant_id in tenant_ids:
            self._before.pop(tenant_id, None)

    def require(self, version: str, there: TenantSpec) -> None:
        """TenantConflict, with a unified diff if the version is still known, unless it is the one that is there."""
        now = version_of(mark_of(there))
        if version == now:
            return
        seen = self._seen(version, there)
        since = "" if seen is None else "; what changed since is in the diff"
        raise TenantConflict(
            f"the tenant's file was changed: it is at version {now} and not at {ascii(version)[1:-1][:40]}{since}",
            diff=None if seen is None else _diff(seen, version, there, now),
            version=now,
        )

    def _seen(self, version: str, there: TenantSpec) -> TenantSpec | None:
        before = self._before.get(TenantId(str(there.id)), ())
        return next((spec for spec in reversed(before) if version_of(mark_of(spec)) == version), None)


def _diff(seen: TenantSpec, version: str, there: TenantSpec, now: str) -> str:
    lines = unified_diff(_text(seen), _text(there), f"seen ({version})", f"there ({now})", lineterm="")
    return "\n".join(lines)


def _text(spec: TenantSpec) -> list[str]:
    data = plain_of(spec)
    return rendered(data).splitlines() if isinstance(data, dict) else []
