"""Reservations in the ledger: made, settled once, and swept up when their lease ends."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, TypeAlias, TypeVar

from partywall.audit import AuditLog
from partywall.clock import Clock, month_of
from partywall.errors import InvalidArgument, LedgerError, PartywallError, ReservationEnded
from partywall.ledger import Ledger, ReservationRecord, ReservationState, Transaction
from partywall.names import TenantId
from partywall.quotas.counters import hold, legal_amount
from partywall.quotas.counting import Counting
from partywall.quotas.idempotency import Request
from partywall.quotas.reservation import Settlement
from partywall.quotas.tenants import Tenants, require_in_service

__all__ = ["Reservations", "Sweep", "legal_lease"]

T = TypeVar("T")

Sweep: TypeAlias = Callable[[Transaction, TenantId], None]
"""Sees to it that no lease of the tenant's that has ended holds anything."""

_Found: TypeAlias = Callable[[Transaction, TenantId | None, int], Sequence[ReservationRecord]]
_Due: TypeAlias = Callable[[ReservationRecord], bool]
_STUCK: Final = "quota.settling_failed"
_log: Final = logging.getLogger("partywall.quotas")
_LONGEST: Final = 86_400.0
_BATCH: Final = 256
"""The most reservations that one transaction sweeps up, so that no other writer waits for long."""


def legal_lease(lease: object) -> float:
    """The lease itself, or InvalidArgument unless it is more than 0 seconds and at most a day."""
    if isinstance(lease, bool) or not isinstance(lease, int | float) or not 0 < lease <= _LONGEST:
        raise InvalidArgument("a lease must be more than 0 and at most 86,400 seconds")
    return float(lease)


class _Lapsed(Exception):
    """A lease has ended that nobody settled yet."""

    def __init__(self, tenant_id: TenantId) -> None:
        super().__init__(tenant_id)
        self.tenant_id = tenant_id


class Reservations:
    """The reservations that this engine makes. Thread-safe."""

    def __init__(self, ledger: Ledger, tenants: Tenants, clock: Clock, counting: Counting, audit: AuditLog) -> None:
        self._ledger = ledger
        self._tenants = tenants
        self._clock = clock
        self._counting = counting
        self._audit = audit
        self._owner = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._stuck: set[str | None] = set()
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

    def release_soon(self, reservation_id: str) -> None:
        """Give all of it back, unless that was done before, and wait for nothing."""

        def work(tx: Transaction) -> None:
            record = _held(tx, reservation_id)
            if record is not None:
                self._settle(tx, record, ReservationState.RELEASED, {})

        self._ledger.write_soon(work)

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

    def swept(self, work: Callable[[Transaction, Sweep], T]) -> T:
        """Write what needs room: leases that ended give theirs back first, in transactions of their own.

        The work says of whom it is about by calling what it is given beside the transaction, before it asks for room.
        """

        def sweep(tx: Transaction, tenant_id: TenantId) -> None:
            if self.lapsed(tx, tenant_id):
                raise _Lapsed(tenant_id)

        try:
            return self._ledger.write(lambda tx: work(tx, sweep))
        except _Lapsed as lapsed:
            self.expire(lapsed.tenant_id)
        return self._ledger.write(lambda tx: work(tx, lambda *_: None))

    def expire(self, tenant_id: TenantId | None = None) -> int:
        """Settle every reservation whose lease has ended, a tenant's or everybody's; returns how many."""

        def found(tx: Transaction, whose: TenantId | None, limit: int) -> Sequence[ReservationRecord]:
            return tx.held_reservations(whose, expired_by=self.now(), limit=limit)

        return self._settle_all(tenant_id, found, lambda record: record.expires_at <= self.now())

    def recover(self) -> int:
        """Settle what engines left that are gone; returns how many. One engine alone owns a data folder.

        Raises nothing: what cannot be settled is logged, audited and tried again when its lease has ended.
        """

        def found(tx: Transaction, whose: TenantId | None, limit: int) -> Sequence[ReservationRecord]:
            return tx.held_reservations(whose, not_of=self._owner, limit=limit)

        try:
            return self._settle_all(None, found, lambda record: record.owner != self._owner)
        except Exception as error:  # noqa: BLE001  # whatever became of some reservations, the others' engine opens
            self._tell_stuck(None, None, error)
            return 0

    def _settle_all(self, tenant_id: TenantId | None, found: _Found, due: _Due) -> int:
        try:
            return self._settle_every(tenant_id, found, due)
        except LedgerError:
            raise  # no record's fault
        except Exception as error:  # noqa: BLE001  # a record cannot even be read: it keeps only its own tenant's
            if tenant_id is not None:
                self._tell_stuck(tenant_id, None, error)
                return 0
        tenants = self._ledger.read(lambda tx: tx.tenants_with_usage())
        return sum(self._settle_all(known, found, due) for known in tenants)

    def _settle_every(self, tenant_id: TenantId | None, found: _Found, due: _Due) -> int:
        settled, stuck = 0, set[str]()

        def left(tx: Transaction) -> list[ReservationRecord]:
            return [record for record in found(tx, tenant_id, _BATCH + len(stuck)) if record.id not in stuck]

        while records := self._ledger.read(left):
            try:
                settled += self._ledger.write(lambda tx: self._expire(tx, left(tx)))
            except LedgerError:
                raise  # no record's fault
            except Exception:  # noqa: BLE001  # one of them; which one is found by trying each
                for record in records:
                    try:
                        settled += self._settle_alone(record.id, due)
                    except LedgerError:
                        raise
                    except Exception as error:  # noqa: BLE001  # no record keeps another from being settled
                        stuck.add(record.id)
                        self._tell_stuck(record.tenant_id, record.id, error)
        return settled

    def _settle_alone(self, reservation_id: str, due: _Due) -> int:
        def work(tx: Transaction) -> int:
            record = _held(tx, reservation_id)
            return self._expire(tx, [record] if record is not None and due(record) else [])

        return self._ledger.write(work)

    def _tell_stuck(self, tenant_id: TenantId | None, reservation_id: str | None, error: Exception) -> None:
        which = reservation_id or tenant_id
        if which in self._stuck:
            return
        self._stuck.add(which)
        _log.error("reservations could not be settled (%s); it is tried again", which or "of an engine", exc_info=error)
        details = {"reservation": reservation_id, "error": type(error).__name__}
        with suppress(PartywallError):  # it is in the log of the process at least
            self._ledger.write(
                lambda tx: self._audit.record(tx, _STUCK, tenant_id=tenant_id, actor="engine", details=details)
            )

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
        whose, month = record.tenant_id, record.period
        self._counting.let_go(tx, whose, month, record.amounts, record.id)
        self._counting.count(tx, whose, counted, kind=state.value, month=month, source=record.id, settling=True)


_EXPIRED: Final = "the reservation's lease has ended; what was used since is counted with usage.increment"


def _held(tx: Transaction, reservation_id: str) -> ReservationRecord | None:
    record = tx.reservation(reservation_id)
    return record if record is not None and record.state is ReservationState.RESERVED else None


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
