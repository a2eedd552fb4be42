"""Data to tidy YAML, as a person would have written it: blocks, short lists on one line, two spaces."""

from __future__ import annotations

from partywall.catalog.text.scalars import Plain, written

__all__ = ["entry_lines", "flow", "item_lines", "rendered"]

_WIDTH = 100


def flow(value: Plain) -> str:
    """The value on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{written(key)}: {flow(child)}" for key, child in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    return written(value)


def _fits(value: Plain, room: int) -> bool:
    if not isinstance(value, dict | list) or not value:
        return True
    if isinstance(value, dict) or any(isinstance(item, dict | list) for item in value):
        return False
    return len(flow(value)) <= room


def entry_lines(key: str, value: Plain, indent: int) -> list[str]:
    """The lines of one entry of a block mapping."""
    head = " " * indent + written(key) + ":"
    if _fits(value, _WIDTH - len(head)):
        return [f"{head} {flow(value)}"]
    if isinstance(value, dict):
        return [head, *(line for name, child in value.items() for line in entry_lines(name, child, indent + 2))]
    return [head, *(line for item in _items(value) for line in item_lines(item, indent + 2))]


def _items(value: Plain) -> list[Plain]:
    return value if isinstance(value, list) else [value]


def item_lines(value: Plain, indent: int) -> list[str]:
    """The lines of one item of a block list."""
    if _fits(value, _WIDTH - indent - 2) or isinstance(value, list):
        return [" " * indent + "- " + flow(value)]
    if not isinstance(value, dict):
        return [" " * indent + "- " + written(value)]
    lines = [line for name, child in value.items() for line in entry_lines(name, child, indent + 2)]
    return [" " * indent + "- " + lines[0][indent + 2 :], *lines[1:]]


def rendered(data: dict[str, Plain]) -> str:
    """A whole document."""
    return "".join(line + "\n" for key, value in data.items() for line in entry_lines(key, value, 0))
