"""The audit log: written in the transaction of what it records, read by operators."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from partywall.audit.actors import actor as acting
from partywall.audit.actors import legal_actor
from partywall.audit.details import plain_details
from partywall.clock import Clock
from partywall.errors import InvalidArgument
from partywall.ledger import AuditRecord, Ledger, Transaction
from partywall.names import TenantId, parse_tenant_id

__all__ = ["AuditLog"]

_ACTION: Final = re.compile(r"[a-z]+(\.[a-z_]+)+")
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class AuditLog:
    """The records of one ledger, oldest first."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    def records(
        self, tenant_id: str | None = None, *, after: int = 0, limit: int = 100, newest: bool = False
    ) -> Sequence[AuditRecord]:
        """At most ``limit`` records with a higher sequence number than ``after``; ``newest`` takes the last ones.

        With a tenant, that tenant's alone. ``limit`` is 1 to 10,000. Raises InvalidArgument.
        """
        whose = None if tenant_id is None else parse_tenant_id(tenant_id)
        if type(limit) is not int or not 1 <= limit <= 10_000:
            raise InvalidArgument("limit must be a whole number from 1 to 10,000")
        if type(after) is not int or after < 0:
            raise InvalidArgument("after must be a record's sequence number, or 0")
        return self._ledger.read(lambda tx: tx.audit(tenant_id=whose, after=after, limit=limit, newest=newest))

    def record(
        self,
        tx: Transaction,
        action: str,
        *,
        tenant_id: TenantId | None = None,
        actor: str | None = None,
        details: Mapping[str, Any] = _NOTHING,
    ) -> AuditRecord:
        """Write a record in the transaction of what it records: both are committed or neither.

        ``action`` is dotted, as ``tenant.suspended``. Raises InvalidArgument for an illegal action, an
        unprintable actor, or details that are not plain JSON; over-long details are cut.
        """
        if _ACTION.fullmatch(action) is None:
            raise InvalidArgument("an audited action must be dotted lower-case words, such as 'tenant.suspended'")
        return tx.append_audit(
            AuditRecord(
                at=self._clock.now(),
                actor=self.actor() if actor is None else legal_actor(actor),
                action=action,
                tenant_id=tenant_id,
                details=plain_details(details),
            )
        )

    def actor(self) -> str:
        """Who acts now: whom ``acting_as`` named, else ``user:<id>`` of the tenant context, else ``api``."""
        return acting()
