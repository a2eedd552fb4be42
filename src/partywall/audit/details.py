"""Details of a record, made plain and bounded before they are written for good."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from partywall.errors import InvalidArgument

__all__ = ["plain_details"]

_TEXT_BYTES: Final = 4096
_DOCUMENT_BYTES: Final = 65_536
_DEPTH: Final = 16


def plain_details(details: Mapping[str, Any]) -> dict[str, Any]:
    """The details as plain JSON.

    Texts over 4 kB are cut and end in an ellipsis; entries that would take the whole over 64 kB are left
    out and named under ``omitted``. Raises InvalidArgument for anything that is not plain JSON.
    """
    kept: dict[str, Any] = {}
    omitted: list[str] = []
    room = _DOCUMENT_BYTES
    for key, value in _plain(details, 0).items():
        size = len(json.dumps([key, value]))
        if size <= room:
            kept[key] = value
            room -= size
        else:
            omitted.append(key)
    return {**kept, "omitted": omitted[:100]} if omitted else kept


def _plain(value: Any, depth: int) -> Any:
    if depth > _DEPTH:
        raise InvalidArgument(f"the details of an audit record may be nested {_DEPTH} deep")
    match value:
        case None | bool():
            return value
        case int() if -(2**63) <= value < 2**63:
            return int(value)
        case str():
            return _bounded(str(value))
        case float() if math.isfinite(value):
            return value
        case Mapping():
            return {_key(key): _plain(inner, depth + 1) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner, depth + 1) for inner in value]
        case _:
            raise InvalidArgument("the details of an audit record must be plain JSON: objects, lists, texts, numbers")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise InvalidArgument("the keys of an audit record's details must be texts")
    return _bounded(str(key))


def _bounded(text: str) -> str:
    raw = text.encode("utf-8", "surrogatepass")
    if len(raw) <= _TEXT_BYTES:
        return text
    return raw[: _TEXT_BYTES - 3].decode("utf-8", "ignore") + "…"
