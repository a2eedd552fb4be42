"""Surgical edits: change a document's data and only those characters of its text that must change.

``rewrite`` compares the nodes with the data that is wanted and replaces, adds or removes single scalars,
entries and items. Comments, order, quotes and spacing of everything else stay as they are. What comes out
is loaded again and must be exactly what was wanted, or else the edit is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Mapping as AbstractMapping
from collections.abc import Sequence as AbstractSequence
from copy import deepcopy
from datetime import UTC, datetime
from difflib import SequenceMatcher
from enum import Enum
from typing import Final

from pydantic import BaseModel

from partywall.catalog.text.document import Document, Mapping, Node, Scalar, Sequence, load, plain
from partywall.catalog.text.render import entry_lines, flow, item_lines
from partywall.catalog.text.scalars import Plain, written
from partywall.catalog.text.validation import canonical
from partywall.errors import InvalidArgument

__all__ = ["changed", "encoded", "plain_of", "rewrite", "value_at", "with_id"]

_BOM: Final = b"\xef\xbb\xbf"
_STEP: Final = re.compile(r'"([^"]+)"|([^."]+)')


def plain_of(value: object) -> Plain:  # noqa: PLR0911  # one return per kind of value
    """The value as a file holds it: models by their file's keys, moments as text, sets and tuples as lists."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(value.value) if isinstance(value, Enum) else str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, BaseModel):
        return plain_of(value.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True))
    if isinstance(value, AbstractMapping):
        return {str(key): plain_of(child) for key, child in value.items()}
    if isinstance(value, set | frozenset):
        return [plain_of(item) for item in sorted(value)]
    if isinstance(value, AbstractSequence) and not isinstance(value, bytes):
        return [plain_of(item) for item in value]
    raise InvalidArgument(f"a value of type {type(value).__name__} cannot stand in a file")


def _steps(path: str) -> list[str]:
    steps = [quoted or bare for quoted, bare in _STEP.findall(path)]
    spelled = _STEP.sub("x", path)
    if not steps or spelled != ".".join("x" * len(steps)):
        raise InvalidArgument(f"'{path}' is not a path such as 'settings.defaultModel'")
    return steps


def changed(data: dict[str, Plain], changes: AbstractMapping[str, object]) -> dict[str, Plain]:
    """A copy of the data with these changes: dotted path (``"quoted"`` where a key has dots) to value.

    None removes the key. Parents that are not there are made.
    """
    result = deepcopy(data)
    for path, value in changes.items():
        *parents, last = _steps(path)
        place = result
        for step in parents:
            child = place.get(step)
            if not isinstance(child, dict):
                if value is None:
                    break
                child = place[step] = {}
            place = child
        else:
            if value is None:
                place.pop(last, None)
            else:
                place[last] = plain_of(value)
    return result


def value_at(data: Plain, path: str) -> Plain:
    """The value at a dotted path; None where there is nothing."""
    for step in _steps(path):
        data = data.get(step) if isinstance(data, dict) else None
    return data


def encoded(text: str, like: bytes) -> bytes:
    """The text's bytes, with a byte order mark if the others have one."""
    return (_BOM if like.startswith(_BOM) else b"") + text.encode()


def with_id(document: Document, identity: str) -> str:
    """The text with this id: in place of an empty one, or on a line of its own before the first key.

    InvalidArgument when it cannot be done.
    """
    root, data, text = document.root, document.data, document.text
    if not isinstance(root, Mapping) or not isinstance(data, dict):
        raise InvalidArgument("the file is not a mapping")
    wanted: dict[str, Plain] = {**data, "id": identity}
    if root.flow or "id" in root.entries:
        return rewrite(document, wanted)
    start = root.start - (root.column - 1)  # not from the last newline: a line may end in a lone carriage return
    line = f"{text[start : root.start]}id: {written(identity)}{_newline(text)}"
    return _proven(document, text[:start] + line + text[start:], wanted)


def rewrite(document: Document, wanted: dict[str, Plain]) -> str:
    """The text, edited so that it holds the wanted data; InvalidArgument when it cannot be done."""
    if document.root is None:
        raise InvalidArgument("the file is not readable")
    edits = sorted(_Edit(document.text).node(document.root, wanted, 0), key=lambda edit: edit[:2])
    text = document.text
    for start, end, replacement in reversed(edits):
        text = text[:start] + replacement + text[end:]
    return _proven(document, text, wanted)


def _proven(document: Document, text: str, wanted: dict[str, Plain]) -> str:
    """The text, which must hold the wanted data; InvalidArgument when it does not."""
    after = load(document.file, text.encode("utf-8", "surrogatepass"))
    if after.problems or canonical(after.data) != canonical(_ordered_as(after.data, wanted)):
        raise InvalidArgument("this change cannot be made in the file as it is laid out; edit it by hand")
    return text


def _ordered_as(shape: Plain, data: Plain) -> Plain:
    """The data with the keys in the order of the other, so that only the order may differ."""
    if isinstance(shape, dict) and isinstance(data, dict):
        keys = [*(key for key in shape if key in data), *(key for key in data if key not in shape)]
        return {key: _ordered_as(shape.get(key), data[key]) for key in keys}
    if isinstance(shape, list) and isinstance(data, list) and len(shape) == len(data):
        return [_ordered_as(left, right) for left, right in zip(shape, data, strict=True)]
    return data


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _line_end(text: str, index: int) -> int:
    """Where the line after the one that ends the span at ``index`` starts."""
    if index and text[index - 1] == "\n":
        return index
    end = text.find("\n", index)
    return len(text) if end < 0 else end + 1


