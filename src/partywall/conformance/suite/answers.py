"""What a scoped query must answer, worked out over plain dicts: the reference that the engine is compared with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from partywall.backend import Aggregate, Capability, Order, Row, Scan
from partywall.conformance.suite.calls import Call, Refused
from partywall.conformance.suite.reference import aggregated, scanned
from partywall.conformance.suite.sample import TABLES
from partywall.model import ID, Table
from partywall.names import TableName
from partywall.operators import Comparison, Condition, Operator

__all__ = ["Answers", "Taken"]

Rows = dict[str, Row]
READS: Final = frozenset({"get", "select", "page", "next_page", "count", "aggregate"})
SPOILED: Final = Refused("BackendError", "an earlier statement of this transaction failed; nothing of it is written")
BUSY: Final = Refused("QueryError", "this thread's own transaction has the write lock; use the handle that began it")


@dataclass(frozen=True, slots=True)
class Taken:
    """A refusal by a store that checks keys itself: its words are its own, but it names the table and no value."""

    table: str
    keys: tuple[str, ...]
    """The keys that are taken, any of which it may name."""


class _Failure(Exception):
    def __init__(self, answer: Refused | Taken) -> None:
        super().__init__(answer)
        self.answer = answer


class Answers:
    """One tenant's rows as they must be, and what each call must therefore be told."""

    def __init__(self, capabilities: frozenset[Capability]) -> None:
        self.tables: dict[str, Rows] = {str(name): {} for name in TABLES}
        """What is committed."""
        self._store_checks_keys = Capability.KEYS in capabilities
        self._draft: dict[str, Rows] | None = None
        self._failed = False
        self._bookmark: tuple[Call, tuple[Any, ...]] | None = None

    def to(self, call: Call, told: Any, *, inside: bool) -> Any:
        """What the call must be told; ``told`` is what it was told, and names the ids that the engine made."""
        if call.method in ("begin", "commit", "rollback"):
            return getattr(self, call.method)()
        early = call.refused or _colliding(call)
        if early is not None or (call.method == "next_page" and self._bookmark is None):
            return early
        if inside and self._failed:
            return SPOILED
        if not inside and self._draft is not None and call.method not in READS:
            return BUSY
        tables = self._draft if inside and self._draft is not None else self.tables
        try:
            return getattr(self, f"_{call.method}")(tables, call, told)
        except _Failure as failure:
            self._failed = inside
            return failure.answer

    def close_page(self) -> None:
        """Whoever calls from now on has read no page yet."""
        self._bookmark = None

    def begin(self) -> bool:
        """A transaction opens."""
        self._draft, self._failed = {name: dict(rows) for name, rows in self.tables.items()}, False
        return True

    def commit(self) -> bool | Refused:
        """It is committed, unless something in it failed."""
        draft, self._draft = self._draft, None
        failed, self._failed = self._failed, False
        if failed:
            return SPOILED
        self.tables = self.tables if draft is None else draft
        return False

    def rollback(self) -> bool:
        """It is undone."""
        self._draft, self._failed = None, False
        return False

    def _get(self, tables: dict[str, Rows], call: Call, _told: Any) -> Row | None:
        return tables[call.table].get(call.arguments[0])

    def _select(self, tables: dict[str, Rows], call: Call, _told: Any) -> list[Row]:
        return scanned(list(tables[call.table].values()), _scan(call))

    def _page_of(self, tables: dict[str, Rows], call: Call, after: tuple[Any, ...] | None) -> tuple[list[Row], bool]:
        scan = _scan(call, after)
        limit = call.keywords["limit"]
        found = scanned(list(tables[call.table].values()), scan)
        rows, more = found[:limit], len(found) > limit
        self._bookmark = (call, tuple(rows[-1][order.column] for order in scan.order_by)) if more else None
        return rows, more

    def _page(self, tables: dict[str, Rows], call: Call, _told: Any) -> tuple[list[Row], bool]:
        return self._page_of(tables, call, None)

    def _next_page(self, tables: dict[str, Rows], _call: Call, _told: Any) -> tuple[list[Row], bool]:
        assert self._bookmark is not None
        return self._page_of(tables, *self._bookmark)

    def _count(self, tables: dict[str, Rows], call: Call, _told: Any) -> int:
        return len(self._select(tables, call, None))

    def _aggregate(self, tables: dict[str, Rows], call: Call, _told: Any) -> list[Row]:
        where, groups = call.keywords["where"], call.keywords["group_by"]
        wanted = Aggregate(_table(call), call.arguments[0], _conditions(where), groups)
        return aggregated(list(tables[call.table].values()), wanted)

    def _insert(self, tables: dict[str, Rows], call: Call, told: Any) -> Row:
        return self._added(tables, call, call.arguments, [told])[0]

    def _insert_many(self, tables: dict[str, Rows], call: Call, told: Any) -> list[Row]:
        return self._added(tables, call, call.arguments[0], told if isinstance(told, list) else [])

    def _added(self, tables: dict[str, Rows], call: Call, given: Sequence[Row], told: Sequence[Any]) -> list[Row]:
        rows = _whole(_table(call), given, told, tables[call.table])
        after = {**tables[call.table], **{row[ID]: row for row in rows}}
        taken: tuple[tuple[str, ...], ...] = () if len(after) == len(tables[call.table]) + len(rows) else ((ID,),)
        taken += tuple(key for key in TABLES[TableName(call.table)].unique if _repeated(key, after.values()))
        self._check(tables, call, rows, taken)
        tables[call.table] = after
        return rows

    def _update(self, tables: dict[str, Rows], call: Call, _told: Any) -> int:
        row_id, changes = call.arguments
        return self._changed(tables, call, [row_id], changes)

    def _update_where(self, tables: dict[str, Rows], call: Call, _told: Any) -> int:
        where, changes = call.arguments
        return self._changed(tables, call, _ids(tables, call, where), changes)

    def _changed(self, tables: dict[str, Rows], call: Call, ids: Iterable[str], changes: Row) -> int:
        rows = tables[call.table]
        changed = {row_id: {**rows[row_id], **changes} for row_id in ids if row_id in rows}
        after = {**rows, **changed}
        taken = tuple(key for key in _table(call).unique if _repeated(key, after.values()))
        self._check(tables, call, [changes], taken)
        tables[call.table] = after
        return len(changed)

    def _delete(self, tables: dict[str, Rows], call: Call, _told: Any) -> int:
        return self._removed(tables, call, [call.arguments[0]])

    def _delete_where(self, tables: dict[str, Rows], call: Call, _told: Any) -> int:
        return self._removed(tables, call, _ids(tables, call, call.arguments[0]))

    def _removed(self, tables: dict[str, Rows], call: Call, ids: list[str]) -> int:
        for other in TABLES.values():
            for column, target in other.references.items():
                if target == call.table and any(row[column] in ids for row in tables[other.name].values()):
                    text = f"{other.name}.{column} still refers to this row of {target}"
                    raise _Failure(Refused("ConstraintViolation", text))
        after = {row_id: row for row_id, row in tables[call.table].items() if row_id not in ids}
        removed = len(tables[call.table]) - len(after)
        tables[call.table] = after
        return removed

    def _upsert(self, tables: dict[str, Rows], call: Call, told: Any) -> Row:
        (given,), key = call.arguments, _key(call.keywords.get("key"))
        if any(given.get(column) is None for column in key):
            text = f"upsert needs a value for each column of the key ({', '.join(key)})"
            raise _Failure(Refused("QueryError", text))
        found = [row for row in tables[call.table].values() if all(row[column] == given[column] for column in key)]
        if not found:
            return self._added(tables, call, [given], [told])[0]
        if ID in given and given[ID] != found[0][ID]:
            text = f"the row of {call.table} with this key has another id"
            raise _Failure(Refused("ConstraintViolation", text))
        changes = {name: value for name, value in given.items() if name not in (ID, "tenant_id", *key)}
        if changes:
            self._changed(tables, call, [found[0][ID]], changes)
        return {**found[0], **changes}

    def _check(
        self, tables: dict[str, Rows], call: Call, rows: Sequence[Row], taken: tuple[tuple[str, ...], ...]
    ) -> None:
        """Who is first to refuse: the keys, if the engine checks them, or else the references."""
        names = tuple(", ".join(key) for key in taken)
        if taken and not self._store_checks_keys:
            raise _Failure(Refused("ConstraintViolation", f"{call.table}.{names[0]} is already taken"))
        for column, target in _table(call).references.items():
            if any(row.get(column) is not None and row[column] not in tables[target] for row in rows):
                text = f"{call.table}.{column} refers to a row of {target} that does not exist"
                raise _Failure(Refused("ConstraintViolation", text))
        if taken:
            raise _Failure(Taken(call.table, names))


