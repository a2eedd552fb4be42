"""What every model of a file shares: frozen, strict, no unknown fields, camelCase in the file."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

__all__ = ["FileModel", "Moment", "snake_config"]


class FileModel(BaseModel):
    """A part of a file that operators write."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, alias_generator=to_camel, populate_by_name=True)


snake_config = ConfigDict(frozen=True, extra="forbid", strict=True, alias_generator=None)
"""For the files whose keys are snake_case: engine.yaml and tables.yaml."""


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
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A moment in UTC; in a file a quoted RFC 3339 text with a time zone."""
