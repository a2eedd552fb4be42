"""What differs between SQL stores, as data."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from partywall.aggregates import Function
from partywall.errors import QueryError
from partywall.model import ColumnType, Table

__all__ = ["Codec", "Dialect", "quote"]

Codec: TypeAlias = Mapping[ColumnType, Callable[[Any], Any]]
"""How values of some types change on their way; types that it lacks pass as they are."""

_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,119}")


def quote(name: str) -> str:
    """The name as a quoted identifier; QueryError unless it is of a-z, 0-9 and _."""
    if _NAME.fullmatch(name) is None:
        raise QueryError(f"{ascii(name)[:80]} is not a legal name")
    return f'"{str.__str__(name)}"'  # a subclass may format itself as another text than the one examined


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one store wants its SQL."""

    types: Mapping[ColumnType, str]
    """The store's type for every column type."""
    placeholder: Literal["?", "%s", "$"] = "?"
    """How a parameter stands in the text; ``$`` numbers them from 1."""
    arrays: bool = False
    """Whether a list can be one parameter: ``= ANY(?)``, and ``unnest(?)`` for many rows."""
    collation: str = ""
    """Put after a text column that is compared or sorted, such as ``COLLATE "C"``, for order by code point."""
    most_parameters: int = 900
    """Parameters that one statement may have; longer writes become several statements. Unused with ``arrays``."""
    functions: Mapping[tuple[Function, ColumnType], str] = field(default_factory=dict)
    """Aggregate functions by another name for a type, such as a sum that makes good what rounding loses."""
    encode: Codec = field(default_factory=dict)
    """From the contract's values to the driver's."""
    decode: Codec = field(default_factory=dict)
    """From the driver's values to the contract's."""

    def columns(self, table: Table) -> dict[str, str]:
        """Every column of a table, ``id`` first, with its type in this store."""
        return {name: self.types[kind] for name, kind in table.types.items()}

    def numbered(self, text: str) -> str:
        """The text, written with ``?``, in the placeholders of this store."""
        if self.placeholder == "?":
            return text
        if self.placeholder == "%s":
            return text.replace("?", "%s")
        first, *rest = text.split("?")
        return first + "".join(f"${number}{part}" for number, part in enumerate(rest, 1))
