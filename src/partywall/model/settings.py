"""engine.yaml: what the engine itself needs to know, read once when it opens."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, JsonValue, WithJsonSchema

from partywall.model._base import named, one_of, snake_config
from partywall.model.plan import StrategyField
from partywall.model.tenant import Domain
from partywall.names import Region, parse_region

__all__ = ["BackendChoice", "EngineConfig", "ReloadConfig", "SqlConfig", "SqlTier"]


class SqlTier(StrEnum):
    """What becomes of SQL that a tenant writes itself."""

    REFUSED = "refused"
    """It is not run at all."""
    VALIDATED = "validated"
    """The backend runs what its guard allows, in the engine's own process."""
    SEALED = "sealed"
    """A process of its own runs it over a copy of the tenant's rows, with limits that the system holds."""


_BACKEND: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")


def _backend(value: str) -> str:
    if _BACKEND.fullmatch(value) is None:
        raise ValueError("expected the name of a backend: a letter, then up to 63 of a-z, 0-9 and hyphens")
    return value


BackendName = Annotated[
    str, AfterValidator(_backend), WithJsonSchema({"type": "string", "pattern": f"^{_BACKEND.pattern}$"})
]


class BackendChoice(BaseModel):
    """The backend that serves one isolation strategy, and its options."""

    model_config = snake_config

    backend: BackendName
    """Its name, as ``partywall plugins`` lists it."""
    ephemeral: bool = False
    """Must be true for a backend that does not keep rows across a restart; false refuses it."""
    options: Mapping[str, JsonValue] = {}
    """What the backend's own documentation names."""
    sql: Annotated[SqlTier, one_of(SqlTier)] | None = None
    """What becomes of tenants' own SQL; by default it is validated where the store itself holds the wall, and
    refused elsewhere.
    """


def _choice(value: Any) -> Any:
    return {"backend": value} if isinstance(value, str) else value


Chosen = Annotated[BackendChoice, BeforeValidator(_choice, json_schema_input_type=BackendName | BackendChoice)]


class ReloadConfig(BaseModel):
    """How edits of files are noticed."""

    model_config = snake_config

    sweep_seconds: Annotated[float, Field(ge=0.05, le=3600)] = 5.0
    """Seconds between two looks at every file, for edits that no event told of."""
    vanish_seconds: Annotated[float, Field(ge=0, le=3600)] = 2.0
    """Seconds that a file may be missing before its tenant is out of service; its data is kept."""


class SqlConfig(BaseModel):
    """The limits of one statement that a tenant wrote itself."""

    model_config = snake_config

    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 10.0
    """Seconds after which the statement is stopped."""
    memory_mb: Annotated[int, Field(ge=512, le=1_000_000)] = 2048
    """The most memory, in 10^6 bytes, that the process of a sealed statement takes."""
    sealed_workers: Annotated[int, Field(ge=1, le=256)] = 2
    """The most sealed statements that run at a time."""


class EngineConfig(BaseModel):
    """The document ``engine.yaml``; every part has a default."""

    model_config = snake_config

    base_domain: Domain | None = None
    """Hosts ``<slug>.<base_domain>`` name a tenant; without it no host does."""
    backends: Mapping[StrategyField, Chosen] = {}
    """Which backend serves a strategy; a strategy that is not named is served by the one backend that offers it."""
    regions: Mapping[Annotated[Region, AfterValidator(parse_region), named(parse_region)], str] = {}
    """The data folder of each region; relative paths start in ``var/`` of the data folder."""
    durability: Literal["commit", "interval"] = "commit"
    """``commit`` acknowledges what is on disk; ``interval`` may lose the last second when the machine fails."""
    max_rows: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    """The most rows that one read of one tenant returns; more are read in pages."""
    sql: SqlConfig = SqlConfig()
    """What one statement that a tenant wrote itself may take."""
    reload: ReloadConfig = ReloadConfig()
    """How edits of files are noticed."""
