"""What is different between two plain documents."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["changes"]

_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


def changes(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> dict[str, list[Any]]:
    """The paths that differ, as ``path -> [before, after]``; what is absent counts as None.

    A path is the keys joined by dots, a key that is not plain in double quotes; lists are compared whole.
    """
    return dict(_differences("", before or {}, after or {}))


def _differences(path: str, before: Any, after: Any) -> Iterator[tuple[str, list[Any]]]:
    if _nested(before, after):
        for key in dict.fromkeys([*(before or {}), *(after or {})]):
            inner = f"{path}.{_shown(key)}" if path else _shown(key)
            yield from _differences(inner, (before or {}).get(key), (after or {}).get(key))
    elif _canonical(before) != _canonical(after):
        yield path, [before, after]


def _nested(before: Any, after: Any) -> bool:
    documents = all(value is None or isinstance(value, Mapping) for value in (before, after))
    return documents and bool(before or after)


def _shown(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) else json.dumps(key)


def _canonical(value: Any) -> str:
    # As text, because True == 1 == 1.0 in Python and they are three values in a document.
    return json.dumps(value, sort_keys=True)
