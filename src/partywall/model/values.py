"""What a column may hold: values are checked against their column's type on the way in, never coerced by guess."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, Final

from partywall.errors import QueryError

__all__ = ["ColumnType", "encode"]

_DEEPEST_JSON: Final = 64


class ColumnType(StrEnum):
    """What a column holds, as Python sees it in a row."""

    TEXT = "text"  # str
    INTEGER = "integer"  # int of 64 bits
    FLOAT = "float"  # float, finite
    BOOLEAN = "boolean"  # bool
    TIMESTAMP = "timestamp"  # aware datetime in UTC, to the microsecond
    DATE = "date"  # date
    BYTES = "bytes"  # bytes
    JSON = "json"  # dict, list, str, int, float, bool


def encode(kind: ColumnType, value: Any, where: str) -> Any:
    """The value as the contract's rows hold it; QueryError names ``where`` and says what the column takes."""
    try:
        return _ENCODERS[kind](value)
    except (TypeError, ValueError, OverflowError) as error:
        raise QueryError(f"{where} takes {_EXPECTED[kind]}, not {_shown(value)}{_detail(error)}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    plain = str.__str__(value)
    plain.encode()
    return plain


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise TypeError
    return int(value)


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _timestamp(value: Any) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TypeError
    return value.astimezone(UTC)


def _date(value: Any) -> date:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise TypeError
    return value


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError
    return bytes(value)


def _json(value: Any) -> str:
    _require_json(value, _DEEPEST_JSON)
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    text.encode()
    return text


def _require_json(value: Any, depth: int) -> None:
    if depth == 0:
        raise ValueError(f"nested deeper than {_DEEPEST_JSON}")
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("keys must be text")
        for item in value.values():
            _require_json(item, depth - 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _require_json(item, depth - 1)
    elif not isinstance(value, str | int | float | None):
        raise TypeError


_ENCODERS: Final[dict[ColumnType, Callable[[Any], Any]]] = {
    ColumnType.TEXT: _text,
    ColumnType.INTEGER: _integer,
    ColumnType.FLOAT: _float,
    ColumnType.BOOLEAN: _boolean,
    ColumnType.TIMESTAMP: _timestamp,
    ColumnType.DATE: _date,
    ColumnType.BYTES: _bytes,
    ColumnType.JSON: _json,
}
_EXPECTED: Final = {
    ColumnType.TEXT: "a text",
    ColumnType.INTEGER: "an int of 64 bits",
    ColumnType.FLOAT: "a finite number",
    ColumnType.BOOLEAN: "True or False",
    ColumnType.TIMESTAMP: "a datetime with a time zone",
    ColumnType.DATE: "a date",
    ColumnType.BYTES: "bytes",
    ColumnType.JSON: "a JSON document (dict, list, text, number or bool)",
}


def _shown(value: Any) -> str:
    return type(value).__name__


def _detail(error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):
        return ": it holds half of a surrogate pair"
    return f": {error}" if str(error) and len(str(error)) < 80 else ""
