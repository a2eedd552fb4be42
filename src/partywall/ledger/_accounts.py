"""The tables of usage, its log and reservations, within the ledger's transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from partywall.errors import InvalidArgument
from partywall.ledger._statements import Statements, dump, moment, upsert
from partywall.ledger.contract import (
    ReservationRecord,
    ReservationState,
    RowTally,
    Transaction,
    UsageCounter,
    UsageEntry,
    UsageEvent,
)
from partywall.names import TenantId

__all__ = ["Accounts"]

_EVENT: Final = "tenant_id, key, fingerprint, period, at, result"
_RESERVATION: Final = (
    "id, tenant_id, owner, period, amounts, state, created_at, expires_at, charge_on_expiry, cap_overrun, key, "
    "settled_at, counted"
)
_PUT_COUNTER: Final = upsert("usage", "tenant_id, period, metric, total, reserved", "tenant_id, period, metric")
_PUT_EVENT: Final = upsert("usage_event", _EVENT, "tenant_id, key")
_PUT_ENTRY: Final = (
    "INSERT INTO usage_log (tenant_id, period, metric, amount, at, recorded_at, kind, reason, source) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_PUT_RESERVATION: Final = f"INSERT INTO reservation ({_RESERVATION}) VALUES ({', '.join('?' * 13)})"  # noqa: S608  # constant
_TALLY: Final = "tenant_id, metric, tables, rows, held, open"
_PUT_TALLY: Final = upsert("row_tally", _TALLY, "tenant_id, metric")
_SETTLE: Final = "UPDATE reservation SET state = ?, settled_at = ?, counted = ? WHERE id = ? AND state = 'reserved'"
_EXTEND: Final = "UPDATE reservation SET expires_at = ? WHERE id = ? AND state = 'reserved'"


def _event(row: Sequence[Any]) -> UsageEvent:
    return UsageEvent(TenantId(row[0]), row[1], row[2], row[3], row[4], json.loads(row[5]))


def _reservation(row: Sequence[Any]) -> ReservationRecord:
    return ReservationRecord(
        id=row[0],
        tenant_id=TenantId(row[1]),
        owner=row[2],
        period=row[3],
        amounts=json.loads(row[4]),
        state=ReservationState(row[5]),
        created_at=row[6],
        expires_at=row[7],
        charge_on_expiry=bool(row[8]),
        cap_overrun=bool(row[9]),
        key=row[10],
        settled_at=row[11],
        counted=json.loads(row[12]),
    )


def _tally(row: Sequence[Any]) -> RowTally:
    return RowTally(TenantId(row[0]), row[1], tuple(json.loads(row[2])), row[3], row[4], bool(row[5]))


class Accounts(Statements, Transaction):
    """The part of a transaction that counts."""

    def usage(self, tenant_id: TenantId, period: str) -> Mapping[str, int]:
        """Totals by metric in a period."""
        return {metric: total for metric, (total, _) in self._counters(tenant_id, period).items()}

    def set_usage(self, tenant_id: TenantId, period: str, metric: str, total: int) -> None:
        """Write one total; InvalidArgument unless it is an integer from 0 to 2^63 - 1."""
        if type(total) is not int or not 0 <= total < 2**63:
            raise InvalidArgument(f"the total of {metric} must be a whole number from 0 to 2^63 - 1")
        _, reserved = self._counters(tenant_id, period).get(metric, (0, 0))
        self._put_counter(tenant_id, period, metric, (total, reserved))

    def usage_event(self, tenant_id: TenantId, key: str) -> UsageEvent | None:
        """The event that was acknowledged under an idempotency key."""
        row = self._one(f"SELECT {_EVENT} FROM usage_event WHERE tenant_id = ? AND key = ?", tenant_id, key)  # noqa: S608  # constant
        return None if row is None else _event(row)

    def put_usage_event(self, event: UsageEvent) -> None:
        """Remember an acknowledged event."""
        at = moment(event.at, "the moment of a usage event")
        result = dump(dict(event.result), "the result of a usage event")
        self._write(_PUT_EVENT, event.tenant_id, event.key, event.fingerprint, event.period, at, result)

    def forget_usage_events(self, before: float) -> int:
        """Drop the events acknowledged before a moment; returns how many."""
        return self._write("DELETE FROM usage_event WHERE at < ?", moment(before, "the moment")).rowcount

    def usage_counters(self, tenant_id: TenantId, *periods: str) -> Sequence[UsageCounter]:
        """The tenant's totals and what is reserved beside them, in these periods or in all."""
        if not periods:
            self.flush()
            everything = "SELECT period, metric, total, reserved FROM usage WHERE tenant_id = ?"
            return [UsageCounter(*row) for row in self._all(everything, tenant_id)]
        return [
            UsageCounter(period, metric, *counter)
            for period in periods
            for metric, counter in self._counters(tenant_id, period).items()
        ]

    def set_reserved(self, tenant_id: TenantId, period: str, metric: str, reserved: int) -> None:
        """Write how much reservations hold; InvalidArgument unless it is an integer from 0 to 2^63 - 1."""
        if type(reserved) is not int or not 0 <= reserved < 2**63:
            raise InvalidArgument(f"the reserved {metric} must be a whole number from 0 to 2^63 - 1")
        total, _ = self._counters(tenant_id, period).get(metric, (0, 0))
        self._put_counter(tenant_id, period, metric, (total, reserved))

    def append_usage(self, entry: UsageEntry) -> None:
        """Add a line to the log of usage."""
        at, recorded_at = moment(entry.at, "the moment of usage"), moment(entry.recorded_at, "the moment of usage")
        what = (entry.tenant_id, entry.period, entry.metric, entry.amount)
        self._require_writable()
        self._batch.lines.append((*what, at, recorded_at, entry.kind, entry.reason, entry.source))

    def flush(self) -> None:
        """Write to the file what was only counted."""
        batch = self._batch
        if batch.changed:
            rows = [(*key, *batch.counters[key[0], key[1]][key[2]]) for key in batch.changed]
            self._write_many(_PUT_COUNTER, rows)
            batch.changed.clear()
        if batch.lines:
            self._write_many(_PUT_ENTRY, batch.lines)
            batch.lines.clear()

    def logged_usage(self, tenant_id: TenantId) -> Mapping[tuple[str, str], int]:
        """The sums of the tenant's log, by month and metric."""
        self.flush()
        # In halves: SUM fails where a part of the sum passes 64 bits, even if the whole does not.
        halves = "SUM(amount >> 32), SUM(amount & 4294967295)"
        grouped = f"SELECT period, metric, {halves} FROM usage_log WHERE tenant_id = ? GROUP BY period, metric"  # noqa: S608  # constants
        return {(period, metric): (high << 32) + low for period, metric, high, low in self._all(grouped, tenant_id)}

    def tenants_with_usage(self) -> Sequence[TenantId]:
        """Every tenant that has a total or a line in the log."""
        self.flush()
        rows = self._all("SELECT tenant_id FROM usage UNION SELECT tenant_id FROM usage_log ORDER BY tenant_id")
        return [TenantId(row[0]) for row in rows]

    def reservation(self, reservation_id: str) -> ReservationRecord | None:
        """One reservation, whatever its state."""
        row = self._one(f"SELECT {_RESERVATION} FROM reservation WHERE id = ?", reservation_id)  # noqa: S608  # constant
        return None if row is None else _reservation(row)

    def reservation_of_key(self, tenant_id: TenantId, key: str) -> ReservationRecord | None:
        """The tenant's newest reservation that was made under an idempotency key."""
        newest = "tenant_id = ? AND key = ? ORDER BY place DESC LIMIT 1"
        row = self._one(f"SELECT {_RESERVATION} FROM reservation WHERE {newest}", tenant_id, key)  # noqa: S608  # constants
        return None if row is None else _reservation(row)

    def held_reservations(
        self,
        tenant_id: TenantId | None = None,
        *,
        expired_by: float | None = None,
        not_of: str | None = None,
        limit: int = 1000,
    ) -> Sequence[ReservationRecord]:
        """Reservations that are RESERVED, those whose lease ends first before the others."""
        conditions = {"tenant_id = ?": tenant_id, "expires_at <= ?": expired_by, "owner <> ?": not_of}
        given = {condition: value for condition, value in conditions.items() if value is not None}
        chosen = " AND ".join(["state = 'reserved'", *given])
        rows = self._all(
            f"SELECT {_RESERVATION} FROM reservation WHERE {chosen} ORDER BY expires_at, place LIMIT ?",  # noqa: S608  # constants
            *given.values(),
            limit,
        )
        return [_reservation(row) for row in rows]

    def put_reservation(self, reservation: ReservationRecord) -> None:
        """Write a new reservation."""
        self._write(
            _PUT_RESERVATION,
            reservation.id,
            reservation.tenant_id,
            reservation.owner,
            reservation.period,
            dump(dict(reservation.amounts), "the amounts of a reservation"),
            str(reservation.state),
            moment(reservation.created_at, "the moment of a reservation"),
            moment(reservation.expires_at, "the end of a lease"),
            int(reservation.charge_on_expiry),
            int(reservation.cap_overrun),
            reservation.key,
            moment(reservation.settled_at, "the moment of a reservation"),
            dump(dict(reservation.counted), "the amounts of a reservation"),
        )

    def extend_reservation(self, reservation_id: str, expires_at: float) -> bool:
        """Move the end of the lease if the reservation is still RESERVED; whether it was."""
        return self._write(_EXTEND, moment(expires_at, "the end of a lease"), reservation_id).rowcount == 1

    def settle_reservation(
        self, reservation_id: str, state: ReservationState, settled_at: float, counted: Mapping[str, int]
    ) -> bool:
        """Move the reservation on if it is still RESERVED; whether it was."""
        at, amounts = moment(settled_at, "the moment of a reservation"), dump(dict(counted), "the amounts counted")
        return self._write(_SETTLE, str(state), at, amounts, reservation_id).rowcount == 1

    def forget_reservations(self, before: float) -> int:
        """Drop the reservations that were settled before a moment; returns how many."""
        return self._write("DELETE FROM reservation WHERE settled_at < ?", moment(before, "the moment")).rowcount

    def row_tallies(self, tenant_id: TenantId | None = None) -> Sequence[RowTally]:
        """The tallies of counted rows, a tenant's or everybody's."""
        chosen, values = ("", ()) if tenant_id is None else (" WHERE tenant_id = ?", (tenant_id,))
        return [_tally(row) for row in self._all(f"SELECT {_TALLY} FROM row_tally{chosen}", *values)]  # noqa: S608  # constants

    def put_row_tally(self, tally: RowTally) -> None:
        """Write a tally."""
        tables = dump(list(tally.tables), "the tables of a tally")
        self._write(_PUT_TALLY, tally.tenant_id, tally.metric, tables, tally.rows, tally.held, int(tally.open))

    def forget_row_tally(self, tenant_id: TenantId, metric: str) -> None:
        """Drop a tally: rows of the metric are not counted any more."""
        self._write("DELETE FROM row_tally WHERE tenant_id = ? AND metric = ?", tenant_id, metric)

    def mark_threshold(self, tenant_id: TenantId, period: str, metric: str, percent: int, limit: int) -> bool:
        """Remember that the tenant was told of a threshold in a period; whether it is new."""
        mark = "INSERT OR IGNORE INTO threshold VALUES (?, ?, ?, ?, ?)"
        return self._write(mark, tenant_id, period, metric, percent, limit).rowcount == 1

    def forget_thresholds(self, before_period: str) -> int:
        """Drop what was remembered of thresholds in earlier periods; returns how many."""
        return self._write("DELETE FROM threshold WHERE period < ?", before_period).rowcount

    def _counters(self, tenant_id: TenantId, period: str) -> dict[str, tuple[int, int]]:
        self._require_alive()
        found = self._batch.counters.get((tenant_id, period))
        if found is None:
            of_period = "SELECT metric, total, reserved FROM usage WHERE tenant_id = ? AND period = ?"
            found = {metric: (total, reserved) for metric, total, reserved in self._all(of_period, tenant_id, period)}
            self._batch.counters[tenant_id, period] = found
        return found

    def _put_counter(self, tenant_id: TenantId, period: str, metric: str, counter: tuple[int, int]) -> None:
        self._require_writable()
        self._batch.counters[tenant_id, period][metric] = counter
        self._batch.changed.add((tenant_id, period, metric))
