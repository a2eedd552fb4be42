"""Rows whose count is in doubt are counted anew, and nobody's rows are forgotten or imagined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.isolation.conftest import example_plugin
from tests.quotas.counted import Opened, declare, projects, stands, undeclare

from partywall import BackendError, Engine, LedgerError, QuotaExceeded
from partywall.ledger import SqliteLedger
from partywall.model import Tenant
from partywall.names import TenantId


@pytest.fixture
def engine(data_folder: Path, open_engine: Opened) -> Engine:
    declare(data_folder)
    return open_engine()


def test_a_row_whose_count_failed_is_there_and_counted_by_the_next_writer(
    engine: Engine, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = engine.query(acme.id)
    query.insert_many("projects", projects(1, 2))
    with monkeypatch.context() as broken:
        broken.setattr(engine.isolation.recounting._rows, "settle", unwritten)
        query.insert_many("projects", projects(3))
        status = engine.quotas.check(acme.id).projects
        assert (status.current, status.reserved) == (2, 1)
    query.delete("projects", "p1")
    assert stands(engine, acme) == (2, 0)


def unwritten(*_: object) -> None:
    raise LedgerError("the ledger failed; nothing was written")


@pytest.mark.parametrize("written", [True, False])
def test_a_commit_whose_outcome_nobody_knows_is_counted_by_the_next_writer(
    engine: Engine, acme: Tenant, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    query = engine.query(acme.id)
    query.insert_many("projects", projects(1))
    backend = engine._stores.backend("duckdb-row")
    session_of = backend.session

    def lying(placement: Any) -> Any:
        session = session_of(placement)
        commit = session.commit

        def fail() -> None:
            if written:
                commit()
            raise OSError("the line went dead")

        session.commit = fail  # type: ignore[method-assign]
        return session

    with monkeypatch.context() as broken:
        broken.setattr(backend, "session", lying)
        with pytest.raises(BackendError):
            query.insert_many("projects", projects(2, 3))
    assert engine.quotas.check(acme.id).projects.reserved == 2
    query.insert_many("projects", projects(4))
    assert stands(engine, acme) == (4 if written else 2, 0)


def test_rows_of_before_are_counted_when_a_table_declares_a_quota(
    data_folder: Path, open_engine: Opened, clock: Any
) -> None:
    with open_engine() as before:
        acme = before.tenants.get_by_slug("acme")
        before.query(acme.id).insert_many("projects", projects(1, 2, 3))
        assert before.quotas.check(acme.id).projects.current == 0
    declare(data_folder)
    with open_engine() as engine:
        engine.isolation.recounting.go_on()
        assert stands(engine, acme) == (3, 0)
        with pytest.raises(QuotaExceeded):
            engine.query(acme.id).insert_many("projects", projects(4, 5))
    undeclare(data_folder)
    with open_engine() as after:
        assert after.quotas.check(acme.id).projects.current == 0
        assert after.usage.verify() == []


def test_the_first_writer_under_a_new_quota_counts_what_was_there(data_folder: Path, open_engine: Opened) -> None:
    with open_engine() as before:
        acme = before.tenants.get_by_slug("acme")
        before.query(acme.id).insert_many("projects", projects(1, 2, 3, 4, 5))
    declare(data_folder)
    with open_engine() as engine:
        with pytest.raises(QuotaExceeded) as caught:
            engine.query(acme.id).insert_many("projects", projects(6))
        assert caught.value.current == 5
        engine.query(acme.id).delete("projects", "p1")
        assert stands(engine, acme) == (4, 0)


def test_a_store_that_forgets_its_rows_leaves_no_phantom(data_folder: Path, open_engine: Opened) -> None:
    declare(data_folder)
    settings = data_folder / "system" / "tenancy" / "engine.yaml"
    chosen = "row_level: {backend: ephemeral-dict, ephemeral: true}"
    settings.write_text(settings.read_text().replace("row_level: duckdb-row", chosen))
    with open_engine(plugins=[example_plugin()]) as before:
        acme = before.tenants.get_by_slug("acme")
        before.query(acme.id).insert_many("projects", projects(1, 2, 3))
        assert stands(before, acme) == (3, 0)
    with open_engine(plugins=[example_plugin()]) as after:
        assert stands(after, acme) == (0, 0)


def test_a_restored_tenant_has_what_it_had_and_a_purged_one_leaves_nothing(engine: Engine, acme: Tenant) -> None:
    query = engine.query(acme.id)
    query.insert_many("projects", projects(1, 2))
    engine.tenants.delete(acme.id)
    engine.tenants.restore(acme.id)
    assert stands(engine, acme) == (2, 0)
    engine.tenants.delete(acme.id)
    engine.tenants.purge(acme.id, before_due=True)
    assert engine._ledger.read(lambda tx: tx.row_tallies()) == []
    engine.isolation.recounting._rows.recounted(TenantId(acme.id), {"projects": 2})
    assert engine._ledger.read(lambda tx: tx.tenants_with_usage()) == []


def test_with_an_interval_a_tally_is_open_on_disk_before_a_row_is_written(
    data_folder: Path, open_engine: Opened
) -> None:
    declare(data_folder)
    settings = data_folder / "system" / "tenancy" / "engine.yaml"
    settings.write_text(settings.read_text().replace("durability: commit", "durability: interval"))
    with open_engine() as engine:
        ledger = engine._ledger
        assert isinstance(ledger, SqliteLedger)
        assert ledger._writer is not None
        assert ledger._syncing is not None
        query = engine.query(engine.tenants.get_by_slug("acme").id)
        with query.transaction():
            before = ledger._writer.committed()
            query.insert_many("projects", projects(1))
            assert ledger._syncing.synced > before
