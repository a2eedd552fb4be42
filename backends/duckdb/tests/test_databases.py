# tests need no docstrings
from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import duckdb
import pytest

from partywall.backend import Scan
from partywall.errors import BackendError, InvalidArgument, IsolationBreach
from partywall.names import TenantId
from partywall_duckdb.databases import location_of


def open_files(store: Any) -> int:
    return len(list(store.home.rglob("ten_*.duckdb")))


def test_each_tenant_has_a_file_and_an_instance_of_its_own(databases: Any) -> None:
    backend = databases.open()
    mine, other = databases.session(backend, "ten_aaaa"), databases.session(backend, "ten_bbbb")
    assert mine._store.hub is not other._store.hub
    theirs = databases.file_of(databases.placed(backend, "ten_bbbb"))
    copy = shutil.copy(theirs, databases.folder / "copy.duckdb")  # one that no instance of this process has open
    for statement in (f"ATTACH '{copy}' AS theirs", f"SELECT * FROM read_blob('{theirs}')"):
        with mine._store.hub.cursor() as cursor, pytest.raises(duckdb.PermissionException):
            cursor.execute(statement).fetchall()
    assert open_files(databases) == 2


def test_only_so_many_are_open_with_many_tenants_and_threads(databases: Any) -> None:
    backend = databases.open(max_open=8)
    tenants = [f"ten_number{number:02d}" for number in range(50)]
    placements = {tenant: databases.placed(backend, tenant) for tenant in tenants}

    def work(seed: int) -> None:
        for step in range(25):
            tenant = tenants[(seed * 7 + step * 11) % 50]
            session = backend.session(placements[tenant])
            databases.write_note(session, f"{seed}-{step}", title=tenant)
            assert {row["title"] for row in session.scan(Scan(databases.notes))} == {tenant}
            assert len(backend._pool) <= 8
            session.close()
            backend.maintain()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert backend.health() == {}
    found = 0
    for placement in placements.values():
        session = backend.session(placement)
        found += len(databases.note_ids(session))
        session.close()
    assert found == 200


