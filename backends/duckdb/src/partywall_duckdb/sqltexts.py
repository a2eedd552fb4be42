"""What a tenant's own SQL may say in patterns and JSON paths, and what its texts weigh.

DuckDB looks at interrupts between batches of rows and never within one. Matching takes time by the product of text and
pattern, and the paths ``$..*`` and ``$[*]`` make lists of a document's parts, in memory that no limit of DuckDB's
counts, so both are looked at before the statement runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn, TypeAlias

from partywall.errors import QueryError

__all__ = ["refuse", "require_constant", "require_path", "require_pattern", "weight"]

Node: TypeAlias = Mapping[str, Any]

_LONGEST_PATTERN: Final = 1_000
"""Characters of a pattern or separator, from however many pieces it is put together."""
_WEIGHT: Final = 1_000
"""Characters or bytes that weigh as much as one more part of the statement: a value is copied wherever it is named."""
_JOINED: Final = frozenset({"||", "concat"})
_LISTED: Final = frozenset({"list_value"})


def refuse(what: str) -> NoReturn:
    """Raise the QueryError of a statement that may not run."""
    raise QueryError(f"the statement is not allowed here: {what}")


def require_constant(node: Node) -> None:
    """Refuse all but constants, parameters, and what is calculated or cast from them alone."""
    match node["class"]:
        case "CONSTANT" | "PARAMETER":
            pass
        case "CAST":
            require_constant(node["child"])
        case "FUNCTION":
            for argument in node["arguments"]:
                require_constant(argument["expression"])
        case _:
            refuse("anything but a constant in this place")


def weight(value: Any) -> int:
    """How many parts of a statement the value is worth, beside its place in it."""
    return _size(value) // _WEIGHT


def require_pattern(node: Node, parameters: Mapping[str, Any]) -> None:
    """Refuse a pattern or separator unless it is short, and known before the statement runs."""
    if sum(map(_size, _values(node, parameters, _JOINED, "a pattern or separator"))) > _LONGEST_PATTERN:
        refuse(f"a pattern or separator of more than {_LONGEST_PATTERN:,} characters")


def require_path(node: Node, parameters: Mapping[str, Any]) -> None:
    """Refuse a JSON path unless it is known before the statement runs, and leads to one part."""
    for value in _values(node, parameters, _LISTED, "a JSON path"):
        if isinstance(value, str) and ("*" in value or ".." in value):
            refuse("a JSON path with '*' or '..'")


def _values(node: Node, parameters: Mapping[str, Any], makers: frozenset[str], what: str) -> Iterator[Any]:
    """The values that the expression is made of: it may be one, or several in functions that only put them together."""
    match node["class"]:
        case "CONSTANT":
            yield node["literal"].get("text")
        case "PARAMETER":
            value = parameters.get(node["identifier"])
            yield from value if isinstance(value, list) else [value]
        case "FUNCTION" if node["function_name"].lower() in makers:
            for argument in node["arguments"]:
                yield from _values(argument["expression"], parameters, makers, what)
        case _:
            refuse(f"{what} that is neither a text nor a parameter")


def _size(value: Any) -> int:
    if isinstance(value, list):
        return sum(8 + _size(each) for each in value)
    return len(value) if isinstance(value, str | bytes) else 0
