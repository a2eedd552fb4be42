"""Measures for ``aggregate``, as typed objects: ``{"open": count(), "spent": sum_("budget")}``.

Missing values are left out; ``count`` of none is 0, every other measure of none is None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = ["Function", "Measure", "avg", "count", "max_", "min_", "sum_"]


class Function(StrEnum):
    """How values are put together."""

    COUNT = "count"
    SUM = "sum"
    AVG = "avg"
    MIN = "min"
    MAX = "max"


@dataclass(frozen=True, slots=True)
class Measure:
    """One result column: a function over a column, or over whole rows for ``count()``."""

    function: Function
    column: str | None = None

    def of(self, rows: Sequence[dict[str, Any]]) -> Any:  # noqa: PLR0911  # one return per function
        """The measure of some rows: what every backend's own aggregation must agree with."""
        if self.column is None:
            return len(rows)
        values = [row[self.column] for row in rows if row[self.column] is not None]
        match self.function:
            case Function.COUNT:
                return len(values)
            case _ if not values:
                return None
            case Function.SUM:
                return _sum(values)
            case Function.AVG:
                return math.fsum(values) / len(values)
            case Function.MIN:
                return min(values)
            case Function.MAX:
                return max(values)


def _sum(values: Sequence[Any]) -> Any:
    return sum(values) if all(isinstance(value, int) for value in values) else math.fsum(values)


def count(column: str | None = None) -> Measure:
    """The number of rows, or of those that have a value in the column."""
    return Measure(Function.COUNT, column)


def sum_(column: str) -> Measure:
    """The sum of an integer column, exact, or of a float column."""
    return Measure(Function.SUM, column)


def avg(column: str) -> Measure:
    """The mean of an integer or float column, as a float."""
    return Measure(Function.AVG, column)


def min_(column: str) -> Measure:
    """The least value of a column."""
    return Measure(Function.MIN, column)


def max_(column: str) -> Measure:
    """The greatest value of a column."""
    return Measure(Function.MAX, column)
