"""The guard: what a caller asks for becomes a checked statement, or a QueryError that says why not.

Tables and columns are found among the declared ones, never spelled into anything; values are checked
against their column; and a ``tenant_id`` may stand in the data only when it is the scope's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, TypeVar

from partywall.aggregates import Function, Measure
from partywall.backend import Aggregate, Order, Row, Scan
from partywall.clock import Clock, utc
from partywall.errors import ConstraintViolation, QueryError
from partywall.model import ID, ColumnType, Table, encode
from partywall.names import ColumnName, TableName, TenantId, new_row_id, parse_column, parse_row_id
from partywall.operators import Comparison, Condition, Operator

__all__ = ["Guard", "keys_of"]

T = TypeVar("T")

_TENANT: Final = "tenant_id"
_LONGEST_IN: Final = 10_000
_LONGEST_PATTERN: Final = 1_000
"""Characters; matching takes time by the product of text and pattern, and no store can be stopped amid it."""
_FOR_JSON: Final = frozenset({Operator.EQ, Operator.NE, Operator.IS_NULL, Operator.NOT_NULL})


class Guard:
    """Checks statements against the declared tables, for any tenant."""

    def __init__(self, tables: Mapping[TableName, Table], clock: Clock, *, max_rows: int) -> None:
        self.tables = tables
        self._clock = clock
        self.max_rows = max_rows
        """The most rows that one read returns, so that one tenant's result cannot fill the memory of all."""

    def table(self, name: str) -> Table:
        """The declared table; QueryError."""
        table = self.tables.get(TableName(name)) if type(name) is str else None
        if table is None:
            raise QueryError(f"unknown table {_quoted(name)}{_hint(name, self.tables)}")
        return table

    def referencing(self, target: Table) -> list[tuple[Table, str]]:
        """The tables and columns that may hold ids of the target's rows."""
        return [
            (table, column)
            for table in self.tables.values()
            for column, name in table.references.items()
            if name == target.name
        ]

    def scan(
        self,
        tenant_id: TenantId,
        table: Table,
        where: Mapping[str, Any] | None,
        order_by: str | Sequence[str] | None,
        limit: int | None,
    ) -> Scan:
        """The read that was asked for. Rows that tie come in the order of their ids."""
        if limit is not None and (type(limit) is not int or not 0 <= limit <= self.max_rows):
            raise QueryError(f"limit takes a whole number from 0 to {self.max_rows:,}, or None")
        return Scan(table, self.where(tenant_id, table, where), _orders(table, order_by), limit)

    def where(self, tenant_id: TenantId, table: Table, where: Mapping[str, Any] | None) -> tuple[Condition, ...]:
        """The conditions that were asked for; all of them must hold."""
        if where is None:
            return ()
        if not isinstance(where, Mapping):
            raise QueryError("where takes a mapping of columns to values or comparisons")
        conditions: list[Condition] = []
        for name, wanted in where.items():
            _require_text(table, name)
            if name == _TENANT:
                _own(tenant_id, wanted)
                continue
            kind = _type_of(table, name)
            for operator, value in _tests(f"{table.name}.{name}", wanted):
                conditions.append(_condition(table, name, kind, operator, value))
        return tuple(conditions)

    def aggregate(
        self,
        tenant_id: TenantId,
        table: Table,
        measures: Mapping[str, Measure],
        where: Mapping[str, Any] | None,
        group_by: str | Sequence[str],
    ) -> Aggregate:
        """The measurement that was asked for."""
        groups = (group_by,) if isinstance(group_by, str) else tuple(_listed(group_by, "group_by"))
        for column in groups:
            if _type_of(table, column) is ColumnType.JSON:
                raise QueryError(f"{table.name}.{column} holds JSON documents, which make no groups")
        if not measures:
            raise QueryError("aggregate takes a mapping of result names to measures such as count()")
        if any(type(name) is not str for name in measures):
            raise QueryError("the names of results are texts")
        for name, measure in measures.items():
            if parse_column(name) in groups or name == ID:
                raise QueryError(f"'{name}' names a group already")
            _check_measure(table, name, measure)
        return Aggregate(table, dict(measures), self.where(tenant_id, table, where), groups)

    def new_row(self, tenant_id: TenantId, table: Table, data: Mapping[str, Any]) -> Row:
        """The whole row that the data describe: with its id, defaults and every column."""
        given = self._given(tenant_id, table, data)
        row: Row = {ID: given.pop(ID, None) or new_row_id()}
        for name, column in table.columns.items():
            value = given.get(name)
            if value is None and name not in given:
                value = column.initial(utc(self._clock.now()))
            if value is None and column.required:
                raise QueryError(f"{table.name}.{name} is required")
            row[name] = value
        return row

    def new_rows(self, tenant_id: TenantId, table: Table, data: Iterable[Mapping[str, Any]]) -> list[Row]:
        """Whole rows; keys that collide among themselves are refused before anything is written."""
        if isinstance(data, Mapping | str | bytes) or not isinstance(data, Iterable):
            raise QueryError("insert_many takes a list of rows")
        rows = [self.new_row(tenant_id, table, item) for item in data]
        for key in keys_of(table):
            taken = [values for row in rows if None not in (values := tuple(row[column] for column in key))]
            if len(set(taken)) != len(taken):
                raise ConstraintViolation(f"two of the rows have the same {table.name}.{', '.join(key)}")
        return rows

    def changes(self, tenant_id: TenantId, table: Table, data: Mapping[str, Any]) -> Row:
        """The columns to set; ``id`` never changes."""
        given = self._given(tenant_id, table, data)
        if ID in given:
            raise QueryError(f"{table.name}.id never changes; insert a new row")
        if not given:
            raise QueryError("update needs at least one column")
        for name, value in given.items():
            if value is None and table.columns[name].required:  # type: ignore[index]  # checked by _given
                raise QueryError(f"{table.name}.{name} is required")
        return given

    def key(self, table: Table, key: Sequence[str] | str | None) -> tuple[str, ...]:
        """The key by which upsert finds a row: ``id`` or a declared unique key."""
        if not isinstance(key, str | Sequence | None):
            raise QueryError(f"{table.name}: a key is the name of a column, or a list of names")
        columns = (ID,) if key is None else (key,) if isinstance(key, str) else tuple(key)
        if any(type(column) is not str for column in columns) or columns not in keys_of(table):
            declared = " or ".join(f"({', '.join(each)})" for each in keys_of(table))
            raise QueryError(f"{table.name} has no key ({', '.join(map(str, columns))}); its keys are {declared}")
        return columns

    def _given(self, tenant_id: TenantId, table: Table, data: Mapping[str, Any]) -> Row:
        if not isinstance(data, Mapping):
            raise QueryError("a row is a mapping of columns to values")
        given: Row = {}
        for name, value in data.items():
            _require_text(table, name)
            if name == _TENANT:
                _own(tenant_id, value)
            elif name == ID:
                given[ID] = parse_row_id(value)
            else:
                kind = _type_of(table, name)
                _refuse_comparison(name, value)
                given[name] = None if value is None else encode(kind, value, f"{table.name}.{name}")
        return given


