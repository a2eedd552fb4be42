"""The same request counted once: an idempotency key, what was asked under it, and what was answered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import timedelta

from partywall.clock import month_of, utc
from partywall.errors import InvalidArgument, TenantConflict
from partywall.ledger import Transaction, UsageEvent
from partywall.names import TenantId

__all__ = ["legal_key", "once", "previous_month"]


def legal_key(key: object) -> str | None:
    """The key itself, or InvalidArgument unless it is 1 to 256 printable characters."""
    if key is None:
        return None
    if not isinstance(key, str) or not 0 < len(key) <= 256 or not key.isprintable():
        raise InvalidArgument("an idempotency key must be 1 to 256 printable characters")
    return key


def once(
    tx: Transaction,
    tenant_id: TenantId,
    key: str | None,
    body: Mapping[str, object],
    *,
    now: float,
    count: Callable[[], Mapping[str, int]],
) -> Mapping[str, int]:
    """Count, or give the answer of the first time; TenantConflict when the key stood for another request."""
    if key is None:
        return count()
    fingerprint = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    event = tx.usage_event(tenant_id, key)
    if event is None:
        result = count()
        tx.put_usage_event(UsageEvent(tenant_id, key, fingerprint, month_of(now), now, result))
        return result
    if event.fingerprint != fingerprint:
        raise TenantConflict("the idempotency key was used for another request; use a new key for each request")
    return event.result


def previous_month(now: float) -> float:
    """When the calendar month in UTC before the present one began, in seconds since the epoch."""
    first = utc(now).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first - timedelta(days=1)).replace(day=1).timestamp()
