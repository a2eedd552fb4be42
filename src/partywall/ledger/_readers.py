"""Connections that read: one for each read that is under way, a few kept for the next ones."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

from partywall.errors import LedgerError
from partywall.ledger._connection import identity, reader, store_failures
from partywall.ledger._transaction import SqliteTransaction
from partywall.ledger.contract import Transaction

__all__ = ["Readers"]

T = TypeVar("T")

_IDLE: Final = 4
"""The most connections kept open for the next read; each holds two descriptors and a page cache."""


class Readers:
    """Reads on snapshots, from any number of threads, beside the writer."""

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self._path = path
        self._read_only = read_only
        self._identity = identity(path)
        # Without a lock: a signal handler or a finalizer may read amid a read by the same thread.
        self._idle: list[sqlite3.Connection] = []
        self._closed = False

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run the work on one consistent state, which includes every write acknowledged before."""
        with self._connection() as connection:
            transaction = SqliteTransaction(connection, writable=False)
            with store_failures():
                connection.execute("BEGIN")
            try:
                result = work(transaction)
            finally:
                transaction.end()
                with store_failures():
                    connection.execute("ROLLBACK")
        if transaction.failure is not None:
            raise transaction.failure
        return result

    def close(self) -> None:
        """Close what is idle now and what is in use as soon as it is given back."""
        self._closed = True
        self._keep(0)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = self._take()
        try:
            yield connection
        finally:
            self._give_back(connection)

    def _take(self) -> sqlite3.Connection:
        if self._closed:
            raise LedgerError("the ledger is closed")
        with suppress(IndexError):
            return self._idle.pop()
        with store_failures():
            connection = reader(self._path, read_only=self._read_only)
            if identity(self._path) == self._identity:
                return connection
        connection.close()
        raise LedgerError("the ledger's file was replaced while it was open")

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            # It failed to end its transaction: the next reader would see an old state.
            connection.close()
            return
        self._idle.append(connection)
        self._keep(0 if self._closed else _IDLE)

    def _keep(self, most: int) -> None:
        while len(self._idle) > most:
            with suppress(IndexError):
                self._idle.pop().close()
