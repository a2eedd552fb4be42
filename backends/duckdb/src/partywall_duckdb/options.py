"""The ``options`` of engine.yaml that these backends know."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Self

from partywall.errors import ConfigError

__all__ = ["DatabaseOptions", "Options", "RowOptions", "SchemaOptions"]

_SIZE: Final = re.compile(r"([1-9][0-9]{0,8}) ?([KMGT])(i?)B")
_RANGES: Final = {
    "shards": (1, 256),
    "schemas_per_shard": (1, 2000),
    "max_open": (1, 100_000),
    "idle_seconds": (1, 10_000_000),
    "threads": (1, 256),
    "checkpoint_wal_bytes": (1, 2**40),
}


@dataclass(frozen=True, slots=True)
class Options:
    """What an operator may choose for any of them."""

    memory_limit: str = "1GB"
    """The most memory that one DuckDB instance takes."""
    threads: int = 2
    """Threads that one DuckDB instance works with, the caller's among them."""
    checkpoint_wal_bytes: int = 16_000_000
    """Size of a write-ahead log, in bytes, above which it is worked into its file."""

    @property
    def memory_bytes(self) -> int:
        """The memory limit in bytes."""
        number, prefix, binary = _SIZE.fullmatch(self.memory_limit).groups()  # type: ignore[union-attr]  # see parse
        unit: int = (1024 if binary else 1000) ** ("KMGT".index(prefix) + 1)
        return int(number) * unit

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Self:
        """The options, or ConfigError naming the one that is unknown or out of range."""
        known = [field.name for field in fields(cls)]
        for name, value in given.items():
            if name not in known:
                raise ConfigError(f"unknown option {name!a}; known are {', '.join(known)}")
            if name == "memory_limit":
                _require_size(value)
            else:
                _require_number(name, value)
        return cls(**given)


@dataclass(frozen=True, slots=True)
class RowOptions(Options):
    """What an operator may choose for ``duckdb-row``."""

    shards: int = 32
    """Files that a region's tenants are spread over; counts only when the folder is first used."""


@dataclass(frozen=True, slots=True)
class SchemaOptions(Options):
    """What an operator may choose for ``duckdb-schema``."""

    schemas_per_shard: int = 100
    """The most tenants in one file: a purge stops the writes of the others and copies them, some 20 ms each."""


@dataclass(frozen=True, slots=True)
class DatabaseOptions(Options):
    """What an operator may choose for ``duckdb-database``, where each tenant has an instance of its own."""

    memory_limit: str = "256MB"
    threads: int = 1
    max_open: int = 256
    """The most instances at a time, of about 4 MB each."""
    idle_seconds: int = 300
    """How long an instance stays that nobody uses."""


def _require_size(value: Any) -> None:
    if not isinstance(value, str) or _SIZE.fullmatch(value) is None:
        raise ConfigError("option memory_limit takes a size such as '512MB' or '2GB'")


def _require_number(name: str, value: Any) -> None:
    low, high = _RANGES[name]
    if type(value) is not int or not low <= value <= high:
        raise ConfigError(f"option {name} takes a whole number from {low:,} to {high:,}")
