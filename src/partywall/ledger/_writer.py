"""Group commit: one thread writes for everybody, and those who wait together share one sync of the disk."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, TypeVar, cast

from partywall.errors import LedgerError, PartywallError
from partywall.ledger._connection import failure, identity, log_identity
from partywall.ledger._gathering import LONGEST, Gathering
from partywall.ledger._statements import Batch
from partywall.ledger._transaction import SqliteTransaction
from partywall.ledger.contract import AuditRecord, Transaction

__all__ = ["Writer"]

T = TypeVar("T")

_log: Final = logging.getLogger("partywall.ledger")
_BATCH: Final = 256
"""The most works that share one commit, so that the first of them does not wait for ever."""


class _Job(Generic[T]):
    """One caller's function, and the lock that the caller waits on."""

    __slots__ = ("_context", "_done", "_function", "_result", "error", "outside")

    def __init__(self, function: Callable[[Any], T], *, outside: bool) -> None:
        # The function runs in the writer's thread and must still know for whom: the caller's context goes along.
        self._context = copy_context()
        self._function = function
        self._result: T | None = None
        self._done = threading.Lock()
        self._done.acquire()
        self.error: BaseException | None = None
        self.outside = outside

    def run(self, argument: Any) -> None:
        """Run the function; what it raises, whatever it is, belongs to the caller."""
        self.error = self._result = None
        try:
            self._result = self._context.run(self._function, argument)
        except BaseException as error:  # noqa: BLE001  # re-raised in the caller; the writer lives on
            self.error = error

    def wake(self) -> None:
        self._done.release()

    def outcome(self) -> T:
        self._done.acquire()
        error, self.error = self.error, None
        if error is None:
            return cast("T", self._result)
        try:
            raise error
        finally:
            del error  # its traceback holds this frame


class _Unattended(_Job[T]):
    """A function that nobody waits for; what it raises is logged."""

    __slots__ = ()

    def wake(self) -> None:
        if self.error is not None:
            _log.error("a write to the ledger that nobody waits for failed", exc_info=self.error)


class _TransactionLost(Exception):
    """SQLite rolled the whole batch back while one work ran."""


class _Spoilt(Exception):
    """One work failed after it had written, and the others must not be committed with what it wrote."""


