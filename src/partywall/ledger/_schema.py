"""The ledger's tables, and the steps that bring an older file up to date."""

from __future__ import annotations

import sqlite3
from typing import Final

from partywall.errors import LedgerError

__all__ = ["VERSION", "require_readable", "upgrade"]

_FIRST: Final = (
    """CREATE TABLE lifecycle (
        tenant_id TEXT PRIMARY KEY, slug TEXT NOT NULL, status TEXT NOT NULL, reason TEXT,
        suspended_at REAL, deleted_at REAL, purge_at REAL, purged_at REAL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE placement (
        tenant_id TEXT PRIMARY KEY, strategy TEXT NOT NULL, backend TEXT NOT NULL, region TEXT, location TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE usage (
        tenant_id TEXT NOT NULL, period TEXT NOT NULL, metric TEXT NOT NULL, total INTEGER NOT NULL CHECK (total >= 0),
        PRIMARY KEY (tenant_id, period, metric)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE usage_event (
        tenant_id TEXT NOT NULL, key TEXT NOT NULL, fingerprint TEXT NOT NULL, period TEXT NOT NULL,
        at REAL NOT NULL, result TEXT NOT NULL,
        PRIMARY KEY (tenant_id, key)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX usage_event_by_age ON usage_event (at)",
    """CREATE TABLE operation (
        place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, tenant_id TEXT,
        arguments TEXT NOT NULL, state TEXT NOT NULL, actor TEXT NOT NULL, created_at REAL NOT NULL, finished_at REAL,
        progress TEXT NOT NULL, result TEXT NOT NULL, error TEXT, queued INTEGER NOT NULL
    ) STRICT""",
    "CREATE INDEX operation_by_state ON operation (state)",
    """CREATE TABLE agent (
        agent_id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, pid INTEGER NOT NULL, started TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE audit (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
        tenant_id TEXT, details TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX audit_by_tenant ON audit (tenant_id, sequence)",
)

_STEPS: Final = (_FIRST,)
"""What leads from each version to the next; steps are added and never edited."""

VERSION: Final = len(_STEPS)
"""The schema that this release reads and writes."""


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise LedgerError(
            f"the ledger was written by a newer release of partywall (schema {version}; this one knows {VERSION}): "
            "install that release or a later one"
        )
    return version


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring the file up to date, all or nothing; LedgerError for a newer file or one that is no ledger."""
    if _version(connection) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)
        if version == 0 and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise LedgerError("the file in the ledger's place is another program's database; it was left alone")
        for step in _STEPS[version:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def require_readable(connection: sqlite3.Connection) -> None:
    """Refuse a file that only an engine could bring up to date."""
    if _version(connection) < VERSION:
        raise LedgerError("the ledger is not set up by this release yet; open the data folder with an engine first")
