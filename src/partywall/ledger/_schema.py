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

_RESERVATIONS: Final = (
    "ALTER TABLE usage ADD COLUMN reserved INTEGER NOT NULL DEFAULT 0 CHECK (reserved >= 0)",
    """CREATE TABLE usage_log (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT, tenant_id TEXT NOT NULL, period TEXT NOT NULL, metric TEXT NOT NULL,
        amount INTEGER NOT NULL, at REAL NOT NULL, recorded_at REAL NOT NULL, kind TEXT NOT NULL,
        reason TEXT, source TEXT
    ) STRICT""",
    "CREATE INDEX usage_log_by_metric ON usage_log (tenant_id, period, metric, amount)",
    # A total of before is the first line of its log, so that totals can be rebuilt from the log from now on.
    """INSERT INTO usage_log (tenant_id, period, metric, amount, at, recorded_at, kind)
        SELECT tenant_id, month, metric, total, strftime('%s', month || '-01') + 0.0, strftime('%s', 'now') + 0.0,
            'opening' FROM (
            SELECT *, CASE period WHEN '' THEN strftime('%Y-%m', 'now') ELSE period END AS month FROM usage
        ) WHERE total > 0""",
    """CREATE TABLE reservation (
        place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, tenant_id TEXT NOT NULL, owner TEXT NOT NULL,
        period TEXT NOT NULL, amounts TEXT NOT NULL, state TEXT NOT NULL, created_at REAL NOT NULL,
        expires_at REAL NOT NULL, charge_on_expiry INTEGER NOT NULL, cap_overrun INTEGER NOT NULL, key TEXT,
        settled_at REAL, counted TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX reservation_held_by_tenant ON reservation (tenant_id, expires_at) WHERE state = 'reserved'",
    "CREATE INDEX reservation_held ON reservation (expires_at) WHERE state = 'reserved'",
    "CREATE INDEX reservation_by_key ON reservation (tenant_id, key) WHERE key IS NOT NULL",
    "CREATE INDEX reservation_by_age ON reservation (settled_at) WHERE settled_at IS NOT NULL",
    """CREATE TABLE threshold (
        tenant_id TEXT NOT NULL, period TEXT NOT NULL, metric TEXT NOT NULL, percent INTEGER NOT NULL,
        "limit" INTEGER NOT NULL,
        PRIMARY KEY (tenant_id, period, metric, percent, "limit")
    ) STRICT, WITHOUT ROWID""",
)

_COUNTED_ROWS: Final = (
    """CREATE TABLE row_tally (
        tenant_id TEXT NOT NULL, metric TEXT NOT NULL, tables TEXT NOT NULL, rows INTEGER NOT NULL CHECK (rows >= 0),
        held INTEGER NOT NULL CHECK (held >= 0), open INTEGER NOT NULL,
        PRIMARY KEY (tenant_id, metric)
    ) STRICT, WITHOUT ROWID""",
)

_STEPS: Final = (_FIRST, _RESERVATIONS, _COUNTED_ROWS)
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


def gone() -> LedgerError:
    """The error for a ledger that was there once: a new one would know of no suspension, usage or placement."""
    return LedgerError(
        "the ledger that was here is gone, and with it suspensions, usage, placements and audit records: put a backup "
        "of var/ledger.sqlite back, with no older -wal or -shm beside it, or move the whole folder var away to begin "
        "without any tenant's data"
    )


def upgrade(connection: sqlite3.Connection, *, made_before: bool = False) -> None:
    """Bring the file up to date, all or nothing; LedgerError for a newer file or one that is no ledger.

    An empty file is a new ledger, unless one was ``made_before``.
    """
    if _version(connection) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)
        if version == 0 and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise LedgerError("the file in the ledger's place is another program's database; it was left alone")
        if version == 0 and made_before:
            raise gone()
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
