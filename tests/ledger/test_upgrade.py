from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from partywall.errors import LedgerError
from partywall.ledger import SqliteLedger, UsageCounter, open_ledger
from partywall.names import TenantId

ACME = TenantId("ten_acme")
BETA = TenantId("ten_beta")

VERSION_1 = """
CREATE TABLE lifecycle (
    tenant_id TEXT PRIMARY KEY, slug TEXT NOT NULL, status TEXT NOT NULL, reason TEXT,
    suspended_at REAL, deleted_at REAL, purge_at REAL, purged_at REAL
) STRICT, WITHOUT ROWID;
CREATE TABLE placement (
    tenant_id TEXT PRIMARY KEY, strategy TEXT NOT NULL, backend TEXT NOT NULL, region TEXT, location TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE usage (
    tenant_id TEXT NOT NULL, period TEXT NOT NULL, metric TEXT NOT NULL, total INTEGER NOT NULL CHECK (total >= 0),
    PRIMARY KEY (tenant_id, period, metric)
) STRICT, WITHOUT ROWID;
CREATE TABLE usage_event (
    tenant_id TEXT NOT NULL, key TEXT NOT NULL, fingerprint TEXT NOT NULL, period TEXT NOT NULL,
    at REAL NOT NULL, result TEXT NOT NULL, PRIMARY KEY (tenant_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_event_by_age ON usage_event (at);
CREATE TABLE operation (
    place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, tenant_id TEXT,
    arguments TEXT NOT NULL, state TEXT NOT NULL, actor TEXT NOT NULL, created_at REAL NOT NULL, finished_at REAL,
    progress TEXT NOT NULL, result TEXT NOT NULL, error TEXT, queued INTEGER NOT NULL
) STRICT;
CREATE INDEX operation_by_state ON operation (state);
CREATE TABLE agent (
    agent_id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, pid INTEGER NOT NULL, started TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
    tenant_id TEXT, details TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_tenant ON audit (tenant_id, sequence);
INSERT INTO usage VALUES
    ('ten_acme', '', 'projects', 4), ('ten_acme', '2026-10', 'tokens', 900), ('ten_acme', '2026-11', 'tokens', 70),
    ('ten_beta', '', 'users', 0);
INSERT INTO usage_event VALUES ('ten_acme', 'k', 'f', '2026-11', 5.0, '{"tokens":70}');
INSERT INTO audit (at, actor, action, tenant_id, details) VALUES (5.0, 'api', 'tenant.created', 'ten_acme', '{}');
PRAGMA user_version = 1;
"""


@pytest.fixture
def old(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1)
    return path


@pytest.fixture
def upgraded(old: Path) -> Iterator[SqliteLedger]:
    ledger = SqliteLedger(old)
    yield ledger
    ledger.close()


def test_a_ledger_of_version_1_keeps_all_that_it_holds(upgraded: SqliteLedger) -> None:
    assert upgraded.read(lambda tx: tx.usage(ACME, "2026-11")) == {"tokens": 70}
    assert upgraded.read(lambda tx: tx.usage(ACME, "")) == {"projects": 4}
    event = upgraded.read(lambda tx: tx.usage_event(ACME, "k"))
    assert event is not None
    assert event.result == {"tokens": 70}
    assert [record.action for record in upgraded.read(lambda tx: tx.audit())] == ["tenant.created"]


def test_totals_of_before_are_the_first_lines_of_the_log(upgraded: SqliteLedger) -> None:
    logged = upgraded.read(lambda tx: tx.logged_usage(ACME))
    projects = {period: total for (period, metric), total in logged.items() if metric == "projects"}
    assert list(projects.values()) == [4]
    assert {key: total for key, total in logged.items() if key[1] == "tokens"} == {
        ("2026-10", "tokens"): 900,
        ("2026-11", "tokens"): 70,
    }
    assert upgraded.read(lambda tx: tx.logged_usage(BETA)) == {}
    assert upgraded.read(lambda tx: tx.tenants_with_usage()) == [ACME, BETA]
    counters = upgraded.read(lambda tx: tx.usage_counters(ACME, "2026-11"))
    assert counters == [UsageCounter("2026-11", "tokens", 70, 0)]


def test_a_ledger_that_was_upgraded_opens_again_and_can_be_read_beside_the_engine(old: Path) -> None:
    with pytest.raises(LedgerError, match="with an engine first"):
        open_ledger(old, read_only=True)
    SqliteLedger(old).close()
    again = SqliteLedger(old)
    viewer = open_ledger(old, read_only=True)
    assert viewer.read(lambda tx: tx.logged_usage(ACME)) == again.read(lambda tx: tx.logged_usage(ACME))
    viewer.close()
    again.close()


def test_an_upgrade_that_fails_leaves_the_file_as_it_was(old: Path) -> None:
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("CREATE TABLE threshold (mine)")
        connection.commit()
    with pytest.raises(LedgerError):
        SqliteLedger(old)
    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert "reserved" not in [row[1] for row in connection.execute("PRAGMA table_info(usage)")]
