"""The strict YAML loader: bytes to nodes with places, refusing everything that readers disagree about.

The nodes are built from the parser's events without recursion, so that no input can exhaust the C stack;
brackets and inline runs that only an attack has are refused before the parser sees them. Refused are
aliases, anchors, tags, merge keys, duplicate keys, ambiguous scalars, several documents, anything deeper
than 32 levels or larger than 256 kB, and bytes that are not UTF-8. Every problem is reported, not the first
alone; of very many the first hundred.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, TypeAlias

import yaml

from partywall.catalog.text.scalars import Ambiguous, Plain, plain_value
from partywall.errors import Problem

__all__ = [
    "MAX_BYTES",
    "MOST_PROBLEMS",
    "Document",
    "Mapping",
    "Node",
    "Scalar",
    "Sequence",
    "load",
    "load_again",
    "path_text",
    "shortened",
]

MAX_BYTES: Final = 256 * 1024
"""The size of the largest file that is read, in bytes."""
MAX_BRACKETS: Final = 2000
MAX_DEPTH: Final = 32
MOST_PROBLEMS: Final = 100
"""Problems that are told of one file; nobody reads more, and a bad file of 256 kB may have tens of thousands."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RUN: Final = re.compile(r"(?:[-?:][ \t]+){64}")
_UNREADABLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_SURROGATE: Final = re.compile("[\x00\ud800-\udfff]")
_CONFLICT: Final = re.compile(r"^(?:<{7}|\|{7}|={7}|>{7})(?=[ \r]|$)", re.MULTILINE)


@dataclass(slots=True)
class Scalar:
    """A scalar with its value, its place (1-based) and its span in the text."""

    value: bool | int | float | str | None
    line: int
    column: int
    start: int
    end: int
    style: str | None


@dataclass(slots=True)
class Mapping:
    """A mapping in the order of the file; every key is a text."""

    line: int
    column: int
    start: int
    end: int
    flow: bool
    entries: dict[str, tuple[Scalar, Node]] = field(default_factory=dict)
    pending: Scalar | None = None


@dataclass(slots=True)
class Sequence:
    """A sequence in the order of the file."""

    line: int
    column: int
    start: int
    end: int
    flow: bool
    items: list[Node] = field(default_factory=list)


Node: TypeAlias = Scalar | Mapping | Sequence
Path: TypeAlias = tuple[str | int, ...]


def path_text(path: Iterable[str | int]) -> str:
    """The path as operators read it: ``plans.free.features[0]``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def plain(node: Node) -> Plain:
    """The node's data."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return {key: plain(value) for key, (_, value) in node.entries.items()}


@dataclass(slots=True)
class Document:
    """One file, loaded: its text, its nodes, and what was wrong with it."""

    file: str
    text: str
    """Without a byte order mark."""
    root: Node | None
    """None when the file could not be read as YAML."""
    problems: list[Problem]

    @property
    def data(self) -> Plain:
        """The plain data."""
        return None if self.root is None else plain(self.root)

    def place(self, path: Path, *, at_key: bool = False) -> tuple[int, int]:
        """Line and column of the value at the path, or of its key; of the nearest parent that is there."""
        node = self.root
        place = (1, 1) if node is None else (node.line, node.column)
        for index, step in enumerate(path):
            if isinstance(node, Mapping) and step in node.entries:
                key, node = node.entries[str(step)]
                found: Node = key if at_key and index == len(path) - 1 else node
            elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
                found = node = node.items[step]
            else:
                break
            place = (found.line, found.column)
        return place

    def problem(self, path: Path, message: str, *, at_key: bool = False) -> Problem:
        """A problem at the path."""
        line, column = self.place(path, at_key=at_key)
        return Problem(self.file, line, column, message, path_text(path))


