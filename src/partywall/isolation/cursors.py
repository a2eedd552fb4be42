"""Cursors of pages: sealed, so that one opens only for the tenant, table, conditions and order that it was made for."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import date, datetime
from typing import Any, Final

from partywall.backend import Row, Scan
from partywall.errors import QueryError
from partywall.model import ColumnType
from partywall.names import ColumnName, TenantId

__all__ = ["Cursors"]

_SEAL: Final = 16
_LONGEST: Final = 100_000


class Cursors:
    """Makes and opens cursors with one secret key, which outlives restarts."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def after(self, tenant_id: TenantId, scan: Scan, last: Row) -> str:
        """The cursor that reads on after a row."""
        values = [_plain(last[order.column]) for order in scan.order_by]
        text = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
        return urlsafe_b64encode(self._seal(tenant_id, scan, text) + text).decode().rstrip("=")

    def opened(self, tenant_id: TenantId, scan: Scan, cursor: str) -> tuple[Any, ...]:
        """The sort key after which to read on; QueryError for a cursor of anything else."""
        sealed = _decoded(cursor)
        seal, text = sealed[:_SEAL], sealed[_SEAL:]
        if not hmac.compare_digest(seal, self._seal(tenant_id, scan, text)):
            raise QueryError("the cursor was not made by this tenant for this table, where and order_by")
        types = scan.table.types
        return tuple(
            _value(types[ColumnName(order.column)], value)
            for order, value in zip(scan.order_by, json.loads(text), strict=True)
        )

    def _seal(self, tenant_id: TenantId, scan: Scan, text: bytes) -> bytes:
        asked = repr((tenant_id, scan.table.name, scan.where, scan.order_by)).encode()
        message = hashlib.sha256(asked).digest() + text
        return hmac.digest(self._key, message, "sha256")[:_SEAL]


def _decoded(cursor: object) -> bytes:
    if not isinstance(cursor, str) or not cursor.isascii() or len(cursor) > _LONGEST:
        raise QueryError("cursor takes what the page before returned")
    try:
        return urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        raise QueryError("cursor takes what the page before returned") from None


def _plain(value: Any) -> Any:
    match value:
        case datetime() | date():
            return value.isoformat()
        case bytes():
            return value.hex()
        case _:
            return value


def _value(kind: ColumnType, value: Any) -> Any:
    if value is None:
        return None
    match kind:
        case ColumnType.TIMESTAMP:
            return datetime.fromisoformat(value)
        case ColumnType.DATE:
            return date.fromisoformat(value)
        case ColumnType.BYTES:
            return bytes.fromhex(value)
        case ColumnType.FLOAT:
            return float(value)
        case _:
            return value
