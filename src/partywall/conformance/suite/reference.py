"""What a filtered, sorted, limited or aggregated read must return, worked out over plain rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cmp_to_key
from typing import Any

from partywall.backend import Aggregate, Order, Row, Scan
from partywall.operators import matching

__all__ = ["aggregated", "scanned"]


def scanned(rows: Sequence[Row], statement: Scan) -> list[Row]:
    """The rows that the statement asks for, in its order."""
    found = matching(rows, statement.where)
    found.sort(key=cmp_to_key(lambda one, other: _compared(statement.order_by, one, other)))
    if statement.after is not None:
        key = {order.column: value for order, value in zip(statement.order_by, statement.after, strict=True)}
        found = [row for row in found if _compared(statement.order_by, row, key) > 0]
    return found if statement.limit is None else found[: statement.limit]


def aggregated(rows: Sequence[Row], statement: Aggregate) -> list[Row]:
    """One row for each group, by group, a missing value last."""
    groups: dict[tuple[Any, ...], list[Row]] = {} if statement.group_by else {(): []}
    for row in matching(rows, statement.where):
        groups.setdefault(tuple(row[column] for column in statement.group_by), []).append(row)
    orders = tuple(Order(column) for column in statement.group_by)
    result: list[Row] = [
        {
            **dict(zip(statement.group_by, group, strict=True)),
            **{name: measure.of(members) for name, measure in statement.measures.items()},
        }
        for group, members in groups.items()
    ]
    result.sort(key=cmp_to_key(lambda one, other: _compared(orders, one, other)))
    return result


def _compared(orders: Sequence[Order], one: Row, other: Row) -> int:
    for order in orders:
        left, right = one[order.column], other[order.column]
        if left is None or right is None:
            if (left is None) != (right is None):
                return 1 if left is None else -1
        elif left != right:
            return (1 if left > right else -1) * (-1 if order.descending else 1)
    return 0
