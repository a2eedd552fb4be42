"""SQL as DuckDB wants it. Its text sorts and compares by code point already."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from partywall.aggregates import Function
from partywall.clock import Clock, utc
from partywall.model import Column, ColumnType
from partywall.sql import Dialect

__all__ = ["DIALECT", "default_of"]


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)


DIALECT: Final = Dialect(
    types={
        ColumnType.TEXT: "VARCHAR",
        ColumnType.INTEGER: "BIGINT",
        ColumnType.FLOAT: "DOUBLE",
        ColumnType.BOOLEAN: "BOOLEAN",
        ColumnType.TIMESTAMP: "TIMESTAMP",  # in UTC: fetching TIMESTAMPTZ needs a further package
        ColumnType.DATE: "DATE",
        ColumnType.BYTES: "BLOB",
        ColumnType.JSON: "VARCHAR",
    },
    arrays=True,
    functions={
        # Those that make good what rounding loses: ten times 0.1 is 1, in whatever order.
        (Function.SUM, ColumnType.FLOAT): "fsum",
        (Function.AVG, ColumnType.FLOAT): "favg",
    },
    encode={ColumnType.TIMESTAMP: _naive},
    decode={ColumnType.TIMESTAMP: _aware},
)


def default_of(column: Column, clock: Clock) -> Any:
    """What rows that are there already get in a column that is new; None when it has no default."""
    value = column.initial(utc(clock.now()))
    return _naive(value) if isinstance(value, datetime) else value
