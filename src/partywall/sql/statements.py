"""Scan, Count, Aggregate, Insert, Update and Delete as SQL, for one set of declared tables in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias, TypeVar

from partywall.aggregates import Function, Measure
from partywall.backend import Aggregate, Count, Delete, Insert, Row, Scan, Update, Write
from partywall.errors import IsolationBreach, QueryError
from partywall.model import ID, ColumnType, Table
from partywall.operators import Condition, Operator
from partywall.sql.conditions import Keys, Shape, after_parameters, after_text, comparable, condition_text, split
from partywall.sql.dialect import Dialect, quote
from partywall.sql.measures import measure_decoder, measure_text

__all__ = ["Rendered", "Statements"]

T = TypeVar("T")

_SHAPES: Final = 512
"""Texts that are kept of each kind; an application has a few dozen."""
_FEW_ROWS: Final = 3
"""Up to so many rows VALUES is the faster of the two ways to insert."""
_ROWS: Final = Measure(Function.COUNT)
_After: TypeAlias = tuple[Keys, tuple[bool, ...]]
"""The sort keys, and which of the values to read on from are missing."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A statement as its store takes it."""

    text: str
    parameters: list[Any]


@dataclass(frozen=True, slots=True)
class _Relation:
    name: str
    types: dict[str, ColumnType]
    decoders: list[tuple[str, Callable[[Any], Any]]]


