"""The same request counted once: an idempotency key, what was asked under it, and what was answered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from partywall.clock import month_of, utc
from partywall.errors import InvalidArgument, TenantConflict
from partywall.ledger import Transaction, UsageEvent
from partywall.names import TenantId

__all__ = ["Request", "legal_key", "previous_month"]


def legal_key(key: object) -> str | None:
    """The key itself, or InvalidArgument unless it is 1 to 256 printable characters."""
    if key is None:
        return None
    if not isinstance(key, str) or not 0 < len(key) <= 256 or not key.isprintable():
        raise InvalidArgument("an idempotency key must be 1 to 256 printable characters")
    return key


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for, and the key under which it is asked for once."""

    key: str | None
    body: Mapping[str, object]

    def once(
        self, tx: Transaction, tenant_id: TenantId, now: float, count: Callable[[], Mapping[str, int]]
    ) -> Mapping[str, int]:
        """Count, or give the answer of the first time; TenantConflict when the key stood for another request."""
        if self.key is None:
            return count()
        event = self.first(tx, tenant_id)
        if event is not None:
            return event.result
        result = count()
        self.remember(tx, tenant_id, now, result)
        return result

    def first(self, tx: Transaction, tenant_id: TenantId) -> UsageEvent | None:
        """The first time that this was asked; TenantConflict when the key stood for another request."""
        event = None if self.key is None else tx.usage_event(tenant_id, self.key)
        if event is not None and event.fingerprint != self._fingerprint():
            raise TenantConflict("the idempotency key was used for another request; use a new key for each request")
        return event

    def remember(self, tx: Transaction, tenant_id: TenantId, now: float, result: Mapping[str, int]) -> None:
        """Keep the answer under the key, if there is one."""
        if self.key is not None:
            event = UsageEvent(tenant_id, self.key, self._fingerprint(), month_of(now), now, result)
            tx.put_usage_event(event)

    def _fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(self.body, sort_keys=True).encode()).hexdigest()


def previous_month(now: float) -> float:
    """When the calendar month in UTC before the present one began, in seconds since the epoch."""
    first = utc(now).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first - timedelta(days=1)).replace(day=1).timestamp()