class Writer:
    """The thread that owns the one connection that writes."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path, publish: Callable[[Sequence[AuditRecord]], None]
    ) -> None:
        self._connection = connection
        self._path = path
        self._identity = identity(path)
        self._log = path.with_name(f"{path.name}-wal")
        self._log_identity = log_identity(self._log)
        self._publish = publish
        self._queue: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._closing = threading.RLock()
        self._closed = False
        self._ended = False
        self._draining = False
        self._commits = 0
        self._gathering = Gathering()
        self._thread = threading.Thread(target=self._serve, name="partywall-ledger", daemon=True)
        self._thread.start()

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run the work in a transaction; returns when it is on disk."""
        return self._submit(_Job(work, outside=False))

    def write_soon(self, work: Callable[[Transaction], object]) -> None:
        """Have the work run in a transaction; returns at once, on whatever thread."""
        self._enqueue(_Unattended(work, outside=False))

    def outside(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function on the connection between two transactions."""
        return self._submit(_Job(function, outside=True))

    def committed(self) -> int:
        """How often it has committed."""
        return self._commits

    def close(self) -> None:
        """Commit what waits, end the thread and close the connection."""
        self._refuse_own_thread()
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _refuse_own_thread(self) -> None:
        if threading.current_thread() is self._thread:
            raise LedgerError("a function that writes to the ledger must use its own transaction, not the ledger")

    def _submit(self, job: _Job[T]) -> T:
        self._refuse_own_thread()
        self._enqueue(job)
        return job.outcome()

    def _enqueue(self, job: _Job[Any]) -> None:
        if self._closed:
            raise LedgerError("the ledger is closed")
        # Without a lock: a signal handler or a finalizer may write amid a write by the same thread.
        self._queue.put(job)
        if self._ended:
            self._refuse_rest()

    def _refuse_rest(self) -> None:
        """Refuse what came in while the ledger closed; called by the writer at its end, and by who came later still."""
        with suppress(Empty):
            while True:
                job = self._queue.get_nowait()
                if job is not None:
                    job.error = LedgerError("the ledger is closed")
                    job.wake()

    def _serve(self) -> None:
        while batch := self._next():
            writes = [job for job in batch if not job.outside]
            if writes:
                self._commit(writes)
            for job in batch:
                if job.outside:
                    job.run(self._connection)
                    job.wake()
        try:
            self._connection.close()
        finally:
            self._ended = True
            self._refuse_rest()

    def _next(self) -> list[_Job[Any]]:
        batch: list[_Job[Any]] = []
        timeout, until = None, 0.0
        while not self._draining and len(batch) < _BATCH:
            try:
                job = self._queue.get(timeout=timeout)
            except Empty:
                break
            if job is None:
                self._draining = True
            else:
                batch.append(job)
            now = time.monotonic()
            until = until or now + LONGEST
            waits = len(batch) < self._gathering.expected
            timeout = max(0.0, min(self._gathering.patience, until - now)) if waits else 0.0
        self._gathering.gathered(len(batch))
        return batch

    def _commit(self, jobs: Sequence[_Job[Any]], *, apart: bool = False) -> None:
        try:
            records = self._together(jobs, apart=apart)
        except _Spoilt:
            self._roll_back()
            self._commit(jobs, apart=True)
            return
        except _TransactionLost:
            self._roll_back()
            if len(jobs) > 1:
                # One work filled the disk or broke the store; its neighbours get their chance without it.
                for job in jobs:
                    self._commit([job], apart=True)
                return
        except BaseException as error:  # noqa: BLE001  # everybody who waits must be told
            self._roll_back()
            for job in jobs:
                job.error = job.error or _as_ledger_error(error)
        else:
            self._publish(records)
        for job in jobs:
            job.wake()

    def _together(self, jobs: Sequence[_Job[Any]], *, apart: bool) -> list[AuditRecord]:
        self._require_files()
        self._connection.execute("BEGIN IMMEDIATE")
        records = self._each_apart(jobs) if apart else self._all_together(jobs)
        begun = time.monotonic()
        self._connection.execute("COMMIT")
        self._gathering.committed(len(jobs), self._queue.qsize(), time.monotonic() - begun)
        self._commits += 1
        self._log_identity = self._log_identity or log_identity(self._log)
        return records

    def _require_files(self) -> None:
        # SQLite goes on writing into a file that nobody will ever open again, and would let us acknowledge it.
        if identity(self._path) != self._identity:
            raise LedgerError("the ledger's file was replaced or emptied while it was open; nothing was written")
        if self._log_identity is not None and log_identity(self._log) != self._log_identity:
            raise LedgerError("the ledger's log was removed or replaced while it was open; nothing was written")

    def _each_apart(self, jobs: Sequence[_Job[Any]]) -> list[AuditRecord]:
        return [record for job in jobs for record in self._attempt_behind_savepoint(job)]

    def _all_together(self, jobs: Sequence[_Job[Any]]) -> list[AuditRecord]:
        # The usual way: nobody fails after writing, so nobody needs a savepoint, and counters are written once.
        batch, records = Batch(), list[AuditRecord]()
        for job in jobs:
            transaction = self._run(job, batch)
            if job.error is None:
                records += transaction.records
            elif transaction.wrote:
                raise _Spoilt
        try:
            SqliteTransaction(self._connection, writable=True, batch=batch).flush()
        except PartywallError:
            raise _Spoilt from None
        return records

    def _attempt_behind_savepoint(self, job: _Job[Any]) -> Sequence[AuditRecord]:
        self._connection.execute("SAVEPOINT work")
        transaction = self._run(job, Batch(), flush=True)
        if job.error is not None:
            self._connection.execute("ROLLBACK TO work")
        self._connection.execute("RELEASE work")
        return () if job.error else transaction.records

    def _run(self, job: _Job[Any], batch: Batch, *, flush: bool = False) -> SqliteTransaction:
        transaction = SqliteTransaction(self._connection, writable=True, batch=batch)
        job.run(transaction)
        transaction.end()
        if flush and job.error is None:
            try:
                transaction.flush()
            except PartywallError as error:
                job.error = error
        job.error = job.error or transaction.failure
        if not self._connection.in_transaction:
            job.error = job.error or LedgerError("the ledger failed; nothing was written")
            raise _TransactionLost
        return transaction

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            # The next BEGIN fails as well and refuses its batch: the store is down, and stays closed.
            return


def _as_ledger_error(error: BaseException) -> LedgerError:
    # A new error for each caller: one that several threads raise would collect all of their tracebacks.
    return LedgerError(str(error)) if isinstance(error, LedgerError) else failure(error)
