"""How the ledger's transaction runs its statements, and what it does when one fails."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from partywall.errors import InvalidArgument, LedgerError, PartywallError
from partywall.ledger._connection import failure
from partywall.ledger.contract import AuditRecord, LifecycleRecord
from partywall.names import TenantId

__all__ = ["Batch", "Statements", "dump", "moment", "upsert"]

_FAILURES: Final = (sqlite3.Error, OverflowError, UnicodeEncodeError)


def upsert(table: str, columns: str, keys: str) -> str:
    """An INSERT that replaces the row with the same keys."""
    names = columns.split(", ")
    changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys.split(", "))
    marks = ", ".join("?" * len(names))
    return f"INSERT INTO {table} ({columns}) VALUES ({marks}) ON CONFLICT ({keys}) DO UPDATE SET {changes}"  # noqa: S608  # constants of this module


def dump(value: Any, what: str) -> str:
    """The value as one line of JSON; InvalidArgument."""
    try:
        # ASCII: a control character or a lone surrogate becomes an escape, so a document is always one line.
        return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        raise InvalidArgument(f"{what} must be plain JSON: objects, lists, texts, finite numbers, booleans") from None


def moment(value: float | None, what: str) -> float | None:
    """The moment itself; InvalidArgument unless it is a finite number of seconds."""
    if value is not None and (type(value) not in (int, float) or not math.isfinite(value)):
        raise InvalidArgument(f"{what} must be seconds since the epoch")
    return value


@dataclass(slots=True)
class Batch:
    """What the works that share a commit have read and counted, so that it is read once and written once."""

    counters: dict[tuple[TenantId, str], dict[str, tuple[int, int]]] = field(default_factory=dict)
    """By tenant and period, then metric: the total and what is reserved beside it."""
    changed: set[tuple[TenantId, str, str]] = field(default_factory=set)
    """The counters that differ from the file."""
    lines: list[tuple[Any, ...]] = field(default_factory=list)
    """Lines of the log of usage that the file does not have yet."""
    lifecycles: dict[TenantId, LifecycleRecord | None] = field(default_factory=dict)


class Statements:
    """Runs statements; dead once the work is over or a statement of it has failed."""

    def __init__(self, connection: sqlite3.Connection, *, writable: bool, batch: Batch | None = None) -> None:
        self._connection = connection
        self._writable = writable
        self._batch = batch or Batch()
        self._ended = False
        self.wrote = False
        """Whether anything was changed, in the file or in what is to be written to it."""
        self.failure: LedgerError | None = None
        """What the store did wrong; the work is undone even if it caught this."""
        self.records: list[AuditRecord] = []
        """The audit records that were appended, in order."""

    def end(self) -> None:
        """Refuse whatever is asked of the transaction from now on."""
        self._ended = True

    def _require_alive(self) -> None:
        if self._ended:
            raise LedgerError("the ledger's transaction is over; use it only within the function that was given it")
        if self.failure is not None:
            # SQLite may have rolled back on its own, and a statement would then commit by itself.
            raise self.failure

    def _require_writable(self) -> None:
        self._require_alive()
        if not self._writable:
            raise LedgerError("a read of the ledger must not write; use Ledger.write")
        self.wrote = True

    def _failed(self, error: Exception) -> PartywallError:
        if isinstance(error, sqlite3.Error):
            self.failure = failure(error)
            return self.failure
        return InvalidArgument("the ledger holds 64-bit integers and well-formed texts only")

    def _execute(self, statement: str, values: Sequence[Any]) -> sqlite3.Cursor:
        self._require_alive()
        try:
            return self._connection.execute(statement, values)
        except _FAILURES as error:
            raise self._failed(error) from error

    def _all(self, statement: str, *values: Any) -> list[Any]:
        cursor = self._execute(statement, values)
        try:
            return cursor.fetchall()
        except _FAILURES as error:
            raise self._failed(error) from error

    def _one(self, statement: str, *values: Any) -> Any:
        rows = self._all(statement, *values)
        return rows[0] if rows else None

    def _write(self, statement: str, *values: Any) -> sqlite3.Cursor:
        self._require_writable()
        return self._execute(statement, values)

    def _write_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        try:
            self._connection.executemany(statement, rows)
        except _FAILURES as error:
            raise self._failed(error) from error