def _table(call: Call) -> Table:
    return TABLES[TableName(call.table)]


def _whole(table: Table, given: Sequence[Row], told: Sequence[Any], present: Rows) -> list[Row]:
    """The rows as they are kept. An id that the engine made is taken from its answer, if it can be one.

    A refused call names none, and each of its rows still has one of its own.
    """
    rows: list[Row] = []
    for number, data in enumerate(given):
        answer = told[number] if number < len(told) else None
        made = answer.get(ID) if isinstance(answer, dict) else None
        row_id = data.get(ID) or (made if made is not None and made not in present else f"\0made {number}")
        rows.append({ID: row_id, **{name: data.get(name) for name in table.columns}})
    return rows


def _colliding(call: Call) -> Refused | None:
    """What the engine sees in rows that are inserted together, before it asks for anything."""
    if call.method != "insert_many":
        return None
    for key in ((ID,), *_table(call).unique):
        if _repeated(key, call.arguments[0]):
            return Refused("ConstraintViolation", f"two of the rows have the same {call.table}.{', '.join(key)}")
    return None


def _repeated(key: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bool:
    taken = [values for row in rows if None not in (values := tuple(row.get(column) for column in key))]
    return len(set(taken)) != len(taken)


def _key(key: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (ID,) if key is None else (key,) if isinstance(key, str) else key


def _ids(tables: dict[str, Rows], call: Call, where: Mapping[str, Any]) -> list[str]:
    return [row[ID] for row in scanned(list(tables[call.table].values()), Scan(_table(call), _conditions(where)))]


def _scan(call: Call, after: tuple[Any, ...] | None = None) -> Scan:
    names = call.keywords.get("order_by") or ()
    listed = (names,) if isinstance(names, str) else names
    orders = tuple(Order(name.removeprefix("-"), name.startswith("-")) for name in listed)
    if all(order.column != ID for order in orders):
        orders = (*orders, Order(ID))
    limit = call.keywords.get("limit") if call.method == "select" else None
    return Scan(_table(call), _conditions(call.arguments[0]), orders, limit, after)


def _conditions(where: Mapping[str, Any]) -> tuple[Condition, ...]:
    conditions: list[Condition] = []
    for column, wanted in where.items():
        if isinstance(wanted, Comparison):
            conditions += [Condition(column, operator, value) for operator, value in wanted.tests]
        elif column != "tenant_id":
            conditions.append(Condition(column, Operator.IS_NULL if wanted is None else Operator.EQ, wanted))
    return tuple(conditions)
