"""Reservations in the ledger: made, settled once, and swept up when their lease ends."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from typing import Final

from partywall.audit import AuditLog
from partywall.clock import Clock, month_of
from partywall.errors import InvalidArgument, ReservationEnded
from partywall.ledger import Ledger, ReservationRecord, ReservationState, Transaction
from partywall.names import TenantId
from partywall.quotas.counters import hold, legal_amount
from partywall.quotas.counting import Counting
from partywall.quotas.idempotency import Request
from partywall.quotas.reservation import Settlement
from partywall.quotas.tenants import Tenants, require_in_service

__all__ = ["Reservations", "legal_lease"]

_LONGEST: Final = 86_400.0
_BATCH: Final = 256
"""The most reservations that one transaction sweeps up, so that no other writer waits for long."""


def legal_lease(lease: object) -> float:
    """The lease itself, or InvalidArgument unless it is more than 0 seconds and at most a day."""
    if isinstance(lease, bool) or not isinstance(lease, int | float) or not 0 < lease <= _LONGEST:
        raise InvalidArgument("a lease must be more than 0 and at most 86,400 seconds")
    return float(lease)


class Reservations:
    """The reservations that this engine makes. Thread-safe."""

    def __init__(self, ledger: Ledger, tenants: Tenants, clock: Clock, counting: Counting, audit: AuditLog) -> None:
        self._ledger = ledger
        self._tenants = tenants
        self._clock = clock
        self._counting = counting
        self._audit = audit
        self._owner = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._opened = clock.now() - clock.monotonic()

    def now(self) -> float:
        """The moment by which leases end: no step of the wall clock ends them all or keeps them for hours."""
        return self._opened + self._clock.monotonic()

    def repeated(self, tx: Transaction, tenant_id: TenantId, request: Request) -> ReservationRecord | None:
        """The reservation that the same call made before, unless all of it was given back."""
        if request.key is None or request.first(tx, tenant_id) is None:
            return None
        found = tx.reservation_of_key(tenant_id, request.key)
        return found if found is not None and (found.state is ReservationState.RESERVED or found.counted) else None

    def make(
        self, tx: Transaction, tenant_id: TenantId, amounts: Mapping[str, int], lease: float, request: Request
    ) -> ReservationRecord:
        """Hold the amounts; whether there is room for them was asked before, in the same transaction."""
        policy = self._tenants.grants(tenant_id).reservations
        record = ReservationRecord(
            id=f"res_{secrets.token_hex(16)}",
            tenant_id=tenant_id,
            owner=self._owner,
            period=month_of(self._clock.now()),
            amounts=amounts,
            state=ReservationState.RESERVED,
            created_at=self._clock.now(),
            expires_at=self.now() + lease,
            charge_on_expiry=policy.on_expiry == "charge_cap",
            cap_overrun=policy.overrun == "cap",
            key=request.key,
        )
        tx.put_reservation(record)
        hold(tx, tenant_id, record.period, amounts)
        request.remember(tx, tenant_id, record.created_at, {})
        return record

    def commit(self, reservation_id: str, actual: Mapping[str, int]) -> Settlement:
        """Count what was used in the end."""

        def work(tx: Transaction) -> Settlement:
            record = self._require_held(tx, reservation_id)
            settlement = _settlement(record, actual)
            self._settle(tx, record, ReservationState.COMMITTED, settlement.counted)
            if settlement.overrun:
                details = {"reservation": record.id, "reserved": dict(record.amounts), "period": record.period}
                details |= {"counted": dict(settlement.counted), "overrun": dict(settlement.overrun)}
                self._audit.record(tx, "quota.overrun", tenant_id=record.tenant_id, details=details)
            return settlement

        return self._ledger.write(work)

    def release(self, reservation_id: str) -> None:
        """Give all of it back, unless that was done before."""

        def work(tx: Transaction) -> None:
            record = tx.reservation(reservation_id)
            if record is not None and record.state is ReservationState.RESERVED:
                self._settle(tx, record, ReservationState.RELEASED, {})
            elif record is None or record.counted or record.state is ReservationState.COMMITTED:
                raise _ended(record)

        self._ledger.write(work)

    def extend(self, reservation_id: str, lease: float) -> None:
        """Let the lease end so many seconds from now."""
        seconds = legal_lease(lease)

        def work(tx: Transaction) -> None:
            record = self._require_held(tx, reservation_id)
            require_in_service(self._tenants, tx, record.tenant_id)
            tx.extend_reservation(record.id, self.now() + seconds)

        self._ledger.write(work)

    def lapsed(self, tx: Transaction, tenant_id: TenantId | None = None) -> bool:
        """Whether a lease has ended that nobody swept up yet."""
        return bool(tx.held_reservations(tenant_id, expired_by=self.now(), limit=1))

    def sweep(self, tx: Transaction, tenant_id: TenantId | None = None) -> int:
        """Settle the reservations whose lease has ended, a tenant's or some of everybody's; returns how many."""
        return self._expire(tx, tx.held_reservations(tenant_id, expired_by=self.now(), limit=_BATCH))

    def expire(self) -> int:
        """Settle every reservation whose lease has ended; returns how many."""
        expired = 0
        while self._ledger.read(self.lapsed):
            expired += self._ledger.write(self.sweep)
        return expired

    def recover(self) -> int:
        """Settle what engines left that are gone; returns how many. One engine alone owns a data folder."""
        settled = 0
        while self._ledger.read(lambda tx: bool(tx.held_reservations(not_of=self._owner, limit=1))):
            settled += self._ledger.write(
                lambda tx: self._expire(tx, tx.held_reservations(not_of=self._owner, limit=_BATCH))
            )
        return settled

    def _expire(self, tx: Transaction, records: Sequence[ReservationRecord]) -> int:
        for record in records:
            counted = record.amounts if record.charge_on_expiry else {}
            self._settle(tx, record, ReservationState.EXPIRED, counted)
            if counted:
                details = {"reservation": record.id, "counted": dict(counted), "period": record.period}
                self._audit.record(
                    tx, "quota.lease_charged", tenant_id=record.tenant_id, actor="engine", details=details
                )
        return len(records)

    def _require_held(self, tx: Transaction, reservation_id: str) -> ReservationRecord:
        record = tx.reservation(reservation_id)
        if record is None or record.state is not ReservationState.RESERVED:
            raise _ended(record)
        if record.expires_at <= self.now():
            raise ReservationEnded(_EXPIRED, state=ReservationState.EXPIRED.value)
        return record

    def _settle(
        self, tx: Transaction, record: ReservationRecord, state: ReservationState, counted: Mapping[str, int]
    ) -> None:
        if not tx.settle_reservation(record.id, state, self._clock.now(), counted):
            raise _ended(tx.reservation(record.id))
        hold(tx, record.tenant_id, record.period, {metric: -amount for metric, amount in record.amounts.items()})
        self._counting.count(tx, record.tenant_id, counted, kind=state.value, month=record.period, source=record.id)


_EXPIRED: Final = "the reservation's lease has ended; what was used since is counted with usage.increment"


def _ended(record: ReservationRecord | None) -> ReservationEnded:
    if record is None:
        return ReservationEnded("the reservation is not in the ledger any more", state="unknown")
    if record.state is ReservationState.EXPIRED:
        return ReservationEnded(_EXPIRED, state=record.state.value)
    return ReservationEnded(
        f"the reservation was {record.state} before; nothing was counted now", state=record.state.value
    )


def _settlement(record: ReservationRecord, actual: Mapping[str, int]) -> Settlement:
    foreign = sorted(actual.keys() - record.amounts.keys())
    if foreign:
        raise InvalidArgument(
            f"the reservation holds no {ascii(foreign[0])[:80]}; it holds {', '.join(record.amounts)}"
        )
    if any(legal_amount(amount) < 0 for amount in actual.values()):
        raise InvalidArgument("commit takes no negative amount; name what was used")
    used = {**record.amounts, **actual}
    over = {metric: used[metric] - held for metric, held in record.amounts.items() if used[metric] > held}
    back = {metric: held - used[metric] for metric, held in record.amounts.items() if used[metric] < held}
    counted = {metric: amount - (over.get(metric, 0) if record.cap_overrun else 0) for metric, amount in used.items()}
    return Settlement(counted, back, over)
