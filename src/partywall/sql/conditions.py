"""Conditions as SQL: the shape decides the text, the values are parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from partywall.errors import QueryError
from partywall.model import ID, ColumnType
from partywall.operators import Condition, Operator
from partywall.sql.dialect import Dialect, quote

__all__ = ["Keys", "Shape", "after_parameters", "after_text", "comparable", "condition_text", "split"]

Shape: TypeAlias = tuple[str, str, int]
"""Column, test and number of parameters."""
Keys: TypeAlias = tuple[tuple[str, bool], ...]
"""Sort keys: column, and whether it descends."""

_NEVER = "never"
_TEXTUAL = frozenset({ColumnType.TEXT, ColumnType.JSON})


def split(condition: Condition, types: Mapping[str, ColumnType], dialect: Dialect, parameters: list[Any]) -> Shape:
    """The condition's shape; its values are appended to the parameters. QueryError for an unknown column."""
    column, operator, value = condition.column, condition.operator, condition.value
    if column not in types:
        raise QueryError(f"unknown column {ascii(column)[:80]}")
    encode = dialect.encode.get(types[column])
    match operator:
        case Operator.IS_NULL | Operator.NOT_NULL:
            return column, operator, 0
        case Operator.IN | Operator.NOT_IN:
            # A missing value in the list equals nothing, whereas SQL's NOT IN would then hold for no row.
            values = [encode(each) if encode else each for each in value if each is not None]
            if not values:
                return column, _NEVER if operator is Operator.IN else Operator.NOT_NULL, 0
            parameters.extend([values] if dialect.arrays else values)
            return column, operator, 1 if dialect.arrays else len(values)
        case _ if value is None:
            return column, Operator.NOT_NULL if operator is Operator.NE else _NEVER, 0
        case Operator.LIKE:
            parameters.append(_complete(value))
        case _:
            parameters.append(encode(value) if encode else value)
    return column, operator, 1


def condition_text(shape: Shape, types: Mapping[str, ColumnType], dialect: Dialect) -> str:
    """The text of one condition, with ``?`` for each parameter."""
    column, test, count = shape
    kind = types[column]
    match test:
        case Operator.IS_NULL:
            return f"{quote(column)} IS NULL"
        case Operator.NOT_NULL:
            return f"{quote(column)} IS NOT NULL"
        case Operator.IN | Operator.NOT_IN:
            listed = (
                f"= ANY(CAST(? AS {dialect.types[kind]}[]))" if dialect.arrays else f"IN ({', '.join('?' * count)})"
            )
            text = f"{comparable(column, kind, dialect)} {listed}"
            return text if test == Operator.IN else f"NOT ({text})"
        case Operator.LIKE:
            return f"{comparable(column, kind, dialect)} LIKE ? ESCAPE '\\'"
        case Operator.EQ | Operator.NE | Operator.GT | Operator.GE | Operator.LT | Operator.LE:
            return f"{comparable(column, kind, dialect)} {test} ?"
        case _:
            return "1 = 0"


def after_text(keys: Keys, missing: tuple[bool, ...], types: Mapping[str, ColumnType], dialect: Dialect) -> str:
    """The text of "comes after these values in this order", where missing values come last either way.

    ``missing`` says which of the values are None. The rows wanted agree in the first keys and come later in the
    next one: after ``(a, b)`` come those with a later ``a``, and those with the same ``a`` and a later ``b``.
    """
    cases: list[str] = []
    same: list[str] = []
    for (column, descending), absent in zip(keys, missing, strict=True):
        text = comparable(column, types[column], dialect)
        if not absent:
            later = f"{text} {'<' if descending else '>'} ?"
            later = later if column == ID else f"({later} OR {quote(column)} IS NULL)"
            cases.append(" AND ".join([*same, later]))
        same.append(f"{quote(column)} IS NULL" if absent else f"{text} = ?")
    return f"({' OR '.join(f'({case})' for case in cases)})" if cases else "1 = 0"


def after_parameters(keys: Keys, values: Sequence[Any], types: Mapping[str, ColumnType], dialect: Dialect) -> list[Any]:
    """The parameters of ``after_text``, in its order."""
    parameters: list[Any] = []
    same: list[Any] = []
    for (column, _), value in zip(keys, values, strict=True):
        if value is not None:
            encode = dialect.encode.get(types[column])
            same.append(encode(value) if encode else value)
            parameters.extend(same)
    return parameters


def comparable(column: str, kind: ColumnType, dialect: Dialect) -> str:
    """The column as it is compared and sorted: text by code point."""
    return f"{quote(column)} {dialect.collation}" if dialect.collation and kind in _TEXTUAL else quote(column)


def _complete(pattern: str) -> str:
    r"""The pattern without a lone ``\`` at its end, which escapes nothing and which stores refuse."""
    trailing = len(pattern) - len(pattern.rstrip("\\"))
    return pattern[:-1] if trailing % 2 else pattern
