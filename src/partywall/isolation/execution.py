"""Statements on a session: what the backend claims it does, the rest is done here over ``scan``."""

from __future__ import annotations

from collections.abc import Sequence

from partywall.backend import Count, Delete, Insert, Order, Row, Scan, Session, Update
from partywall.errors import ConstraintViolation, QueryError
from partywall.isolation.scope import Scope
from partywall.isolation.statements import Guard, keys_of
from partywall.model import ID, Table
from partywall.operators import Condition, Operator, matching

__all__ = ["Execution"]


class Execution:
    """Carries out checked statements for one tenant."""

    def __init__(self, guard: Guard, scope: Scope) -> None:
        self._guard = guard
        self._filters = scope.filters
        self._keys = scope.keys

    def needs_transaction(self, table: Table, *, deletes: bool = False) -> bool:
        """Whether a write of this table is more than one statement."""
        if deletes:
            return bool(self._guard.referencing(table))
        return not self._keys or bool(table.references)

    def select(self, session: Session, scan: Scan) -> Sequence[Row]:
        """The matching rows, in order."""
        if self._filters:
            return session.scan(scan)
        rows = [dict(row) for row in matching(session.scan(Scan(scan.table)), scan.where)]
        for order in reversed(scan.order_by):
            rows = _sorted(rows, order)
        return rows if scan.limit is None else rows[: scan.limit]

    def count(self, session: Session, count: Count) -> int:
        """The number of matching rows."""
        if self._filters:
            return session.count(count)
        return len(matching(session.scan(Scan(count.table)), count.where))

    def insert(self, session: Session, table: Table, rows: Sequence[Row]) -> None:
        """Add rows whose keys are free and whose references exist."""
        if not rows:
            return
        if not self._keys:
            self._require_free(session, table, rows, ignoring=frozenset())
        self._require_targets(session, table, rows)
        session.write(Insert(table, rows))

    def update(self, session: Session, table: Table, row_id: str, changes: Row) -> int:
        """Set columns of one row; returns 0 when the tenant has no such row."""
        if not self._keys and any(set(key) & changes.keys() for key in keys_of(table)):
            current = self._find(session, table, {ID: row_id})
            if current is None:
                return 0
            self._require_free(session, table, [{**current, **changes}], ignoring=frozenset({row_id}))
        self._require_targets(session, table, [changes])
        return session.write(Update(table, (row_id,), changes))

    def delete(self, session: Session, table: Table, row_id: str) -> int:
        """Remove one row that no other row refers to; returns 0 when the tenant has no such row."""
        for other, column in self._guard.referencing(table):
            where = [Condition(column, Operator.EQ, row_id)]
            if other.name == table.name:
                where.append(Condition(ID, Operator.NE, row_id))
            if self.count(session, Count(other, tuple(where))):
                raise ConstraintViolation(f"{other.name}.{column} still refers to this row of {table.name}")
        return session.write(Delete(table, (row_id,)))

    def upsert(self, session: Session, table: Table, row: Row, given: Row, key: Sequence[str]) -> Row:
        """Change the row with the same key, or add one; returns the row as it is then."""
        if any(row[column] is None for column in key):
            raise QueryError(f"upsert needs a value for each column of the key ({', '.join(key)})")
        current = self._find(session, table, {column: row[column] for column in key})
        if current is None:
            self.insert(session, table, [row])
            return row
        if ID in given and given[ID] != current[ID]:
            raise ConstraintViolation(f"the row of {table.name} with this key has another id")
        changes = {name: value for name, value in given.items() if name != ID and name not in key}
        if changes:
            self.update(session, table, current[ID], changes)
        return {**current, **changes}

    def _find(self, session: Session, table: Table, values: Row) -> Row | None:
        where = tuple(Condition(column, Operator.EQ, value) for column, value in values.items())
        rows = self.select(session, Scan(table, where, limit=1))
        return rows[0] if rows else None

    def _require_targets(self, session: Session, table: Table, rows: Sequence[Row]) -> None:
        for column, target_name in table.references.items():
            wanted = {row[column] for row in rows if row.get(column) is not None}
            if target_name == table.name:
                wanted -= {row[ID] for row in rows if ID in row}
            if not wanted:
                continue
            target = self._guard.table(target_name)
            found = self.count(session, Count(target, (Condition(ID, Operator.IN, tuple(sorted(wanted))),)))
            if found != len(wanted):
                raise ConstraintViolation(f"{table.name}.{column} refers to a row of {target_name} that does not exist")

    def _require_free(self, session: Session, table: Table, rows: Sequence[Row], *, ignoring: frozenset[str]) -> None:
        present = [row for row in session.scan(Scan(table)) if row[ID] not in ignoring]
        for key in keys_of(table):
            taken = {tuple(row[column] for column in key) for row in present}
            for row in rows:
                values = tuple(row[column] for column in key)
                if None not in values and values in taken:
                    raise ConstraintViolation(f"{table.name}.{', '.join(key)} is already taken")


def _sorted(rows: Sequence[Row], order: Order) -> list[Row]:
    present = [row for row in rows if row[order.column] is not None]
    missing = [row for row in rows if row[order.column] is None]
    return sorted(present, key=lambda row: row[order.column], reverse=order.descending) + missing
