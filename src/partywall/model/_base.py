"""What every model of a file shares: frozen, strict, no unknown fields, camelCase in the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from partywall.names import meant, pattern_of

__all__ = ["FileModel", "Moment", "misplaced", "named", "one_of", "snake_config"]


class FileModel(BaseModel):
    """A part of a file that operators write."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, alias_generator=to_camel, populate_by_name=True)


snake_config = ConfigDict(frozen=True, extra="forbid", strict=True, alias_generator=None)
"""For the files whose keys are snake_case: engine.yaml and tables.yaml."""


def one_of(kind: type[StrEnum]) -> BeforeValidator:
    """Reads one of the words of an enumeration."""

    def read(value: Any) -> StrEnum:
        try:
            return kind(value)
        except ValueError:
            raise ValueError(f"expected one of {', '.join(kind)}{meant(value, kind)}") from None

    return BeforeValidator(read)


def misplaced(found: Sequence[tuple[tuple[str | int, ...], str]]) -> PydanticCustomError:
    """What a model's validator raises for problems deeper in it: the path of each, from the model on, and its text."""
    told = "; ".join(message for _, message in found)
    return PydanticCustomError("misplaced", "{told}", {"told": told, "found": list(found)})


def named(parse: Callable[[object], str], *, but: str = "") -> WithJsonSchema:
    """How a schema tells editors which names a ``parse_*`` function accepts, but for one."""
    pattern = pattern_of(parse)
    return WithJsonSchema({"type": "string", "pattern": f"^(?!{but}$){pattern[1:]}" if but else pattern})


def _moment(value: Any) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("expected a moment such as '2026-11-23T10:00:00Z'") from None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError("expected a moment with a time zone, such as '2026-11-23T10:00:00Z'")
    return value.astimezone(UTC)


Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    PlainSerializer(lambda moment: moment.isoformat().replace("+00:00", "Z"), return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9].*[0-9](?:[Zz]|[+-][0-9]{2}:?[0-9]{2})$"}),
]
"""A moment in UTC; in a file a quoted RFC 3339 text with a time zone."""
