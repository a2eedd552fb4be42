"""From a loaded document to a model, with every problem at its place and in plain words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from operator import itemgetter
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from partywall.catalog.text.document import MOST_PROBLEMS, Document, Mapping, Path, shortened
from partywall.errors import Problem
from partywall.names import meant

__all__ = ["canonical", "revive", "validate"]

M = TypeVar("M", bound=BaseModel)

_QUOTED: Final = re.compile("'([^']*)'")
_EXPECTED = {
    "string_type": "expected a text; put it in quotes",
    "int_type": "expected a whole number",
    "float_type": "expected a number",
    "bool_type": "expected true or false",
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "dict_type": "expected a mapping",
    "mapping_type": "expected a mapping",
    "model_type": "expected a mapping",
    "model_attributes_type": "expected a mapping",
}


def canonical(data: object) -> str:
    """The data as JSON, the same text for the same data in the same order."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def revive(model: type[M], data: str | bytes) -> M:
    """The model from canonical JSON; ValidationError when it does not fit this release."""
    return model.model_validate_json(data, by_alias=True, by_name=False)


def validate(model: type[M], document: Document, data: str) -> M | None:
    """The model, or None with the problems added to the document's; ``data`` is its canonical JSON."""
    if not isinstance(document.root, Mapping):
        document.problems.append(document.problem((), "expected a mapping"))
        return None
    try:
        checked = revive(model, data)
    except ValidationError as error:
        _add(model, document, error)
        return None
    return None if document.problems else checked


def _add(model: type[BaseModel], document: Document, error: ValidationError) -> None:
    """Add what is wrong at places where nothing is yet. Of very many problems only the first are put into words."""
    if len(document.problems) >= MOST_PROBLEMS:
        return
    known = {(problem.line, problem.column) for problem in document.problems}
    placed = [(_place(document, detail), detail) for detail in error.errors(include_url=False)]
    new = sorted(((place, detail) for place, detail in placed if place not in known), key=itemgetter(0))
    found = [problem for _, detail in new[:MOST_PROBLEMS] for problem in _problems(model, document, detail)]
    found = [problem for problem in found if (problem.line, problem.column) not in known]
    document.problems[:] = shortened([*document.problems, *found], max(0, len(new) - MOST_PROBLEMS))


def _place(document: Document, detail: ErrorDetails) -> tuple[int, int]:
    path, at_key = _path(detail["loc"])
    return document.place(path, at_key=at_key or detail["type"] == "extra_forbidden")


def _problems(model: type[BaseModel], document: Document, detail: ErrorDetails) -> Iterator[Problem]:
    path, at_key = _path(detail["loc"])
    kind = detail["type"]
    if kind == "missing":
        yield document.problem(path, f"'{path[-1]}' is missing")
    elif kind == "extra_forbidden":
        yield document.problem(path, f"unknown key '{path[-1]}'{_meant(model, path)}", at_key=True)
    elif kind == "misplaced":
        for deeper, message in detail["ctx"]["found"]:
            yield document.problem((*path, *deeper), message)
    else:
        yield document.problem(path, _message(detail), at_key=at_key)


def _path(loc: tuple[int | str, ...]) -> tuple[Path, bool]:
    return (loc[:-1], True) if loc and loc[-1] == "[key]" else (loc, False)


def _message(detail: ErrorDetails) -> str:
    known = _EXPECTED.get(detail["type"])
    if known:
        return known
    text = detail["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    if detail["type"] == "literal_error":
        text += meant(detail["input"], _QUOTED.findall(detail["ctx"]["expected"]))
    return text[:1].lower() + text[1:]


def _meant(model: type[BaseModel], path: Path) -> str:
    return meant(path[-1], _keys(model, path[:-1]))


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema(by_alias=True)


def _keys(model: type[BaseModel], path: Path) -> list[str]:
    root = _schema(model)
    places = [root]
    for step in path:
        places = [deeper for place in places for part in _parts(root, place) for deeper in _step(part, step)]
    return sorted({key for place in places for part in _parts(root, place) for key in part.get("properties", ())})


def _parts(root: dict[str, Any], place: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "$ref" in place:
        place = root["$defs"][place["$ref"].rsplit("/", 1)[-1]]
    yield place
    for option in place.get("anyOf", ()):
        yield from _parts(root, option)


def _step(part: dict[str, Any], step: str | int) -> list[dict[str, Any]]:
    found = part.get("items") if isinstance(step, int) else part.get("properties", {}).get(step)
    if found is not None or isinstance(step, int):
        return [found] if found else []
    others = [part.get("additionalProperties"), *part.get("patternProperties", {}).values()]
    return [other for other in others if isinstance(other, dict)]
