"""The sealed tier: a tenant's own SQL in a process that has the tenant's rows, hard limits and nothing else."""

from __future__ import annotations

import json
import os
import pickle
import select
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Final

from partywall.backend import Order, Row, Scan, Session, Sql
from partywall.errors import BackendError, ConfigError, QueryError
from partywall.isolation.arrow import ArrowTable, pyarrow, schema_of
from partywall.isolation.execution import Execution
from partywall.isolation.scope import Unit
from partywall.model import ID, SqlConfig, Table
from partywall.names import TableName, TenantId

__all__ = ["Sealed"]

_PAGE: Final = 10_000
"""Rows that are in the engine's memory at a time, on their way into the process."""
_MOST_BYTES: Final = 64_000_000
"""Bytes of an answer."""
_MOST_VALUES: Final = 4_000_000
"""Values of an answer, those within lists too."""
_LOOK: Final = 0.05
"""Seconds between two looks at whether the statement is still wanted."""


class Sealed:
    """Runs statements in processes, a few at a time, and one at a time for a tenant."""

    def __init__(self, command: Callable[[], Sequence[str] | None], limits: SqlConfig) -> None:
        self._command = command
        self._limits = limits
        self._places = threading.BoundedSemaphore(limits.sealed_workers)
        self._busy: set[TenantId] = set()
        self._entering = threading.Lock()

    def run(
        self, tenant_id: TenantId, unit: Unit, execution: Execution, tables: Mapping[TableName, Table], statement: Sql
    ) -> list[Row]:
        """The rows of the statement; QueryError for one that may not run, that failed, or that took too much."""
        pyarrow()
        lowered = statement.text.lower()
        named = [table for name, table in tables.items() if str(name) in lowered]
        with self._place(tenant_id):
            return unit.run(lambda session: self._answered(unit, session, execution, named, statement))

    def _answered(
        self, unit: Unit, session: Session, execution: Execution, tables: Sequence[Table], statement: Sql
    ) -> list[Row]:
        deadline = time.monotonic() + self._limits.timeout_seconds
        with self._process() as process:
            stopped = threading.Timer(self._limits.timeout_seconds, process.kill)
            stopped.daemon = True
            stopped.start()
            try:
                with suppress(BrokenPipeError):  # whatever became of the process, its answer or its end tells
                    _send(process.stdin, session, execution, tables, statement)
                answer = self._received(process, unit, deadline)
            finally:
                stopped.cancel()
        return _rows(answer)

    def _received(self, process: subprocess.Popen[bytes], unit: Unit, deadline: float) -> bytes:
        found = bytearray()
        output = process.stdout.fileno()  # type: ignore[union-attr]  # it is a pipe
        while True:
            if select.select([output], [], [], _LOOK)[0]:
                chunk = os.read(output, 1 << 20)
                if not chunk:
                    break
                found += chunk
            if len(found) > _MOST_BYTES:
                raise QueryError(f"the result is larger than {_MOST_BYTES:,} bytes; select fewer columns or rows")
            if unit.cancelled:
                raise BackendError("the statement was interrupted; nothing was written")
        if time.monotonic() >= deadline:
            raise QueryError(f"the statement took longer than {self._limits.timeout_seconds:g} s; ask for less")
        return bytes(found)

    @contextmanager
    def _process(self) -> Iterator[subprocess.Popen[bytes]]:
        command = self._command()
        if command is None:
            raise ConfigError("no installed plugin brings a process for sealed SQL; install partywall-duckdb")
        limits = [str(self._limits.memory_mb * 1_000_000), str(int(self._limits.timeout_seconds) + 1)]
        # It inherits no environment, no folder and no file but the two pipes.
        process = subprocess.Popen(  # noqa: S603  # the program of an installed plugin
            [*command, *limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={},
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                with suppress(BrokenPipeError):
                    pipe.close()  # type: ignore[union-attr]  # it is a pipe
            process.wait()

    @contextmanager
    def _place(self, tenant_id: TenantId) -> Iterator[None]:
        with self._entering:
            if tenant_id in self._busy:
                raise BackendError("another statement of this tenant runs in a sealed process; try again after it")
            self._busy.add(tenant_id)
        try:
            if not self._places.acquire(timeout=self._limits.timeout_seconds):
                raise BackendError("as many sealed statements run as may; try again")
            try:
                yield
            finally:
                self._places.release()
        finally:
            self._busy.discard(tenant_id)


def _send(pipe: Any, session: Session, execution: Execution, tables: Sequence[Table], statement: Sql) -> None:
    arrow = pyarrow()
    with pipe:
        # Into the process, never out of it: what comes back is Arrow, which holds values and no code.
        request = pickle.dumps((statement, tables))
        pipe.write(len(request).to_bytes(8, "big") + request)
        for table in tables:
            with arrow.ipc.new_stream(pipe, schema_of(table)) as writer:
                for page in _pages(session, execution, table):
                    writer.write_table(page)


def _pages(session: Session, execution: Execution, table: Table) -> Iterator[ArrowTable]:
    scan = Scan(table, (), (Order(ID),), _PAGE)
    while True:
        page = execution.arrow(session, scan)
        yield page
        if page.num_rows < _PAGE:
            return
        scan = replace(scan, after=(page.column(ID)[-1].as_py(),))


def _rows(answer: bytes) -> list[Row]:
    arrow = pyarrow()
    head, _, body = answer.partition(b"\n")
    try:
        error = json.loads(head)["error"]
        table = arrow.ipc.open_stream(body).read_all() if error is None else None
    except (ValueError, KeyError, TypeError, arrow.ArrowException):
        raise QueryError("the statement ended its process: it took more memory or time than it may") from None
    if table is None:
        raise QueryError(str(error)[:500])
    try:
        table.validate(full=True)
        if sum(_values(arrow, chunk) for column in table.columns for chunk in column.chunks) > _MOST_VALUES:
            raise QueryError(f"the result holds more than {_MOST_VALUES:,} values; select fewer columns or rows")
        return _plain(arrow, table)
    except (ValueError, OverflowError, arrow.ArrowException):
        raise QueryError("the result holds a moment or a number that is out of range; cast it to a text") from None


def _values(arrow: Any, array: Any) -> int:
    """How many objects Python would make of the array, whose lists may take next to no bytes."""
    if arrow.types.is_list(array.type) or arrow.types.is_large_list(array.type):
        return len(array) + _values(arrow, array.flatten())
    return len(array)


def _plain(arrow: Any, table: ArrowTable) -> list[Row]:
    """Values as the validated tier returns them: moments in UTC, and whole numbers of any size."""
    columns: dict[str, list[Any]] = {}
    for field in table.schema:
        column = table.column(field.name)
        if arrow.types.is_timestamp(field.type):
            column = column.cast(arrow.timestamp("us", "UTC"))
        values = column.to_pylist()
        if arrow.types.is_decimal(field.type) and field.type.precision == 38 and not field.type.scale:
            values = [None if value is None else int(value) for value in values]
        columns[field.name] = values
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