class Statements:
    """Renders the contract's statements; the same shape always gives the same text.

    ``within`` are the names that lead to the tables, such as a catalog and a schema. With a ``scope``
    every statement carries the condition that this column is the tenant, every inserted row carries
    the tenant, and a statement without a tenant is an IsolationBreach.
    """

    def __init__(
        self,
        dialect: Dialect,
        tables: Mapping[Any, Table],
        *,
        within: Sequence[str] = (),
        scope: str | None = None,
    ) -> None:
        self._dialect = dialect
        self._scope = None if scope is None else quote(scope)
        prefix = "".join(f"{quote(name)}." for name in within)
        self._relations: dict[str, _Relation] = {table.name: self._relation(prefix, table) for table in tables.values()}
        self._select_text = lru_cache(_SHAPES)(self._select)
        self._aggregate_text = lru_cache(_SHAPES)(self._aggregate)
        self._insert_text = lru_cache(_SHAPES)(self._insert)
        self._change_text = lru_cache(_SHAPES)(self._change)

    def _relation(self, prefix: str, table: Table) -> _Relation:
        types: dict[str, ColumnType] = {str(name): kind for name, kind in table.types.items()}
        decode = self._dialect.decode
        return _Relation(
            f"{prefix}{quote(table.name)}",
            types,
            [(name, decode[kind]) for name, kind in types.items() if kind in decode],
        )

    def relation(self, table: Table) -> str:
        """The table's quoted name, with what leads to it; QueryError for a table that is not declared."""
        return self._declared(table).name

    def scan(self, statement: Scan, tenant: str | None = None) -> Rendered:
        """The statement that reads rows; ``rows`` turns what it fetched into the contract's rows."""
        relation = self._declared(statement.table)
        parameters = self._scoped(tenant)
        where = self._where(relation, statement.where, parameters)
        order = self._order(relation, statement)
        after = self._after(relation, statement, parameters)
        limited = statement.limit is not None
        if any(shape[:2] == (ID, Operator.EQ) for shape in where):
            # One row at most has an id: sorting it would double the cost of the statement, a limit adds a tenth.
            order, limited = (), statement.limit == 0
        if limited:
            parameters.append(statement.limit)
        return Rendered(self._select_text(statement.table.name, where, order, after, limited), parameters)

    def count(self, statement: Count, tenant: str | None = None) -> Rendered:
        """The statement that fetches one number."""
        relation = self._declared(statement.table)
        parameters = self._scoped(tenant)
        where = self._where(relation, statement.where, parameters)
        return Rendered(self._aggregate_text(statement.table.name, where, (), (_ROWS,)), parameters)

    def aggregate(self, statement: Aggregate, tenant: str | None = None) -> Rendered:
        """The statement that measures; ``groups`` turns what it fetched into the contract's rows."""
        relation = self._declared(statement.table)
        for column in statement.group_by:
            _require_known(relation, column)
        if not (statement.group_by or statement.measures):
            raise QueryError("an aggregate names at least one measure or one column to group by")
        parameters = self._scoped(tenant)
        where = self._where(relation, statement.where, parameters)
        measures = tuple(statement.measures.values())
        return Rendered(
            self._aggregate_text(statement.table.name, where, tuple(statement.group_by), measures), parameters
        )

    def write(self, statement: Write, tenant: str | None = None) -> list[Rendered]:
        """The statements that write: none when there is nothing to do, at most one with ``Dialect.arrays``."""
        match statement:
            case Insert(table, rows):
                return list(self._inserts(self._declared(table), table.name, rows, tenant))
            case Update(table, ids, changes):
                return list(self._updates(self._declared(table), table.name, ids, changes, tenant))
            case Delete(table, ids):
                self._declared(table)
                return list(self._changes(table.name, ids, (), [], tenant))

    def rows(self, table: Table, fetched: Iterable[Sequence[Any]]) -> list[Row]:
        """What a scan's statement fetched, as the contract's rows."""
        relation = self._declared(table)
        names = tuple(relation.types)
        rows = [dict(zip(names, values, strict=True)) for values in fetched]
        for name, decode in relation.decoders:
            for row in rows:
                if row[name] is not None:
                    row[name] = decode(row[name])
        return rows

    def groups(self, statement: Aggregate, fetched: Iterable[Sequence[Any]]) -> list[Row]:
        """What an aggregate's statement fetched, as the contract's rows."""
        relation, dialect = self._declared(statement.table), self._dialect
        names = [*statement.group_by, *statement.measures]
        decoders = [
            *(dialect.decode.get(relation.types[column]) for column in statement.group_by),
            *(measure_decoder(measure, relation.types, dialect) for measure in statement.measures.values()),
        ]
        return [
            {
                name: decode(value) if decode is not None and value is not None else value
                for name, decode, value in zip(names, decoders, values, strict=True)
            }
            for values in fetched
        ]

    def _declared(self, table: Table) -> _Relation:
        relation = self._relations.get(table.name)
        if relation is None:
            raise QueryError(f"unknown table {ascii(table.name)[:80]}")
        return relation

    def _scoped(self, tenant: str | None) -> list[Any]:
        if self._scope is None:
            return []
        if not tenant:
            raise IsolationBreach("a statement without a tenant was about to reach a store that tenants share")
        return [tenant]

    def _where(self, relation: _Relation, where: Sequence[Condition], parameters: list[Any]) -> tuple[Shape, ...]:
        return tuple(split(condition, relation.types, self._dialect, parameters) for condition in where)

    def _order(self, relation: _Relation, statement: Scan) -> Keys:
        order = _keys(statement)
        for column, _ in order:
            _require_known(relation, column)
        return order

    def _after(self, relation: _Relation, statement: Scan, parameters: list[Any]) -> _After | None:
        values = statement.after
        if values is None:
            return None
        keys = _keys(statement)
        if not keys or len(values) != len(keys):
            raise QueryError("a key to read on from holds one value for each sort key")
        parameters.extend(after_parameters(keys, values, relation.types, self._dialect))
        return keys, tuple(value is None for value in values)

    def _inserts(self, relation: _Relation, name: str, rows: Sequence[Row], tenant: str | None) -> Iterator[Rendered]:
        scope = self._scoped(tenant)
        listed = [self._encoded(relation, row) for row in rows]
        if self._dialect.arrays and len(listed) > _FEW_ROWS:
            yield Rendered(self._insert_text(name, 0), [*scope, *map(list, zip(*listed, strict=True))])
            return
        for batch in _batches(listed, self._dialect.most_parameters // (len(relation.types) + len(scope))):
            yield Rendered(self._insert_text(name, len(batch)), [value for row in batch for value in (*scope, *row)])

    def _encoded(self, relation: _Relation, row: Row) -> list[Any]:
        if row.keys() != relation.types.keys():
            raise QueryError("a row holds every declared column and no other")
        return [self._value(kind, row[name]) for name, kind in relation.types.items()]

    def _value(self, kind: ColumnType, value: Any) -> Any:
        encode = self._dialect.encode.get(kind)
        return value if encode is None or value is None else encode(value)

    def _updates(
        self, relation: _Relation, name: str, ids: Sequence[str], changes: Row, tenant: str | None
    ) -> Iterator[Rendered]:
        if ID in changes or not changes.keys() <= relation.types.keys():
            raise QueryError("an update sets declared columns other than id")
        if changes:
            values = [self._value(relation.types[column], value) for column, value in changes.items()]
            yield from self._changes(name, ids, tuple(changes), values, tenant)

    def _changes(
        self, name: str, ids: Sequence[str], columns: tuple[str, ...], values: list[Any], tenant: str | None
    ) -> Iterator[Rendered]:
        parameters = [*values, *self._scoped(tenant)]
        distinct = list(dict.fromkeys(ids))
        if self._dialect.arrays and len(distinct) > 1:
            yield Rendered(self._change_text(name, columns, 2), [*parameters, distinct])
            return
        for batch in _batches(distinct, self._dialect.most_parameters - len(parameters)):
            yield Rendered(self._change_text(name, columns, len(batch)), [*parameters, *batch])

    def _select(self, name: str, where: tuple[Shape, ...], order: Keys, after: _After | None, limited: bool) -> str:
        relation, dialect = self._relations[name], self._dialect
        later = [after_text(*after, relation.types, dialect)] if after is not None else []
        keys = [self._sort_key(relation, column, descending) for column, descending in order]
        parts = [
            self._from(relation, ", ".join(map(quote, relation.types)), where, later),
            f"ORDER BY {', '.join(keys)}" if keys else "",
            "LIMIT ?" if limited else "",
        ]
        return dialect.numbered(" ".join(filter(None, parts)))

    def _aggregate(
        self, name: str, where: tuple[Shape, ...], groups: tuple[str, ...], measures: tuple[Measure, ...]
    ) -> str:
        relation, dialect = self._relations[name], self._dialect
        listed = ", ".join(map(quote, groups))
        wanted = [*map(quote, groups), *(measure_text(measure, relation.types, dialect) for measure in measures)]
        parts = [
            self._from(relation, ", ".join(wanted), where, []),
            f"GROUP BY {listed}" if groups else "",
            f"ORDER BY {', '.join(self._sort_key(relation, column, False) for column in groups)}" if groups else "",
        ]
        return dialect.numbered(" ".join(filter(None, parts)))

    def _from(self, relation: _Relation, wanted: str, where: tuple[Shape, ...], more: list[str]) -> str:
        tests = [f"{self._scope} = ?"] if self._scope else []
        tests += [condition_text(shape, relation.types, self._dialect) for shape in where]
        filtered = f" WHERE {' AND '.join([*tests, *more])}" if tests or more else ""
        return f"SELECT {wanted} FROM {relation.name}{filtered}"  # noqa: S608  # quoted names only; values are parameters

    def _sort_key(self, relation: _Relation, column: str, descending: bool) -> str:
        text = comparable(column, relation.types[column], self._dialect)
        return f"{text} {'DESC' if descending else 'ASC'} NULLS LAST"

    def _insert(self, name: str, rows: int) -> str:
        relation, dialect = self._relations[name], self._dialect
        columns = [*([self._scope] if self._scope else []), *map(quote, relation.types)]
        into = f"INSERT INTO {relation.name} ({', '.join(columns)})"
        if rows:
            one = f"({', '.join('?' * len(columns))})"
            return dialect.numbered(f"{into} VALUES {', '.join([one] * rows)}")
        lists = [f"unnest(CAST(? AS {dialect.types[kind]}[]))" for kind in relation.types.values()]
        return dialect.numbered(f"{into} SELECT {', '.join([*(['?'] if self._scope else []), *lists])}")

    def _change(self, name: str, columns: tuple[str, ...], ids: int) -> str:
        relation, dialect = self._relations[name], self._dialect
        changes = ", ".join(f"{quote(column)} = ?" for column in columns)
        # Quoted names only; values are parameters.
        verb = f"UPDATE {relation.name} SET {changes}" if columns else f"DELETE FROM {relation.name}"  # noqa: S608
        tests = [*([f"{self._scope} = ?"] if self._scope else []), f"{quote(ID)} {self._listed(ids)}"]
        return dialect.numbered(f"{verb} WHERE {' AND '.join(tests)}")

    def _listed(self, ids: int) -> str:
        """How ids stand in the text; with arrays, any number above one has the same text."""
        if ids == 1:
            return "= ?"
        if self._dialect.arrays:
            return f"= ANY(CAST(? AS {self._dialect.types[ColumnType.TEXT]}[]))"
        return f"IN ({', '.join('?' * ids)})"


def _keys(statement: Scan) -> Keys:
    return tuple((order.column, order.descending) for order in statement.order_by)


def _require_known(relation: _Relation, column: str) -> None:
    if column not in relation.types:
        raise QueryError(f"unknown column {ascii(column)[:80]}")


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    step = max(size, 1)
    return (items[start : start + step] for start in range(0, len(items), step))
