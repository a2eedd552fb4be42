"""A process that runs one statement over rows that it is given, under limits that the system holds.

Started by the engine as ``python -I -m partywall_duckdb.sealedsql BYTES SECONDS``. On its input stand the request,
in pickle, and an Arrow stream for each table; on its output a JSON line and an Arrow stream.
"""

from __future__ import annotations

import json
import pickle
import resource
import sys
import warnings
from collections.abc import Mapping
from typing import IO, Final

import duckdb
import pyarrow as pa

from partywall.backend import Sql
from partywall.errors import QueryError
from partywall.model import Table
from partywall_duckdb.hub import Cursor, Hub, run
from partywall_duckdb.options import Options
from partywall_duckdb.rawsql import running
from partywall_duckdb.sqlnames import AMPLIFIERS, PATHS, PATTERNS
from partywall_duckdb.tables import ROWS, Namespace, create_tables, declared

__all__ = ["main"]

_CATALOG: Final = "memory"
_GIVEN: Final = "partywall_given"


def main() -> None:
    """Read the request, answer it, end."""
    _limit(int(sys.argv[1]), int(sys.argv[2]))
    try:
        _answer(sys.stdin.buffer, sys.stdout.buffer, int(sys.argv[1]))
    except QueryError as error:
        _tell(sys.stdout.buffer, str(error))
    except (MemoryError, duckdb.Error, pa.ArrowException):
        _tell(sys.stdout.buffer, "the statement failed: it needs more memory, or more of something, than it may take")


def _limit(memory: int, seconds: int) -> None:
    """Before a byte of the request is read: what is hostile finds the limits in place."""
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def _answer(source: IO[bytes], target: IO[bytes], memory: int) -> None:
    statement, tables = pickle.loads(source.read(int.from_bytes(source.read(8), "big")))  # noqa: S301  # the engine's own
    hub = Hub(Options(memory_limit=f"{memory // 2_000_000}MB", threads=1), [])
    cursor = hub.cursor()
    where = Namespace(_CATALOG, ROWS)
    where.create(cursor)
    create_tables(cursor, where, declared({table.name: table for table in tables}), keys=False)
    known = {str(table.name): (table, where.relation(table.name)) for table in tables}
    for _, relation in known.values():
        cursor.register(_GIVEN, pa.ipc.open_stream(source))
        run(cursor, f"INSERT INTO {relation} BY NAME SELECT * FROM {_GIVEN}")  # noqa: S608  # quoted names only
        cursor.unregister(_GIVEN)
    _found(hub.cursor(), {}, Sql("SELECT 1", (), 1))  # whatever is imported at first use is imported now
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    found = _found(cursor, known, statement)
    _tell(target, None)
    with pa.ipc.new_stream(target, found.schema) as writer:
        writer.write_table(found)


def _found(cursor: Cursor, known: Mapping[str, tuple[Table, str]], statement: Sql) -> pa.Table:
    with running(cursor, known, statement, more=AMPLIFIERS | PATHS | PATTERNS.keys()):
        reader: pa.RecordBatchReader = cursor.to_arrow_reader(1_000)
        batches: list[pa.RecordBatch] = []
        for batch in reader:
            batches.append(batch)
            if sum(each.num_rows for each in batches) >= statement.limit:
                break
        return pa.Table.from_batches(batches, schema=reader.schema).slice(0, statement.limit)


def _tell(target: IO[bytes], error: str | None) -> None:
    target.write(json.dumps({"error": error}).encode() + b"\n")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
