"""What DuckDB raises, as the contract's errors: never a value, never a word of the store's own."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable

import duckdb

from partywall.backend import Insert, Write
from partywall.errors import BackendError, ConstraintViolation, PartywallError
from partywall.model import ID, Table
from partywall_duckdb.gate import INTERRUPTED
from partywall_duckdb.tables import TENANT

__all__ = ["failure", "require_distinct_ids"]

_log = logging.getLogger(__name__)


def failure(error: duckdb.Error, tables: Iterable[Table]) -> PartywallError:
    """The error to raise; ``tables`` are those that the statement or transaction wrote."""
    if _is_taken_key(error):
        return ConstraintViolation(_taken(str(error), list(tables)))
    _log.debug("a statement failed with %s", type(error).__name__)
    if isinstance(error, duckdb.InterruptException):
        return BackendError(INTERRUPTED)
    return BackendError("the store could not carry out the statement; nothing was written")


def require_distinct_ids(write: Write) -> None:
    """ConstraintViolation when two rows of one insert have the same id."""
    if isinstance(write, Insert) and len({row[ID] for row in write.rows}) != len(write.rows):
        raise ConstraintViolation(f"two of the rows have the same {write.table.name}.{ID}")


def _is_taken_key(error: duckdb.Error) -> bool:
    if isinstance(error, duckdb.ConstraintException):
        return True
    return isinstance(error, duckdb.TransactionException) and "duplicate key" in str(error)


def _taken(text: str, tables: list[Table]) -> str:
    """Which key is taken. The store's text is only compared with the declared keys, and never passed on."""
    if len(tables) == 1:
        (table,) = tables
        # The longest first: the text of (a, b) would also pass for that of (a).
        for key in sorted([(ID,), *table.unique], key=len, reverse=True):
            pattern = ", ".join(f"{re.escape(column)}: .*" for column in key)
            if re.search(f'key "(?:{TENANT}: .*, )?{pattern}" violates', text, re.DOTALL):
                return f"{table.name}.{', '.join(key)} is already taken"
    return f"a key of {' or '.join(sorted(table.name for table in tables))} is already taken"