def _content_end(node: Node) -> int:
    """Where the node's own text ends; the parser's end of a block lies after the comments that follow it."""
    if isinstance(node, Scalar) or node.flow:
        return node.end
    last = node.items[-1] if isinstance(node, Sequence) else list(node.entries.values())[-1][1]
    return _content_end(last)


def _same(left: Plain, right: Plain) -> bool:
    return canonical(left) == canonical(_ordered_as(left, right))


Change = tuple[int, int, str]
"""Replace the characters from one offset to another by a text."""


class _Edit:
    """Finds the changes between the nodes of one text and the wanted data."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.newline = _newline(text)

    def node(self, node: Node, wanted: Plain, indent: int) -> Iterator[Change]:
        """The changes within a value; ``indent`` is the column of the key that it belongs to."""
        if _same(plain(node), wanted):
            return
        if isinstance(node, Mapping) and isinstance(wanted, dict) and node.entries:
            yield from self.mapping(node, wanted)
        elif isinstance(node, Sequence) and isinstance(wanted, list) and node.items and wanted:
            yield from self.sequence(node, wanted)
        else:
            yield from self.whole(node, wanted, indent)

    def whole(self, node: Node, wanted: Plain, indent: int) -> Iterator[Change]:
        """Replace a value by another, after its key and on one line if it is short."""
        end = _content_end(node)
        if isinstance(node, Scalar) and not isinstance(wanted, dict | list):
            keep = node.style if node.style in ("'", '"') else None
            tail = self.newline if node.style in ("|", ">") and end and self.text[end - 1] == "\n" else ""
            gap = " " if node.start == node.end else ""
            yield node.start, end, gap + written(wanted, keep) + tail
            return
        start = node.start
        before = self.text[:start].rstrip()
        if not isinstance(node, Scalar) and not node.flow and before.endswith(":"):
            start = len(before)  # a block starts on a line of its own; the new value stands on its key's line
        yield start, end, self._value(wanted, indent, gap=start == node.end or start != node.start)

    def _value(self, wanted: Plain, indent: int, *, gap: bool) -> str:
        first, *more = entry_lines("k", wanted, indent)
        head = first[indent + 2 :].lstrip()
        return (" " if gap and head else "") + self.newline.join([head, *more])

    def mapping(self, node: Mapping, wanted: dict[str, Plain]) -> Iterator[Change]:
        """Edit, remove and add entries."""
        kept = [key for key in node.entries if key in wanted]
        added = {key: value for key, value in wanted.items() if key not in node.entries}
        for key in kept:
            yield from self.node(node.entries[key][1], wanted[key], node.column - 1)
        spans = [(key.start, _content_end(value)) for key, value in node.entries.values()]
        flags = [key in wanted for key in node.entries]
        if node.flow:
            texts = [f"{written(key)}: {flow(value)}" for key, value in added.items()]
            yield from self.flow(spans, flags, texts)
        elif kept or added:
            yield from self.lines(spans, flags)
            lines = [line for key, value in added.items() for line in entry_lines(key, value, node.column - 1)]
            yield from self.insert(_line_end(self.text, spans[-1][1]), lines)
        else:
            yield spans[0][0], spans[-1][1], "{}"

    def lines(self, spans: list[tuple[int, int]], kept: list[bool]) -> Iterator[Change]:
        """Remove the whole lines of entries or items that are not kept."""
        for (start, end), keep in zip(spans, kept, strict=True):
            if not keep:
                yield _line_start(self.text, start), _line_end(self.text, end), ""

    def insert(self, at: int, lines: list[str]) -> Iterator[Change]:
        """Put lines before the line that starts at the offset."""
        if not lines:
            return
        block = self.newline.join(lines)
        open_end = at == len(self.text) and at > 0 and self.text[at - 1] != "\n"
        yield at, at, self.newline + block if open_end else block + self.newline

    def flow(self, spans: list[tuple[int, int]], kept: list[bool], added: list[str]) -> Iterator[Change]:
        """Remove members between brackets, and add some behind the last."""
        if not any(kept):
            yield spans[0][0], spans[-1][1], ", ".join(added)
            return
        first = kept.index(True)
        for index, keep in enumerate(kept):
            if not keep and index < first:
                yield spans[index][0], spans[index + 1][0], ""
            elif not keep:
                yield spans[index - 1][1], spans[index][1], ""
        if added:
            yield spans[-1][1], spans[-1][1], "".join(f", {text}" for text in added)

    def sequence(self, node: Sequence, wanted: list[Plain]) -> Iterator[Change]:
        """Edit, remove and add items."""
        before = [canonical(plain(item)) for item in node.items]
        after = [canonical(value) for value in wanted]
        starts = [_line_start(self.text, item.start) for item in node.items]
        spans = [(item.start, _content_end(item)) for item in node.items]
        simple = len(set(starts)) == len(starts)
        if node.flow or not simple:
            yield from self._flow_sequence(node, wanted, before, after, spans)
            return
        for action, left, right, new, until in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
            if action == "equal":
                continue
            yield from self.lines(spans[left:right], [False] * (right - left))
            lines = [line for value in wanted[new:until] for line in item_lines(value, node.column - 1)]
            at = _line_end(self.text, spans[right - 1][1]) if right else starts[0]
            yield from self.insert(at, lines)

    def _flow_sequence(
        self,
        node: Sequence,
        wanted: list[Plain],
        before: list[str],
        after: list[str],
        spans: list[tuple[int, int]],
    ) -> Iterator[Change]:
        kept = [text in after for text in before]
        survivors = [text for text, keep in zip(before, kept, strict=True) if keep]
        if node.flow and survivors == after[: len(survivors)]:
            yield from self.flow(spans, kept, [flow(value) for value in wanted[len(survivors) :]])
        else:
            yield node.start, _content_end(node), flow(wanted)
