"""Measures as SQL, and what their statements fetch as values of the contract."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from partywall.aggregates import Function, Measure
from partywall.errors import QueryError
from partywall.model import ColumnType
from partywall.sql.conditions import comparable
from partywall.sql.dialect import Dialect, quote

__all__ = ["measure_decoder", "measure_text"]

_NUMBERS: Final = (ColumnType.INTEGER, ColumnType.FLOAT)


def measure_text(measure: Measure, types: Mapping[str, ColumnType], dialect: Dialect) -> str:
    """The text of one measure; QueryError for a column that is unknown or cannot be measured so."""
    function, column = measure.function, measure.column
    _require(isinstance(function, Function), "unknown function")
    if column is None:
        _require(function is Function.COUNT, f"{function} needs a column")
        return "count(*)"
    _require(column in types, f"unknown column {ascii(column)[:80]}")
    kind = types[column]
    name = dialect.functions.get((function, kind), function)
    if function in (Function.SUM, Function.AVG):
        _require(kind in _NUMBERS, f"{function} takes a column of numbers")
        return f"{name}({quote(column)})"
    return f"{name}({quote(column) if function is Function.COUNT else comparable(column, kind, dialect)})"


def measure_decoder(measure: Measure, types: Mapping[str, ColumnType], dialect: Dialect) -> Callable[[Any], Any] | None:
    """How the fetched value becomes the contract's; None when it is that already."""
    kind = types[measure.column] if measure.column is not None else ColumnType.INTEGER
    match measure.function:
        case Function.MIN | Function.MAX:
            return dialect.decode.get(kind)
        case Function.SUM if kind is ColumnType.INTEGER:
            return int  # a store may add 64-bit numbers up to something wider
        case Function.COUNT:
            return None
        case _:
            return _finite


def _finite(value: Any) -> float:
    number = float(value)
    _require(math.isfinite(number), "the sum of these values is larger than a float can be")
    return number


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise QueryError(otherwise)
