"""The guard of raw SQL: a tenant's own text becomes one statement that may run, or a QueryError that says why not.

DuckDB's own parser says what the text means. Its tree is only looked at, never changed: each kind of node, each of
its fields, and each function, type and table is one that is listed, and whatever is new or unknown is refused.
What no limit of DuckDB's contains is counted before it runs: relations, columns, and how far names expand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import duckdb

from partywall.errors import QueryError
from partywall_duckdb import sqlnames
from partywall_duckdb.hub import Cursor, run
from partywall_duckdb.sqlshapes import (
    CTE,
    EMPTY,
    EXPRESSIONS,
    FUNCTION,
    IGNORED,
    JOINS,
    MANY,
    MODIFIERS,
    ONE,
    OPERATORS,
    ORDERS,
    QUERIES,
    RELATIONS,
    STAR,
    TYPE,
    WINDOW,
    Shape,
)
from partywall_duckdb.sqltexts import refuse, require_constant, require_path, require_pattern, weight

__all__ = ["Vetted", "vet"]

Node: TypeAlias = Mapping[str, Any]

_LONGEST: Final = 64_000
"""Bytes of a statement."""
_MOST_NODES: Final = 5_000
"""Parts of a statement, what its names stand for counted at each use; planning takes time by their square."""
_MOST_RELATIONS: Final = 50
_MOST_COLUMNS: Final = 1_000
"""Columns that one relation of the statement may have."""
_MOST_GROUPINGS: Final = 64
_WHO_AND_WHERE: Final = frozenset(
    {"current_catalog", "current_role", "current_schema", "current_user", "session_user", "user"}
)
"""Names that are no columns and yet have a value: they tell of the instance."""
_SCHEMAS: Final = frozenset({"main", "temp"})
"""Where the relations of a statement stand; a relation named after one of these is a whole row."""


@dataclass(frozen=True, slots=True)
class Vetted:
    """A statement that may run."""

    statement: duckdb.Statement
    tables: frozenset[str]
    """The declared tables that it reads."""
    grows: bool
    """Whether it puts texts or lists together, so that a value may be larger than any that is stored."""
    gathers: bool
    """Whether it gathers the values of many rows in a list."""


def vet(
    cursor: Cursor,
    text: str,
    columns: Mapping[str, int],
    parameters: Mapping[str, Any],
    *,
    more: frozenset[str] = frozenset(),
) -> Vetted:
    """The one statement of the text, if it only reads these tables; QueryError otherwise.

    ``columns`` says how many columns each table has, ``parameters`` what they are given, and ``more`` which functions
    are allowed, with any arguments, beside the usual ones.
    """
    if "\0" in text or not _encodable(text) or len(text.encode()) > _LONGEST:
        raise QueryError(f"a statement has at most {_LONGEST:,} bytes of UTF-8, and no NUL")
    walk = _Walk(columns, parameters, more)
    try:
        walk.query(_tree(cursor, text), _Scope())
        (statement,) = cursor.extract_statements(text)
    except (RecursionError, KeyError, TypeError, AttributeError, IndexError, ValueError):
        # A tree that is not as it is known to be is not one to run.
        raise QueryError("the statement is nested too deeply, or of a kind that is not allowed here") from None
    return Vetted(statement, frozenset(walk.tables), walk.grows, walk.gathers)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _tree(cursor: Cursor, text: str) -> Node:
    try:
        ((answer,),) = run(cursor, "SELECT json_serialize_sql(?)", [text])
    except duckdb.ParserException:
        raise QueryError("the statement is not valid SQL, or nested too deeply") from None
    parsed = json.loads(answer)
    if parsed["error"]:
        if parsed["error_type"] == "parser":
            at = f" at character {int(parsed['position']) + 1:,}" if "position" in parsed else ", or nested too deeply"
            raise QueryError(f"the statement is not valid SQL{at}")
        raise QueryError("only a SELECT runs here; rows are changed by insert(), update() and delete()")
    if len(parsed["statements"]) != 1:
        raise QueryError("exactly one statement runs at a time")
    node: Node = parsed["statements"][0]["node"]
    return node


@dataclass(frozen=True, slots=True)
class _Scope:
    """What names mean at one place of the statement."""

    ctes: Mapping[str, int] = field(default_factory=dict)
    """Common table expressions by name, with the number of their columns."""
    rows: frozenset[str] = frozenset()
    """The relations whose columns can be named; alone, such a name would be a whole row."""
    aliases: Mapping[str, int] = field(default_factory=dict)
    """The columns that the select list has named so far, with what each costs to write out."""


class _Walk:
    """Goes through every node of a statement, and counts."""

    def __init__(self, columns: Mapping[str, int], parameters: Mapping[str, Any], more: frozenset[str]) -> None:
        self._columns = columns
        self._parameters = parameters
        self._functions = sqlnames.FUNCTIONS | more
        self._patterns = {name: place for name, place in sqlnames.PATTERNS.items() if name not in more}
        self._paths = sqlnames.PATHS - more
        self._relations = 0
        self._nodes = 0
        self.tables: set[str] = set()
        self.grows = False
        self.gathers = False

    def query(self, node: Node, scope: _Scope) -> int:
        """Look at a query; returns how many columns it has at most."""
        fields = _known(QUERIES, node["type"])
        scope = self._with_ctes(node["cte_map"]["map"], scope)
        match node["type"]:
            case "SELECT_NODE":
                return self._select(node, fields, scope)
            case "SET_OPERATION_NODE":
                self._fields(node, fields, scope)
                width = max(self.query(child, scope) for child in node["children"])
            case _:
                self._fields(node, fields, scope)
                width = self.query(node["left"], scope)
                self.query(node["right"], _Scope({**scope.ctes, _plain(node["cte_name"]): width}, scope.rows))
        self._modifiers(node["modifiers"], scope)
        return width

    def _select(self, node: Node, fields: Shape, outer: _Scope) -> int:
        inside, rows = self._relation(node["from_table"], outer)
        width, aliases = 0, dict(outer.aliases)
        for item in node["select_list"]:
            before, here = self._nodes, _Scope(outer.ctes, outer.rows | rows, aliases)
            if item["class"] == "STAR":
                width += inside
                self._star(item, here)
                continue
            width += 1
            self._expression(item, here)
            if item["alias"]:
                aliases = {**aliases, item["alias"].lower(): self._nodes - before}
        if len(node["group_sets"]) > _MOST_GROUPINGS:
            refuse(f"a statement groups in at most {_MOST_GROUPINGS} ways at once")
        self._fields(node, fields, _Scope(outer.ctes, outer.rows | rows, aliases))
        # Here a name of the select list comes before a row of the same name.
        self._modifiers(node["modifiers"], _Scope(outer.ctes, outer.rows | rows - aliases.keys(), aliases))
        return self._wide(width)

    def _with_ctes(self, entries: Iterable[Node], scope: _Scope) -> _Scope:
        for entry in entries:
            name, cte = _plain(entry["key"]), entry["value"]
            self._fields(cte, CTE, scope)
            if cte["materialized"] == "CTE_MATERIALIZE_NEVER":
                refuse("NOT MATERIALIZED")
            width = self.query(cte["query_node"], scope)
            scope = _Scope({**scope.ctes, name: width}, scope.rows, scope.aliases)
        return scope

    def _relation(self, node: Node, scope: _Scope) -> tuple[int, frozenset[str]]:
        """Look at what stands behind FROM; returns its columns, and the names of its relations."""
        kind = node["type"]
        fields = _known(RELATIONS, kind)
        self._relations += kind not in ("EMPTY", "JOIN")
        if self._relations > _MOST_RELATIONS:
            refuse(f"a statement reads from at most {_MOST_RELATIONS} relations")
        if kind == "JOIN":
            return self._join(node, fields, scope)
        self._fields(node, fields, scope)
        name = node["alias"].lower()
        match kind:
            case "BASE_TABLE":
                width = self._table(node, scope)
                name = name or node["table_name"].lower()
            case "SUBQUERY":
                width = self.query(node["subquery"]["node"], scope)
            case "TABLE_FUNCTION":
                width = self._table_function(node["function"], scope)
                name = name or node["function"]["function_name"].lower()
            case "EXPRESSION_LIST":
                width = max(len(row) for row in node["values"])
                for row in node["values"]:
                    self._all(row, scope)
            case _:
                width = 0
        return width, frozenset({name} - {""})

    def _join(self, node: Node, fields: Shape, scope: _Scope) -> tuple[int, frozenset[str]]:
        if node["ref_type"] not in JOINS:
            refuse(f"a join of the kind {node['ref_type']}")
        left, left_rows = self._relation(node["left"], scope)
        lateral = _Scope(scope.ctes, scope.rows | left_rows, scope.aliases)
        right, right_rows = self._relation(node["right"], lateral)
        both = _Scope(scope.ctes, lateral.rows | right_rows, scope.aliases)
        self._fields(node, fields, both)
        return self._wide(left + right), left_rows | right_rows

    def _table(self, node: Node, scope: _Scope) -> int:
        name = _plain(node["table_name"])
        if [name] != [part.lower() for part in node["qualified_name"]["path"]]:
            refuse("a name with a catalog or schema before it: a table is named by its own name")
        if name in scope.ctes:
            return scope.ctes[name]
        if name not in self._columns:
            raise QueryError(f"the statement names the table {ascii(node['table_name'])[:80]}, which is not declared")
        self.tables.add(name)
        return self._columns[name]

    def _table_function(self, call: Node, scope: _Scope) -> int:
        name = call["function_name"].lower()
        if name not in sqlnames.TABLE_FUNCTIONS:
            refuse(f"the table function {ascii(name)[:80]}")
        if name in sqlnames.SERIES:
            # Of each row's own length, it would be a list in memory and not a stream.
            for argument in call["arguments"]:
                require_constant(argument["expression"])
        self._call(call, FUNCTION, sqlnames.TABLE_FUNCTIONS, scope)
        return 2

    def _modifiers(self, modifiers: Iterable[Node], scope: _Scope) -> None:
        for modifier in modifiers:
            self._fields(modifier, _known(MODIFIERS, modifier["type"]), scope)
            if modifier["type"] == "ORDER_MODIFIER":
                self._orders(modifier["orders"], scope)

    def _orders(self, orders: Iterable[Node], scope: _Scope) -> None:
        for order in orders:
            by = order["expression"]
            if by["class"] == "STAR" and not (by["expr"] or by["replace_list"]):  # ORDER BY ALL
                _require_fields(order, ORDERS[order["type"]])
            else:
                self._fields(order, _known(ORDERS, order["type"]), scope)

    def _star(self, node: Node, scope: _Scope) -> None:
        self._fields(node, STAR, scope)
        self._all([entry["value"] for entry in node["replace_list"]], scope)

    def _expression(self, node: Node, scope: _Scope) -> None:
        self._spend(1)
        kind = node["class"]
        if kind == "FUNCTION":
            self._call(node, FUNCTION, self._functions, scope)
            self._modifiers([node["order_bys"]], scope)
            return
        if kind == "WINDOW":
            self._call(node, WINDOW, sqlnames.WINDOWS, scope)
            self._orders([*node["orders"], *node["arg_orders"]], scope)
            return
        self._fields(node, _known(EXPRESSIONS, kind), scope)
        match kind:
            case "COLUMN_REF":
                self._column(node["column_names"], scope)
            case "CONSTANT":
                self._spend(weight(node["literal"].get("text")))
            case "PARAMETER":
                self._spend(weight(self._parameters.get(node["identifier"])))
            case "SUBQUERY":
                self.query(node["subquery"]["node"], scope)
            case "CASE":
                for check in node["case_checks"]:
                    self._all([check["when_expr"], check["then_expr"]], scope)
            case "CAST":
                self._type(node["type_expr"])
            case "LAMBDA":
                # An arrow outside of the functions that take lambdas, none of which is allowed, reads JSON.
                require_path(node["expr"], self._parameters)
            case "OPERATOR":
                if node["type"] not in OPERATORS:
                    refuse(f"the operator {node['type'].removeprefix('OPERATOR_')}")
                self.grows = self.grows or node["type"] == "ARRAY_CONSTRUCTOR"

    def _column(self, names: Sequence[str], scope: _Scope) -> None:
        name = names[0].lower()
        if len(names) > 1:
            if len(names) > 2 or name in _SCHEMAS:
                refuse("a column with a catalog or schema before it: it is named by itself or with its table")
            return
        if name in scope.rows:
            refuse(f"{ascii(name)[:80]} for a whole row: name its columns, such as {ascii(name)[1:-1][:60]}.id")
        if name in _WHO_AND_WHERE:
            refuse(f"{name}; a column of that name is written with its table before it")
        self._spend(scope.aliases.get(name, 0))

    def _call(self, node: Node, fields: Shape, allowed: frozenset[str], scope: _Scope) -> None:
        self._fields(node, fields, scope)
        name = node["function_name"].lower()
        if name not in allowed or [part.lower() for part in node["qualified_name"]["path"]] != [name]:
            refuse(f"the function {ascii(node['function_name'])[:80]}")
        self.grows = self.grows or name in sqlnames.GROWING
        self.gathers = self.gathers or 0 < sqlnames.GATHERING.get(name, 0) <= len(node["arguments"])
        for place, argument in enumerate(node["arguments"]):
            if argument["name"]:
                refuse("an argument with a name")
            self._expression(argument["expression"], scope)
            if place == self._patterns.get(name):
                require_pattern(argument["expression"], self._parameters)
            if place and name in self._paths:
                require_path(argument["expression"], self._parameters)

    def _type(self, node: Node) -> None:
        self._fields(node, TYPE, _Scope())
        if node["type_name"].upper() not in sqlnames.TYPES or len(node["qualified_name"]["path"]) != 1:
            refuse(f"the type {ascii(node['type_name'])[:80]}")
        for child in node["children"]:
            if child["class"] == "TYPE":
                self._type(child)
            else:
                require_constant(child)

    def _fields(self, node: Node, fields: Shape, scope: _Scope) -> None:
        _require_fields(node, fields.keys())
        for name, how in fields.items():
            value = node[name]
            if how is EMPTY and value:
                refuse(f"{name.replace('_', ' ')} in this place")
            elif how is ONE and value is not None:
                self._expression(value, scope)
            elif how is MANY:
                self._all(value, scope)

    def _all(self, nodes: Iterable[Node], scope: _Scope) -> None:
        for node in nodes:
            self._expression(node, scope)

    def _spend(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > _MOST_NODES:
            refuse(f"a statement has at most {_MOST_NODES:,} parts")

    def _wide(self, width: int) -> int:
        if width > _MOST_COLUMNS:
            refuse(f"a relation has at most {_MOST_COLUMNS:,} columns")
        return width


def _known(kinds: Mapping[str, Shape], kind: str) -> Shape:
    fields = kinds.get(kind)
    if fields is None:
        refuse(f"{kind.removesuffix('_NODE').removesuffix('_QUERY').replace('_', ' ')}")
    return fields


def _require_fields(node: Node, known: Iterable[str]) -> None:
    if not node.keys() <= IGNORED | set(known):
        refuse(f"{min(node.keys() - IGNORED - set(known)).replace('_', ' ')}")


def _plain(name: str) -> str:
    """A relation's name, as DuckDB compares it."""
    if not name.isascii():
        refuse("a relation whose name is not plain ASCII")
    return name.lower()
