"""The kinds of node that a tenant's own SQL may have, and the fields of each, as DuckDB's parser writes them."""

from __future__ import annotations

from typing import Final

__all__ = [
    "CTE",
    "EMPTY",
    "EXPRESSIONS",
    "FUNCTION",
    "IGNORED",
    "JOINS",
    "MANY",
    "MODIFIERS",
    "ONE",
    "OPERATORS",
    "ORDERS",
    "PLAIN",
    "QUERIES",
    "RELATIONS",
    "STAR",
    "TYPE",
    "WINDOW",
    "Shape",
]

Shape = dict[str, str]
"""The fields of one kind of node, and how each is looked at."""

IGNORED: Final = frozenset({"alias", "class", "query_location", "query_location_length", "type"})
ONE: Final = "one"
MANY: Final = "many"
PLAIN: Final = "plain"
EMPTY: Final = "empty"
"""How the fields of a node are looked at: as one expression or several, not at all, or that nothing stands there."""

EXPRESSIONS: Final[dict[str, Shape]] = {
    "BETWEEN": {"input": ONE, "lower": ONE, "upper": ONE},
    "CASE": {"case_checks": PLAIN, "else_expr": ONE},
    "CAST": {"child": ONE, "try_cast": PLAIN, "type_expr": PLAIN},
    "COLUMN_REF": {"column_names": PLAIN},
    "COMPARISON": {"left": ONE, "right": ONE},
    "CONJUNCTION": {"children": MANY},
    "CONSTANT": {"literal": PLAIN},
    "LAMBDA": {"expr": ONE, "lhs": ONE, "syntax_type": PLAIN},
    "OPERATOR": {"children": MANY},
    "PARAMETER": {"identifier": PLAIN},
    "POSITIONAL_REFERENCE": {"index": PLAIN},
    "SUBQUERY": {"child": ONE, "comparison_type": PLAIN, "subquery": PLAIN, "subquery_type": PLAIN},
}
OPERATORS: Final = frozenset(
    {
        "ARRAY_CONSTRUCTOR",
        "ARRAY_EXTRACT",
        "COMPARE_IN",
        "COMPARE_NOT_IN",
        "GROUPING_FUNCTION",
        "OPERATOR_COALESCE",
        "OPERATOR_IS_NOT_NULL",
        "OPERATOR_IS_NULL",
        "OPERATOR_NOT",
    }
)
CALL: Final = {
    "arguments": PLAIN,
    "catalog": EMPTY,
    "distinct": PLAIN,
    "function_name": PLAIN,
    "is_legacy_function_call": PLAIN,
    "qualified_name": PLAIN,
    "schema": EMPTY,
}
FUNCTION: Final = {**CALL, "export_state": EMPTY, "filter": ONE, "is_operator": PLAIN, "order_bys": PLAIN}
WINDOW: Final = {
    **CALL,
    "arg_orders": PLAIN,
    "default_expr": ONE,
    "end": PLAIN,
    "end_expr": ONE,
    "exclude_clause": PLAIN,
    "filter_expr": ONE,
    "has_ignore_nulls": PLAIN,
    "ignore_nulls": PLAIN,
    "offset_expr": ONE,
    "orders": PLAIN,
    "partitions": MANY,
    "start": PLAIN,
    "start_expr": ONE,
}
STAR: Final = {
    "columns": EMPTY,
    "exclude_list": PLAIN,
    "expr": EMPTY,
    "qualified_exclude_list": PLAIN,
    "relation_name": PLAIN,
    "rename_list": PLAIN,
    "replace_list": PLAIN,
}
CTE: Final = {
    "aliases": PLAIN,
    "key_targets": EMPTY,
    "materialized": PLAIN,
    "payload_aggregates": EMPTY,
    "query_node": PLAIN,
}
QUERIES: Final[dict[str, Shape]] = {
    "RECURSIVE_CTE_NODE": {
        "aliases": PLAIN,
        "cte_map": PLAIN,
        "cte_name": PLAIN,
        "key_targets": EMPTY,
        "left": PLAIN,
        "modifiers": PLAIN,
        "right": PLAIN,
        "union_all": PLAIN,
    },
    "SELECT_NODE": {
        "aggregate_handling": PLAIN,
        "cte_map": PLAIN,
        "from_table": PLAIN,
        "group_expressions": MANY,
        "group_sets": PLAIN,
        "having": ONE,
        "modifiers": PLAIN,
        "qualify": ONE,
        "sample": EMPTY,
        "select_list": PLAIN,
        "where_clause": ONE,
    },
    "SET_OPERATION_NODE": {
        "children": PLAIN,
        "cte_map": PLAIN,
        "left": EMPTY,
        "modifiers": PLAIN,
        "right": EMPTY,
        "setop_all": PLAIN,
        "setop_type": PLAIN,
    },
}
RELATIONS: Final[dict[str, Shape]] = {
    "BASE_TABLE": {
        "at_clause": EMPTY,
        "catalog_name": EMPTY,
        "column_name_alias": PLAIN,
        "qualified_name": PLAIN,
        "sample": EMPTY,
        "schema_name": EMPTY,
        "table_name": PLAIN,
    },
    "EMPTY": {"sample": EMPTY},
    "EXPRESSION_LIST": {"expected_names": PLAIN, "expected_types": PLAIN, "sample": EMPTY, "values": PLAIN},
    "JOIN": {
        "condition": ONE,
        "delim_flipped": EMPTY,
        "duplicate_eliminated_columns": EMPTY,
        "is_implicit": PLAIN,
        "join_type": PLAIN,
        "left": PLAIN,
        "nearest_approx": EMPTY,
        "nearest_count": PLAIN,
        "nearest_order_type": PLAIN,
        "ranking_expression": EMPTY,
        "ref_type": PLAIN,
        "right": PLAIN,
        "sample": EMPTY,
        "using_columns": PLAIN,
    },
    "SUBQUERY": {"column_name_alias": PLAIN, "sample": EMPTY, "subquery": PLAIN},
    "TABLE_FUNCTION": {"column_name_alias": PLAIN, "function": PLAIN, "sample": EMPTY, "with_ordinality": PLAIN},
}
JOINS: Final = frozenset({"ASOF", "CROSS", "NATURAL", "REGULAR"})
MODIFIERS: Final[dict[str, Shape]] = {
    "DISTINCT_MODIFIER": {"distinct_on_targets": MANY},
    "LIMIT_MODIFIER": {"limit": ONE, "limit_type": PLAIN, "offset": ONE},
    "ORDER_MODIFIER": {"orders": PLAIN},
}
_ORDER: Final = {"expression": ONE, "null_order": PLAIN}
ORDERS: Final = {"ASCENDING": _ORDER, "DESCENDING": _ORDER, "ORDER_DEFAULT": _ORDER}
TYPE: Final = {
    "catalog": EMPTY,
    "children": PLAIN,
    "qualified_name": PLAIN,
    "schema": EMPTY,
    "type_name": PLAIN,
}