def shortened(problems: list[Problem], more: int = 0) -> list[Problem]:
    """The problems of one file, at most MOST_PROBLEMS: the last one then says how many others there are.

    ``more`` are those that were counted only. All of them come after the first MOST_PROBLEMS of the list.
    """
    if len(problems) + more <= MOST_PROBLEMS:
        return problems
    *told, first = sorted(problems, key=lambda problem: (problem.line, problem.column))[:MOST_PROBLEMS]
    others = len(problems) + more - len(told)
    return [*told, Problem(first.file, first.line, first.column, f"there are {others:,} more problems from here on")]


class _Refused(Exception):  # never leaves this module
    """Nothing after this place can be trusted."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem


def _at_offset(file: str, text: str, offset: int, message: str) -> Problem:
    starts = [0, *(match.end() for match in re.finditer("\r\n|\n|\r", text[:offset]))]
    line = bisect_right(starts, offset)
    return Problem(file, line, offset - starts[line - 1] + 1, message)


def _decode(file: str, raw: bytes) -> str:
    if len(raw) > MAX_BYTES:
        raise _Refused(Problem(file, 1, 1, f"the file is larger than {MAX_BYTES // 1024} kB"))
    try:
        return raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start].removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
        problem = _at_offset(file, before, len(before), f"the file is not UTF-8: byte {raw[error.start]:#04x}")
        raise _Refused(problem) from None


def _look_before_parsing(file: str, text: str) -> None:
    unreadable = _UNREADABLE.search(text)
    if unreadable:
        message = f"the character U+{ord(unreadable[0]):04X} is not accepted here"
        raise _Refused(_at_offset(file, text, unreadable.start(), message))
    if text.count("[") + text.count("{") > MAX_BRACKETS:
        offset = [match.start() for match in re.finditer(r"[\[{]", text)][MAX_BRACKETS]
        raise _Refused(_at_offset(file, text, offset, f"more than {MAX_BRACKETS} brackets"))
    run = _RUN.search(text)
    if run:
        raise _Refused(_at_offset(file, text, run.start(), "too many nested entries on one line"))


class _Builder:
    """Turns events into nodes, and notes what is wrong on the way."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.more = 0
        """How many there are beside them."""
        self.root: Node | None = None
        self.stack: list[Mapping | Sequence] = []
        self.documents = 0

    def _refuse(self, mark: Any, message: str) -> _Refused:
        return _Refused(Problem(self.file, mark.line + 1, mark.column + 1, message, self._path()))

    def _path(self) -> str:
        steps: list[str | int] = []
        for level in self.stack:
            if isinstance(level, Sequence):
                steps.append(len(level.items) - (level is not self.stack[-1]))
            elif level.pending is not None:
                steps.append(str(level.pending.value))
            elif level is not self.stack[-1]:
                steps.append(next(reversed(level.entries)))
        return path_text(steps)

    def _note(self, mark: Any, message: str) -> None:
        self._note_at(mark.line + 1, mark.column + 1, message)

    def _note_at(self, line: int, column: int, message: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(self.file, line, column, message, self._path()))
        else:
            self.more += 1

    def take(self, event: Any) -> None:
        """Act on one event of the parser."""
        mark, end = event.start_mark, event.end_mark
        if isinstance(event, yaml.ScalarEvent):
            self._properties(event)
            self._add(self._scalar(event))
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self.stack.pop().end = end.index
        elif isinstance(event, yaml.AliasEvent):
            self._note(mark, "aliases are not accepted; write the value out")
            self._add(Scalar(None, mark.line + 1, mark.column + 1, mark.index, end.index, None))
        elif isinstance(event, yaml.DocumentStartEvent):
            self._document(event)

    def _document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            raise self._refuse(event.start_mark, "the file holds more than one document")
        if event.version or event.tags:
            self._note(event.start_mark, "directives are not accepted")

    def _properties(self, event: Any) -> None:
        if event.anchor is not None:
            self._note(event.start_mark, "anchors are not accepted; write the value out where it is used")
        if event.tag is not None:
            self._note(event.start_mark, "tags are not accepted")

    def _open(self, event: Any) -> None:
        mark = event.start_mark
        if len(self.stack) >= MAX_DEPTH:
            raise self._refuse(mark, f"nested deeper than {MAX_DEPTH} levels")
        self._properties(event)
        kind = Mapping if isinstance(event, yaml.MappingStartEvent) else Sequence
        node = kind(mark.line + 1, mark.column + 1, mark.index, mark.index, bool(event.flow_style))
        if self.stack and isinstance(self.stack[-1], Mapping) and self.stack[-1].pending is None:
            raise self._refuse(mark, "a key must be a text")
        self._add(node)
        self.stack.append(node)

    def _scalar(self, event: Any) -> Scalar:
        mark = event.start_mark
        value = event.value
        try:
            if _SURROGATE.search(value):
                raise Ambiguous("the text holds a character that is not accepted: NUL or half of a pair")
            if event.style in (None, ""):
                value = plain_value(value)
        except Ambiguous as error:
            self._note(mark, str(error))
            value = _SURROGATE.sub("?", value)
        return Scalar(value, mark.line + 1, mark.column + 1, mark.index, event.end_mark.index, event.style or None)

    def _add(self, node: Node) -> None:
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif parent.pending is None:
            parent.pending = self._key(node)
        else:
            key, parent.pending = parent.pending, None
            self._entry(parent, key, node)

    def _key(self, node: Node) -> Scalar:
        if not isinstance(node, Scalar):
            raise TypeError("a collection as a key was refused before")
        if not isinstance(node.value, str):
            self._note_at(node.line, node.column, f"a key must be a text; put {node.value!r} in quotes")
            node.value = str(node.value)
        return node

    def _entry(self, parent: Mapping, key: Scalar, node: Node) -> None:
        name = str(key.value)
        if name not in parent.entries:
            parent.entries[name] = (key, node)
            return
        first = parent.entries[name][0]
        self._note_at(key.line, key.column, f"the key '{name}' is here twice: it is on line {first.line} already")


