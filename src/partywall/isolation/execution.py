"""Statements on a session: what the backend claims it does, the rest is done here over ``scan``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from partywall.backend import Aggregate, Capability, Count, Delete, Insert, Order, Row, Scan, Session, Update
from partywall.errors import ConstraintViolation, QueryError
from partywall.isolation.arrow import ArrowTable, conformed, table_of
from partywall.isolation.counting import RowChanges
from partywall.isolation.scope import Scope
from partywall.isolation.statements import Guard, keys_of
from partywall.model import ID, Table
from partywall.operators import Condition, Operator, matching

__all__ = ["Execution"]

_CHUNK: Final = 1_000
"""Ids in one statement."""


class Execution:
    """Carries out checked statements for one tenant."""

    def __init__(self, guard: Guard, scope: Scope) -> None:
        self._guard = guard
        self._filters = Capability.FILTERS in scope.capabilities
        self._aggregates = Capability.AGGREGATES in scope.capabilities
        self._keys = Capability.KEYS in scope.capabilities
        self._arrow = scope.capabilities >= {Capability.ARROW, Capability.FILTERS}
        self.rows: RowChanges | None = None
        """Told of rows that count against quotas; set before anything is written."""

    def needs_transaction(self, table: Table, *, deletes: bool = False) -> bool:
        """Whether a write of this table is more than one statement."""
        if table.quota is not None:
            return True  # what is counted must have a moment at which it is committed
        if deletes:
            return bool(self._guard.referencing(table))
        return not self._keys or bool(table.references)

    def select(self, session: Session, scan: Scan) -> Sequence[Row]:
        """The matching rows, in order."""
        if self._filters:
            return session.scan(scan)
        rows = matching(session.scan(Scan(scan.table)), scan.where)
        for order in reversed(scan.order_by):
            rows = _sorted(rows, order)
        if scan.after is not None:
            rows = [row for row in rows if _comes_after(row, scan.order_by, scan.after)]
        return rows if scan.limit is None else rows[: scan.limit]

    def arrow(self, session: Session, scan: Scan) -> ArrowTable:
        """The matching rows, in order, as an Arrow table."""
        if self._arrow:
            return conformed(scan.table, session.arrow(scan))
        return table_of(scan.table, self.select(session, scan))

    def count(self, session: Session, count: Count) -> int:
        """The number of matching rows."""
        if self._filters:
            return session.count(count)
        return len(matching(session.scan(Scan(count.table)), count.where))

    def aggregate(self, session: Session, aggregate: Aggregate) -> Sequence[Row]:
        """One row for each group, ordered by group."""
        if self._aggregates:
            return session.aggregate(aggregate)
        groups: dict[tuple[Any, ...], list[Row]] = {} if aggregate.group_by else {(): []}
        for row in self.select(session, Scan(aggregate.table, aggregate.where)):
            groups.setdefault(tuple(row[column] for column in aggregate.group_by), []).append(row)
        measured = [
            dict(zip(aggregate.group_by, group, strict=True))
            | {name: measure.of(rows) for name, measure in aggregate.measures.items()}
            for group, rows in groups.items()
        ]
        for column in reversed(aggregate.group_by):
            measured = _sorted(measured, Order(column))
        return measured

    def insert(self, session: Session, table: Table, rows: Sequence[Row]) -> None:
        """Add rows whose keys are free and whose references exist."""
        if not rows:
            return
        if not self._keys:
            self._require_free(session, table, rows, replacing=frozenset())
        self._require_targets(session, table, rows)
        self._expect(session, table, len(rows))
        session.write(Insert(table, rows))

    def update(self, session: Session, table: Table, ids: Sequence[str], changes: Row) -> int:
        """Set columns of rows; returns how many of the ids are the tenant's rows."""
        if not self._keys and any(set(key) & changes.keys() for key in keys_of(table)):
            wanted = frozenset(ids)
            changed = [{**row, **changes} for row in session.scan(Scan(table)) if row[ID] in wanted]
            self._require_free(session, table, changed, replacing=wanted)
        self._require_targets(session, table, [changes])
        return sum(session.write(Update(table, chunk, changes)) for chunk in _chunks(ids))

    def delete(self, session: Session, table: Table, ids: Sequence[str]) -> int:
        """Remove rows that no other row refers to; returns how many of the ids were the tenant's rows."""
        for other, column in self._guard.referencing(table):
            going = frozenset(ids) if other.name == table.name else frozenset()
            for chunk in _chunks(ids):
                if self._refers(session, other, Condition(column, Operator.IN, chunk), going):
                    raise ConstraintViolation(f"{other.name}.{column} still refers to this row of {table.name}")
        self._expect(session, table, 0)
        removed = sum(session.write(Delete(table, chunk)) for chunk in _chunks(ids))
        if table.quota is not None and self.rows is not None:
            self.rows.removed(table.quota, removed)
        return removed

    def ids(self, session: Session, table: Table, where: tuple[Condition, ...]) -> list[str]:
        """The ids of the rows that match."""
        return [row[ID] for row in self.select(session, Scan(table, where, (Order(ID),)))]

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
            self.update(session, table, (current[ID],), changes)
        return {**current, **changes}

    def counted(self, session: Session, tables: Sequence[str]) -> int:
        """The number of rows in all of the tables."""
        return sum(self.count(session, Count(self._guard.table(name))) for name in tables)

    def _expect(self, session: Session, table: Table, added: int) -> None:
        if table.quota is not None and self.rows is not None:
            self.rows.expect(table.quota, added, lambda tables: self.counted(session, tables))

    def _find(self, session: Session, table: Table, values: Row) -> Row | None:
        where = tuple(Condition(column, Operator.EQ, value) for column, value in values.items())
        rows = self.select(session, Scan(table, where, limit=1))
        return rows[0] if rows else None

    def _refers(self, session: Session, table: Table, condition: Condition, going: frozenset[str]) -> bool:
        if not going:
            return self.count(session, Count(table, (condition,))) > 0
        return any(row_id not in going for row_id in self.ids(session, table, (condition,)))

    def _require_targets(self, session: Session, table: Table, rows: Sequence[Row]) -> None:
        for column, target_name in table.references.items():
            wanted = {row[column] for row in rows if row.get(column) is not None}
            if target_name == table.name:
                wanted -= {row[ID] for row in rows if ID in row}
            target = self._guard.table(target_name)
            for chunk in _chunks(sorted(wanted)):
                found = self.count(session, Count(target, (Condition(ID, Operator.IN, chunk),)))
                if found != len(chunk):
                    raise ConstraintViolation(
                        f"{table.name}.{column} refers to a row of {target_name} that does not exist"
                    )

    def _require_free(self, session: Session, table: Table, rows: Sequence[Row], *, replacing: frozenset[str]) -> None:
        present = [row for row in session.scan(Scan(table)) if row[ID] not in replacing]
        for key in keys_of(table):
            taken = {tuple(row[column] for column in key) for row in present}
            for row in rows:
                values = tuple(row[column] for column in key)
                if None not in values and values in taken:
                    raise ConstraintViolation(f"{table.name}.{', '.join(key)} is already taken")
                taken.add(values)


def _chunks(ids: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(ids), _CHUNK):
        yield tuple(ids[start : start + _CHUNK])


def _sorted(rows: Sequence[Row], order: Order) -> list[Row]:
    present = [row for row in rows if row[order.column] is not None]
    missing = [row for row in rows if row[order.column] is None]
    return sorted(present, key=lambda row: row[order.column], reverse=order.descending) + missing


def _comes_after(row: Row, orders: Sequence[Order], after: Sequence[Any]) -> bool:
    for order, bound in zip(orders, after, strict=True):
        value = row[order.column]
        if value == bound:
            continue
        if value is None or bound is None:
            return value is None
        return bool(value < bound if order.descending else value > bound)
    return False
