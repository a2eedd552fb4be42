"""What callers give to the tenants' room, made into models or refused, and what files are given of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from partywall.clock import utc
from partywall.errors import InvalidArgument
from partywall.model import Status
from partywall.names import meant

__all__ = ["by_field", "document_of", "moment_text", "reason_of", "status_of", "valid"]

M = TypeVar("M", bound=BaseModel)


def valid(model: type[M], given: Mapping[str, Any]) -> M:
    """The model of what a caller gave; InvalidArgument names every field that is wrong."""
    try:
        return model.model_validate({name: _frozen(value) for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise InvalidArgument("; ".join(_problem(model, each) for each in error.errors())) from None


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _frozen(each) for name, each in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _problem(model: type[BaseModel], error: ErrorDetails) -> str:
    path = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        names = sorted(map(to_camel, model.model_fields))
        return f"'{path}' is not known{meant(path, names) or '; there are ' + ', '.join(names)}"
    return f"{path}: {error['msg'].removeprefix('Value error, ')}"


def document_of(model: BaseModel) -> dict[str, Any]:
    """The model as its file would say it, without what goes without saying."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)


def by_field(model: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values by the model's own names, whether the caller used those or the file's."""
    if not isinstance(given, Mapping):
        raise InvalidArgument("settings: a mapping of names to values")
    fields = {to_camel(name): name for name in model.model_fields}
    return {fields.get(name, name): value for name, value in given.items()}


def status_of(status: str) -> Status:
    """The status of that name; InvalidArgument."""
    if status not in tuple(Status):
        raise InvalidArgument(f"status: one of {', '.join(Status)}{meant(status, Status)}")
    return Status(status)


def reason_of(reason: object) -> str:
    """A reason that can be kept; InvalidArgument."""
    if not isinstance(reason, str) or not 0 < len(reason.strip()) <= 200:
        raise InvalidArgument("reason: a text of 1 to 200 characters")
    return reason.strip()


def moment_text(seconds: float) -> str:
    """The moment as files have it, to the second."""
    return utc(seconds).isoformat(timespec="seconds").replace("+00:00", "Z")
