"""The last good version of each file, and what must be known of edits of late, kept across restarts.

What it loses, the files themselves give again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

__all__ = ["Cache", "Good"]

_log = logging.getLogger("partywall.catalog")
_STEPS: Final = (
    "CREATE TABLE good (key TEXT PRIMARY KEY, digest TEXT NOT NULL, data TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE unrecorded (place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, document TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS report (one INTEGER PRIMARY KEY CHECK (one = 1), document TEXT NOT NULL)",
    "CREATE TABLE intent (place INTEGER PRIMARY KEY, key TEXT NOT NULL, document TEXT NOT NULL)",
    "ALTER TABLE good ADD COLUMN signature BLOB",
    "ALTER TABLE good ADD COLUMN entry TEXT",
)
"""What leads from each format to the next."""
_GOOD: Final = "SELECT key, digest, CAST(data AS BLOB), signature, entry FROM good"
_PUT_GOOD: Final = "INSERT OR REPLACE INTO good (key, digest, data, signature, entry) VALUES (?, ?, ?, ?, ?)"
_PUT_EDITED: Final = (
    "INSERT INTO unrecorded (id, document) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET document = excluded.document"
)
_AT_ONCE: Final = 1000
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Good:
    """A file's content that was in force: the digest of its bytes, and its data as JSON, a tenant's packed."""

    digest: str
    data: bytes
    signature: bytes | None = None
    """What a look at the file told when these bytes were read; None when it could have changed unseen since."""
    index: str | None = None
    """What the catalog must know of a tenant without unpacking its data, as JSON."""


class Cache:
    """``var/catalog.sqlite``. It never raises: a broken file is thrown away, a full disk is logged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._guarded(self._open)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=2, isolation_level=None, check_same_thread=False)
        self._connection = connection
        connection.execute("PRAGMA journal_mode=WAL")
        # Losing the last moments to a power cut is harmless: the files are read again at the next start.
        connection.execute("PRAGMA synchronous=NORMAL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > len(_STEPS):
            raise sqlite3.DatabaseError(f"format {version} is of a later release")
        if version < len(_STEPS):
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                for step in _STEPS[version:]:
                    connection.execute(step)
                connection.execute(f"PRAGMA user_version={len(_STEPS)}")

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except sqlite3.OperationalError as error:
            _log.warning("the catalog's cache of last good versions was not used: %s", error)
        except sqlite3.DatabaseError as error:
            _log.warning("the catalog's cache was broken and is built anew: %s", error)
            self._rebuild()
        except (OSError, ValueError) as error:
            _log.warning("the catalog's cache of last good versions cannot be kept: %s", error)

    def _rebuild(self) -> None:
        self.close()
        with contextlib.suppress(OSError):
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        with contextlib.suppress(OSError, sqlite3.Error):
            self._open()

    def all(self) -> Iterator[tuple[str, Good]]:
        """The last good version of each file, a few at a time: there may be very many."""
        rows: list[tuple[Any, ...]] = []
        found = self._rows(_GOOD)
        self._guarded(lambda: rows.extend(islice(found, _AT_ONCE)))
        while rows:
            for key, *good in rows:
                yield key, Good(*good)
            rows.clear()
            self._guarded(lambda: rows.extend(islice(found, _AT_ONCE)))

    def _rows(self, query: str, *values: str) -> Iterator[tuple[Any, ...]]:
        if self._connection is not None:
            yield from self._connection.execute(query, values)

    def some(self, keys: Collection[str]) -> Iterator[tuple[str, Good]]:
        """The last good versions of these files."""
        rows: list[tuple[Any, ...]] = []
        marks = ", ".join("?" * len(keys))
        self._guarded(lambda: rows.extend(self._rows(f"{_GOOD} WHERE key IN ({marks})", *keys)))
        return ((key, Good(*good)) for key, *good in rows)

    def key_of(self, reference: str) -> str | None:
        """The file of the tenant that had this id or slug when it was last found well."""
        rows: list[tuple[Any, ...]] = []
        named = json.dumps(reference)
        self._guarded(lambda: rows.extend(self._rows("SELECT key, entry FROM good WHERE instr(entry, ?)", named)))
        return next((key for key, entry in rows if reference in json.loads(entry)[2:4]), None)

    def store(self, changes: Mapping[str, Good | None], edited: Mapping[str, str] = _NOTHING) -> None:
        """Remember these versions, and documents of edits by id; None forgets the file. All or none."""
        if changes or edited:
            self._guarded(lambda: self._store(changes.items(), edited.items()))

    def _store(self, changes: Iterable[tuple[str, Good | None]], edited: Iterable[tuple[str, str]]) -> None:
        if self._connection is None:
            return
        with self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            for key, good in changes:
                if good is None:
                    connection.execute("DELETE FROM good WHERE key = ?", (key,))
                else:
                    connection.execute(_PUT_GOOD, (key, good.digest, good.data, good.signature, good.index))
            connection.executemany(_PUT_EDITED, edited)

    def settle(self, signatures: Iterable[tuple[bytes, str, str]]) -> None:
        """Remember that files, by key and digest, have these signatures for good."""
        self._guarded(lambda: self._settle(signatures))

    def _settle(self, signatures: Iterable[tuple[bytes, str, str]]) -> None:
        if self._connection is not None:
            with self._connection as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("UPDATE good SET signature = ? WHERE key = ? AND digest = ?", signatures)

    def unrecorded(self) -> dict[str, str]:
        """The documents of edits that were not yet said to be on record, by id, oldest first."""
        found: dict[str, str] = {}
        self._guarded(lambda: found.update(self._edited()))
        return found

    def _edited(self) -> Iterator[tuple[str, str]]:
        if self._connection is not None:
            yield from self._connection.execute("SELECT id, document FROM unrecorded ORDER BY place")

    def recorded(self, edited_id: str) -> None:
        """Forget an edit: it is on record."""
        self._guarded(lambda: self._recorded(edited_id))

    def _recorded(self, edited_id: str) -> None:
        if self._connection is not None:
            self._connection.execute("DELETE FROM unrecorded WHERE id = ?", (edited_id,))

    def report(self, document: str) -> None:
        """Keep how the files are doing, in place of what was told before."""
        self._guarded(lambda: self._report(document))

    def _report(self, document: str) -> None:
        if self._connection is not None:
            self._connection.execute("INSERT OR REPLACE INTO report VALUES (1, ?)", (document,))

    def reported(self) -> str | None:
        """What was told last."""
        found: list[str] = []
        self._guarded(lambda: found.extend(self._reported()))
        return found[0] if found else None

    def _reported(self) -> Iterator[str]:
        if self._connection is not None:
            for (document,) in self._connection.execute("SELECT document FROM report"):
                yield str(document)

    def keep_intents(self, key: str, intents: Iterable[tuple[Any, ...]]) -> None:
        """Remember what was written into a file of late, as plain JSON, in place of what was remembered before."""
        rows = [(key, json.dumps(intent)) for intent in intents]
        self._guarded(lambda: self._keep_intents(key, rows))

    def _keep_intents(self, key: str, rows: Iterable[tuple[str, str]]) -> None:
        if self._connection is not None:
            with self._connection as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("DELETE FROM intent WHERE key = ?", (key,))
                connection.executemany("INSERT INTO intent (key, document) VALUES (?, ?)", rows)

    def intents(self) -> list[tuple[str, list[Any]]]:
        """What was written into files of late, oldest first, by key."""
        found: list[tuple[str, list[Any]]] = []
        self._guarded(lambda: found.extend(self._intents()))
        return found

    def _intents(self) -> Iterator[tuple[str, list[Any]]]:
        if self._connection is not None:
            for key, document in self._connection.execute("SELECT key, document FROM intent ORDER BY place"):
                yield str(key), json.loads(document)

    def scrub(self) -> None:
        """Write the file anew without the bytes of what was forgotten, and empty its log."""
        self._guarded(self._scrub)

    def _scrub(self) -> None:
        if self._connection is not None:
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