def _syntax(file: str, text: str, error: yaml.YAMLError) -> Problem:
    conflict = _CONFLICT.search(text)
    if conflict:
        message = "the file has an unresolved merge conflict; keep what is right and remove git's lines around it"
        return _at_offset(file, text, conflict.start(), message)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark and text[mark.index : mark.index + 1] == "\t":
        return _at_offset(file, text, mark.index, "a tab: YAML is indented with spaces, not tabs")
    what = getattr(error, "problem", None) or "this is not YAML"
    context = getattr(error, "context", None)
    message = f"{what} {context}" if context else str(what)
    return Problem(file, mark.line + 1 if mark else 1, mark.column + 1 if mark else 1, message)


def _parse(builder: _Builder, text: str) -> None:
    parser = _Loader(text)
    try:
        while parser.check_event():
            builder.take(parser.get_event())
    finally:
        parser.dispose()


def load(file: str, raw: bytes) -> Document:
    """Load the bytes of a file; never raises for what they hold. ``file`` is its name in problems."""
    builder = _Builder(file)
    text = ""
    try:
        text = _decode(file, raw)
        _look_before_parsing(file, text)
        _parse(builder, text)
        if builder.root is None or (isinstance(builder.root, Scalar) and builder.root.value is None):
            raise _Refused(Problem(file, 1, 1, "the file is empty"))
    except _Refused as refused:
        last = refused.problem
    except yaml.YAMLError as error:
        last = _syntax(file, text, error)
    except Exception as error:  # noqa: BLE001  # whatever one file does to the parser is that file's problem
        last = Problem(file, 1, 1, f"cannot be read: {error!r}")
    else:
        return Document(file, text, builder.root, shortened(builder.problems, builder.more))
    return Document(file, text, None, shortened([*builder.problems, last], builder.more))


@lru_cache(maxsize=2)
def load_again(file: str, raw: bytes) -> Document:
    """As ``load``, for whoever asks for many places in one file, one after another; not to be added to."""
    return load(file, raw)
