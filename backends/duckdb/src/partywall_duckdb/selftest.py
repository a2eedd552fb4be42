"""The traps that the wall relies on, tried at every start: a DuckDB that behaves otherwise is not used."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

import duckdb

from partywall.errors import BackendError
from partywall_duckdb.hub import Cursor, Hub, run

__all__ = ["self_test"]

_LOCKED: Final = (
    "SET memory_limit = '1TB'",
    "SET enable_external_access = true",
    "RESET allowed_paths",
    "PRAGMA enable_checkpoint_on_shutdown",
)
_TABLE: Final = "CREATE TEMP TABLE partywall_probe (n INTEGER PRIMARY KEY)"
_INSERT: Final = "INSERT INTO partywall_probe VALUES (1)"
_COUNT: Final = "SELECT count(*) FROM partywall_probe"
_HIDDEN_WRITE: Final = "WITH gone AS (DELETE FROM memory.main.partywall_probe RETURNING *) SELECT count(*) FROM gone"


def self_test(hub: Hub, stranger: Path) -> None:
    """BackendError unless the instance is sealed and fails as it is known to fail.

    ``stranger`` is an existing file that the instance may not read.
    """
    path = str(stranger).replace("'", "''")
    sealed = {
        f"SELECT size FROM read_text('{path}')": "reads files",  # noqa: S608  # a path of ours
        f"COPY (SELECT 1) TO '{path}.out'": "writes files",
        f"ATTACH '{path}.duckdb' AS partywall_probe": "opens other files",
    }
    with contextlib.closing(hub.cursor()) as cursor:
        for text, fault in sealed.items():
            _require_refused(cursor, text, duckdb.PermissionException, "disabled by configuration", fault)
        for text in _LOCKED:
            _require_refused(cursor, text, duckdb.InvalidInputException, "locked", "lets its settings be changed")
        _require_rolled_back(cursor)
    with contextlib.closing(hub.cursor()) as cursor:
        _require_read_only(cursor)


def _require_refused(cursor: Cursor, text: str, kind: type[duckdb.Error], words: str, fault: str) -> None:
    """The statement must fail, and for this reason: one that fails for another proves nothing."""
    try:
        run(cursor, text)
    except duckdb.Error as error:
        if isinstance(error, kind) and words in str(error):
            return
    raise BackendError(f"the DuckDB instance {fault}; it is not used")


def _require_rolled_back(cursor: Cursor) -> None:
    """After a failed statement nothing of its transaction may last, whatever COMMIT says."""
    run(cursor, _TABLE)
    run(cursor, "BEGIN TRANSACTION")
    run(cursor, _INSERT)
    _require_refused(cursor, _INSERT, duckdb.Error, "uplicate key", "takes the same key twice")
    with contextlib.suppress(duckdb.Error):
        run(cursor, "COMMIT")
    if run(cursor, _COUNT) != [(0,)]:
        raise BackendError("the DuckDB instance commits after a failed statement; it is not used")


def _require_read_only(cursor: Cursor) -> None:
    """A read-only transaction must stop a write that hides in a SELECT."""
    run(cursor, "CREATE TABLE memory.main.partywall_probe (n INTEGER)")
    run(cursor, "BEGIN TRANSACTION READ ONLY")
    fault = "writes in a read-only transaction"
    _require_refused(cursor, _HIDDEN_WRITE, duckdb.TransactionException, "read-only", fault)
    run(cursor, "ROLLBACK")
    run(cursor, "DROP TABLE memory.main.partywall_probe")