def test_a_session_keeps_its_database_open_and_the_next_one_waits_in_vain(
    databases: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("partywall_duckdb.databases._ADMISSION", 0.05)
    backend = databases.open(max_open=1)
    placed = databases.placed(backend, "ten_bbbb")
    session = databases.session(backend, "ten_aaaa")
    with pytest.raises(BackendError, match="busy"):
        backend.session(placed)
    databases.clock.advance(10_000)
    backend.maintain()
    databases.write_note(session, "n1")
    assert databases.note_ids(session) == ["n1"]
    session.close()
    session.close()
    assert databases.note_ids(backend.session(placed)) == []


def test_an_idle_database_is_closed_whole_and_comes_back_when_it_is_asked_for(databases: Any) -> None:
    backend = databases.open(idle_seconds=300)
    placement = databases.placed(backend, "ten_aaaa")
    session = backend.session(placement)
    databases.write_note(session, "n1")
    file = databases.file_of(placement)
    session.close()
    databases.clock.advance(299)
    backend.maintain()
    assert databases.opened_elsewhere(file) == "locked"
    databases.clock.advance(2)
    backend.maintain()
    assert not file.with_name(f"{file.name}.wal").exists()
    assert databases.opened_elsewhere(file) == "open"
    assert databases.note_ids(backend.session(placement)) == ["n1"]


def test_what_was_written_before_room_was_made_is_there_afterwards(databases: Any) -> None:
    backend = databases.open(max_open=1)
    for tenant in ("ten_aaaa", "ten_bbbb", "ten_aaaa", "ten_bbbb"):
        session = databases.session(backend, tenant)
        databases.write_note(session, f"n{len(databases.note_ids(session))}", title=tenant)
        session.close()
    for tenant in ("ten_aaaa", "ten_bbbb"):
        session = databases.session(backend, tenant)
        assert databases.note_ids(session) == ["n0", "n1"]
        session.close()


@pytest.mark.parametrize("level", [0, 1])
def test_e10_a_folder_replaced_by_a_symbolic_link_is_refused(databases: Any, level: int) -> None:
    backend = databases.open()
    placement = databases.placed(backend, "ten_aaaa")
    backend.close()
    folder = databases.file_of(placement).parents[level]
    folder.rename(databases.folder / "elsewhere")
    folder.symlink_to(databases.folder / "elsewhere")
    again = databases.open()
    with pytest.raises(BackendError, match="its operator was told"):
        again.session(placement)
    with pytest.raises(BackendError):
        again.provision(placement.tenant_id, None)
    with pytest.raises(BackendError):
        again.drop(placement)
    assert "link" in again.health()[placement.location]
    assert list((databases.folder / "elsewhere").rglob("*.duckdb"))


def test_e10_a_folder_replaced_while_its_file_is_open_is_refused(databases: Any) -> None:
    backend = databases.open()
    placement = databases.placed(backend, "ten_aaaa")
    session = backend.session(placement)
    folder = databases.file_of(placement).parent
    folder.rename(databases.folder / "elsewhere")
    folder.symlink_to(databases.folder / "elsewhere")
    backend.maintain()
    with pytest.raises(BackendError):
        databases.write_note(session, "n1")
    assert placement.location in backend.health()


@pytest.mark.parametrize("name", ["TEN_AAAA", "Ten_aaaa", "ten_AAAA"])
def test_e12_names_that_differ_in_case_only_are_no_names(store: Any, name: str) -> None:
    backend = store.open()
    placement = store.placed(backend, "ten_aaaa")
    with pytest.raises(InvalidArgument):
        backend.provision(TenantId(name), None)
    with pytest.raises((IsolationBreach, InvalidArgument)):
        backend.session(replace(placement, tenant_id=TenantId(name)))
    assert all(str(path.relative_to(store.folder)).islower() for path in store.files())


def test_another_tenants_file_under_this_ones_name_is_a_breach_even_with_its_place_forged(databases: Any) -> None:
    backend = databases.open()
    mine, other = databases.placed(backend, "ten_aaaa"), databases.placed(backend, "ten_bbbb")
    databases.write_note(backend.session(other), "secret")
    backend.close()
    shutil.copy(databases.file_of(other), databases.file_of(mine))
    with duckdb.connect(str(databases.file_of(mine))) as forged:
        forged.execute("UPDATE partywall.stamp SET place = ?", [f"/{mine.location}"])
        forged.execute("UPDATE partywall.tenants SET tenant_id = 'ten_aaaa'")
    again = databases.open()
    with pytest.raises((IsolationBreach, BackendError)):
        again.session(mine)
    assert databases.note_ids(again.session(other)) == ["secret"]


def test_a_file_that_is_gone_holds_nothing_and_is_no_error_to_drop(databases: Any) -> None:
    backend = databases.open()
    placement = databases.placed(backend, "ten_aaaa")
    backend.close()
    databases.file_of(placement).unlink()
    again = databases.open()
    with pytest.raises(IsolationBreach):
        again.session(placement)
    assert again.stamp(placement) is None
    again.drop(placement)
    assert len(again._pool) == 0


def test_locations_spread_over_folders_and_follow_from_the_id_alone() -> None:
    locations = {location_of(TenantId(f"ten_number{number}")) for number in range(1000)}
    assert len({location.partition("/")[0] for location in locations}) > 200
    assert all(location.count("/") == 2 for location in locations)


def test_a_damaged_database_is_not_tried_again_at_every_call_and_a_call_finds_it_repaired(databases: Any) -> None:
    backend = databases.open()
    placement = databases.placed(backend, "ten_aaaa")
    backend.close()
    file = databases.file_of(placement)
    good = file.read_bytes()
    file.write_bytes(b"")
    again = databases.open()
    with pytest.raises(BackendError):
        again.session(placement)
    file.write_bytes(good)
    databases.clock.advance(9)
    with pytest.raises(BackendError, match="its operator was told"):
        again.session(placement)
    databases.clock.advance(2)
    assert databases.note_ids(again.session(placement)) == []
    assert again.health() == {}
