"""Comparisons for ``where``, as typed objects: ``{"priority": gt(3), "status": in_("open", "held")}``.

A plain value compares for equality and None asks for a missing value. Any other comparison is one of
these objects and nothing else is: a dict or a list, wherever it came from, is data for a JSON column
and can never become an operator. A missing value satisfies no comparison but ``is_null()``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

__all__ = [
    "Comparison",
    "Condition",
    "Operator",
    "between",
    "ge",
    "gt",
    "in_",
    "is_null",
    "le",
    "like",
    "lt",
    "ne",
    "not_in",
    "not_null",
]


class Operator(StrEnum):
    """How a column's value is compared."""

    EQ = "="
    NE = "<>"
    GT = ">"
    GE = ">="
    LT = "<"
    LE = "<="
    IN = "in"
    NOT_IN = "not in"
    LIKE = "like"
    IS_NULL = "is null"
    NOT_NULL = "is not null"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One or more tests of a column that must all hold; made by the functions of this module."""

    tests: tuple[tuple[Operator, Any], ...]


def ne(value: Any) -> Comparison:
    """The column has a value, and it is another one."""
    return Comparison(((Operator.NE, value),))


def gt(value: Any) -> Comparison:
    """The column's value is greater."""
    return Comparison(((Operator.GT, value),))


def ge(value: Any) -> Comparison:
    """The column's value is greater or equal."""
    return Comparison(((Operator.GE, value),))


def lt(value: Any) -> Comparison:
    """The column's value is less."""
    return Comparison(((Operator.LT, value),))


def le(value: Any) -> Comparison:
    """The column's value is less or equal."""
    return Comparison(((Operator.LE, value),))


def between(low: Any, high: Any) -> Comparison:
    """The column's value lies between the two, both included."""
    return Comparison(((Operator.GE, low), (Operator.LE, high)))


def in_(*values: Any) -> Comparison:
    """The column's value is one of these; with none, no row matches."""
    return Comparison(((Operator.IN, values),))


def not_in(*values: Any) -> Comparison:
    """The column has a value that is none of these."""
    return Comparison(((Operator.NOT_IN, values),))


def like(pattern: str) -> Comparison:
    r"""The text matches: ``%`` is any run of characters, ``_`` any one, ``\`` makes the next one plain.

    A pattern has at most 1,000 characters.
    """
    return Comparison(((Operator.LIKE, pattern),))


def is_null() -> Comparison:
    """The column has no value."""
    return Comparison(((Operator.IS_NULL, None),))


def not_null() -> Comparison:
    """The column has a value."""
    return Comparison(((Operator.NOT_NULL, None),))


@dataclass(frozen=True, slots=True)
class Condition:
    """One test of one declared column, with values of the column's type."""

    column: str
    operator: Operator
    value: Any = None

    def holds(self, row: dict[str, Any]) -> bool:  # noqa: PLR0911  # one return per operator
        """Whether a row passes: what every backend's own filter must agree with."""
        actual = row[self.column]
        match self.operator:
            case Operator.IS_NULL:
                return actual is None
            case _ if actual is None:
                return False
            case Operator.NOT_NULL:
                return True
            case Operator.EQ:
                return bool(actual == self.value)
            case Operator.NE:
                return bool(actual != self.value)
            case Operator.GT:
                return bool(actual > self.value)
            case Operator.GE:
                return bool(actual >= self.value)
            case Operator.LT:
                return bool(actual < self.value)
            case Operator.LE:
                return bool(actual <= self.value)
            case Operator.IN:
                return actual in self.value
            case Operator.NOT_IN:
                return actual not in self.value
            case Operator.LIKE:
                return _like(self.value).fullmatch(actual) is not None


@lru_cache(maxsize=256)
def _like(pattern: str) -> re.Pattern[str]:
    pieces = [""]
    escaped = False
    for character in pattern:
        if escaped or character not in "%_\\":
            pieces[-1] += re.escape(character)
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == "%":
            pieces.append("")
        else:
            pieces[-1] += "."
    first, *middle, last = ["", *pieces] if len(pieces) == 1 else pieces
    # The first place where a piece fits is the best one: atomic groups never look for another.
    found = "".join(f"(?>.*?{piece})" for piece in middle)
    return re.compile(f"{first}{found}{'.*' if len(pieces) > 1 else ''}{last}", re.DOTALL)


def matching(rows: Sequence[dict[str, Any]], where: Sequence[Condition]) -> list[dict[str, Any]]:
    """The rows that pass every condition."""
    return [row for row in rows if all(condition.holds(row) for condition in where)]