def keys_of(table: Table) -> list[tuple[str, ...]]:
    """Every key of the table: ``id`` first, then the declared ones."""
    return [(ID,), *(tuple(key) for key in table.unique)]


def _own(tenant_id: TenantId, value: Any) -> None:
    if value != tenant_id:
        raise QueryError("tenant_id is not this scope's; a row belongs to the tenant whose handle writes it")


def _require_text(table: Table, name: Any) -> None:
    """Refuse what is no plain text: a subclass may compare as one column and be written as something else."""
    if type(name) is not str:
        raise _unknown(table, name)


def _type_of(table: Table, name: Any) -> ColumnType:
    _require_text(table, name)
    if name == ID:
        return ColumnType.TEXT
    column = table.columns.get(ColumnName(name))
    if column is None:
        raise _unknown(table, name)
    return column.type


def _unknown(table: Table, name: Any) -> QueryError:
    return QueryError(f"unknown column {_quoted(name)} of {table.name}{_hint(name, [ID, *table.columns])}")


def _tests(place: str, wanted: Any) -> Iterator[tuple[Operator, Any]]:
    if not isinstance(wanted, Comparison):
        yield (Operator.IS_NULL, None) if wanted is None else (Operator.EQ, wanted)
        return
    tests: Any = wanted.tests
    for test in tests if isinstance(tests, tuple) else (None,):
        match test:
            case (Operator() as operator, value):
                yield operator, value
            case _:
                raise _handmade(place)


