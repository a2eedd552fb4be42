"""The one DuckDB instance: hardened, locked, and able to open the files of its backend and no others."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import duckdb

from partywall.errors import BackendError
from partywall.sql import quote
from partywall_duckdb.options import Options

__all__ = ["Cursor", "Hub", "as_arrow", "run", "signalled"]

Cursor = duckdb.DuckDBPyConnection

_RELEASE: Final = "2.0."
"""The traps that the wall relies on were examined on this release; another may have others."""
_STATEMENTS: Final = 4096
_SIDE_FILES: Final = ("", ".wal", ".wal.checkpoint", ".wal.recovery")
_BLOCK: Final = 16_384
"""Bytes of a block: a table that holds one row takes 17 kB, and not 257 kB."""
_ROW_GROUP: Final = 16_384
"""Rows that a checkpoint holds in memory at once: with the usual 122,880 of them, wide rows do not fit."""
_RELIEF: Final = 4
"""What part of its memory an instance may hold for what only a checkpoint lets go of."""
_HELD: Final = "SELECT sum(memory_usage_bytes)::BIGINT FROM duckdb_memory() WHERE tag <> 'BASE_TABLE'"
"""Pages of a file can be read again; indexes and rows that are only in the log cannot, and fill memory for good."""


class Hub:
    """An in-memory instance to which a backend's files are attached."""

    def __init__(self, options: Options, files: Iterable[Path]) -> None:
        if not duckdb.__version__.startswith(_RELEASE):
            raise BackendError(f"DuckDB {duckdb.__version__} is installed; this backend is made for {_RELEASE}x")
        self._root = duckdb.connect(":memory:", config=_hardened(options))
        self._using_root = threading.Lock()
        self._relief = options.memory_bytes // _RELIEF
        self.lost = False
        """Whether DuckDB has given up the whole instance: it then refuses every statement until a new one is made."""
        self.statement = lru_cache(_STATEMENTS)(self._parsed)
        with contextlib.ExitStack() as undo:
            undo.callback(self._root.close)
            allowed = [f"{file}{side}" for file in files for side in _SIDE_FILES]
            run(self._root, "SET TimeZone = 'UTC'")
            run(self._root, "SET allowed_paths = ?", [allowed])
            run(self._root, "SET enable_external_access = false")
            # A checkpoint that DETACH or the end of the process ran would be an unguarded one.
            run(self._root, "PRAGMA disable_checkpoint_on_shutdown")
            run(self._root, "SET lock_configuration = true")
            undo.pop_all()

    def cursor(self) -> Cursor:
        """A connection of its own; it inherits nothing and costs a few microseconds."""
        with self._using_root:
            return self._root.cursor()

    def attach(self, file: Path, alias: str) -> None:
        """Open a file under a name, or raise duckdb.Error."""
        self._once(f"ATTACH ? AS {quote(alias)} (BLOCK_SIZE {_BLOCK}, ROW_GROUP_SIZE {_ROW_GROUP})", [str(file)])

    def detach(self, alias: str) -> None:
        """Let go of a file; nothing is written."""
        self._once(f"DETACH {quote(alias)}")

    def checkpoint(self, alias: str) -> None:
        """Work the write-ahead log into the file."""
        self._once(f"CHECKPOINT {quote(alias)}")

    def pressed(self, *, relieving: bool = False) -> bool:
        """Whether so much memory is held for what only a checkpoint lets go of that one is due.

        Once ``relieving`` has begun, it goes on until half of that is free again.
        """
        with contextlib.closing(self.cursor()) as cursor:
            ((held,),) = run(cursor, _HELD)
        return (held or 0) > (self._relief // 2 if relieving else self._relief)

    def note(self, error: duckdb.Error) -> None:
        """Look at an error of a statement: one that is DuckDB's own fault takes the instance with it."""
        self.lost = self.lost or isinstance(error, (duckdb.InternalException, duckdb.FatalException))

    def close(self) -> None:
        """End the instance."""
        self._root.close()

    def _once(self, text: str, parameters: Sequence[Any] = ()) -> None:
        with contextlib.closing(self.cursor()) as cursor:
            run(cursor, text, parameters)

    def _parsed(self, text: str) -> duckdb.Statement:
        """The text, parsed; kept, because parsing is a fifth of the cost of a small statement."""
        with self._using_root:
            (statement,) = self._root.extract_statements(text)
        return statement


def run(cursor: Cursor, statement: str | duckdb.Statement, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Execute one statement and fetch all of it: no result is ever left open."""
    try:
        return cursor.execute(statement, list(parameters)).fetchall()
    except RuntimeError as error:
        raise signalled(error) from None


def as_arrow(cursor: Cursor, statement: duckdb.Statement, parameters: Sequence[Any] = ()) -> Any:
    """Execute one statement that reads, and fetch all of it as an Arrow table."""
    try:
        return cursor.sql(statement, params=list(parameters)).to_arrow_table()
    except RuntimeError as error:
        raise signalled(error) from None


def signalled(error: RuntimeError) -> BaseException:
    """What to raise instead: DuckDB swallows what a signal's handler raised, which is Ctrl-C more often than not."""
    return KeyboardInterrupt() if str(error) == "Query interrupted" else error


def _hardened(options: Options) -> dict[str, str | bool | int | float | list[str]]:
    return {
        "threads": options.threads,
        "async_threads": 0,
        "memory_limit": options.memory_limit,
        "temp_directory": "",  # spilled rows would be bytes of tenants that no purge finds
        "autoload_known_extensions": False,
        "autoinstall_known_extensions": False,
        "allow_community_extensions": False,
        "allow_persistent_secrets": False,
        "python_enable_replacements": False,
        # It takes rows for there that are deleted: the first rows in an order are then missed (DuckDB 2.0.1).
        "disabled_optimizers": "row_group_pruner",
        # Automatic checkpoints are off: each is a moment at which a kill can ruin the file.
        "wal_autocheckpoint": "1000TB",
        "auto_checkpoint_skip_wal_threshold": 2**60,
    }