def _handmade(place: str) -> QueryError:
    return QueryError(f"{place}: comparisons are made by the functions of partywall.operators")


def _condition(table: Table, name: str, kind: ColumnType, operator: Operator, value: Any) -> Condition:
    place = f"{table.name}.{name}"
    if kind is ColumnType.JSON and operator not in _FOR_JSON:
        raise QueryError(f"{place} holds JSON documents, which compare only as equal, unequal or missing")
    match operator:
        case Operator.IS_NULL | Operator.NOT_NULL:
            return Condition(name, operator)
        case Operator.IN | Operator.NOT_IN:
            if not isinstance(value, tuple):
                raise _handmade(place)
            if len(value) > _LONGEST_IN:
                raise QueryError(f"{place}: a list of more than {_LONGEST_IN:,} values; ask in parts")
            return Condition(name, operator, tuple(_operand(kind, each, place) for each in value))
        case Operator.LIKE:
            if kind is not ColumnType.TEXT or not isinstance(value, str):
                raise QueryError(f"{place}: like compares a text column with a text pattern")
            if len(value) > _LONGEST_PATTERN:
                raise QueryError(f"{place}: a pattern of more than {_LONGEST_PATTERN:,} characters")
            if (len(value) - len(value.rstrip("\\"))) % 2:
                raise QueryError(f"{place}: the pattern ends in a lone backslash")
            return Condition(name, operator, encode(kind, value, place))
        case _:
            return Condition(name, operator, _operand(kind, value, place))


def _operand(kind: ColumnType, value: Any, place: str) -> Any:
    if value is None:
        raise QueryError(f"{place}: nothing compares with None; use is_null() or not_null()")
    _refuse_comparison(place, value)
    return encode(kind, value, place)


def _refuse_comparison(place: str, value: Any) -> None:
    if isinstance(value, Comparison):
        raise QueryError(f"{place}: a comparison cannot stand here")


def _check_measure(table: Table, name: str, measure: object) -> None:
    if not isinstance(measure, Measure) or not isinstance(measure.function, Function):
        raise QueryError(
            f"'{name}' is no measure; use count(), sum_(), avg(), min_() or max_() of partywall.aggregates"
        )
    if measure.column is None:
        return
    kind = _type_of(table, measure.column)
    numeric = kind in (ColumnType.INTEGER, ColumnType.FLOAT)
    if measure.function in (Function.SUM, Function.AVG) and not numeric:
        raise QueryError(f"{table.name}.{measure.column} has no {measure.function}: it holds no numbers")
    if measure.function in (Function.MIN, Function.MAX) and kind is ColumnType.JSON:
        raise QueryError(f"{table.name}.{measure.column} holds JSON documents, which have no order")


def _orders(table: Table, order_by: str | Sequence[str] | None) -> tuple[Order, ...]:
    names = [order_by] if isinstance(order_by, str) else _listed(order_by or (), "order_by")
    orders: list[Order] = []
    for name in names:
        if type(name) is not str:
            raise QueryError("order_by takes column names, each with a leading '-' to descend")
        column = name.removeprefix("-")
        if _type_of(table, column) is ColumnType.JSON:
            raise QueryError(f"{table.name}.{column} holds JSON documents, which have no order")
        if any(order.column == column for order in orders):
            raise QueryError(f"order_by names {table.name}.{column} twice")
        orders.append(Order(column, descending=name.startswith("-")))
    if all(order.column != ID for order in orders):
        orders.append(Order(ID))
    return tuple(orders)


def _listed(items: Iterable[T], what: str) -> list[T]:
    if not isinstance(items, Iterable):
        raise QueryError(f"{what} takes a list")
    return list(items)


def _quoted(name: Any) -> str:
    shown = ascii(name)
    return shown if len(shown) <= 60 else f"{shown[:57]}…"


def _hint(name: Any, known: Iterable[str]) -> str:
    close = get_close_matches(name[:64], list(known), n=1) if isinstance(name, str) else []
    return f"; did you mean '{close[0]}'?" if close else ""
