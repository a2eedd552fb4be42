# tests need no docstrings
from __future__ import annotations

from dataclasses import replace
from typing import Any

import duckdb
import pytest

from partywall.backend import Insert, Scan
from partywall.errors import BackendError, ConfigError, ConstraintViolation, IsolationBreach


def test_shards_are_filled_one_after_the_other(schemas: Any) -> None:
    backend = schemas.open(schemas_per_shard=3)
    tenants = [f"ten_number{number}" for number in range(7)]
    locations = [schemas.placed(backend, tenant).location for tenant in tenants]
    assert locations == ["schemas-000"] * 3 + ["schemas-001"] * 3 + ["schemas-002"]
    backend.close()
    again = schemas.open(schemas_per_shard=1)
    assert [schemas.placed(again, tenant).location for tenant in tenants] == locations
    assert schemas.placed(again, "ten_another").location == "schemas-003"


def test_a_purge_makes_room_that_the_next_tenant_takes(schemas: Any) -> None:
    backend = schemas.open(schemas_per_shard=1)
    first = schemas.placed(backend, "ten_aaaa")
    schemas.placed(backend, "ten_bbbb")
    backend.drop(first)
    assert schemas.placed(backend, "ten_cccc").location == first.location


def test_a7_no_schema_has_a_name_of_a_catalog_or_of_another_schema(schemas: Any) -> None:
    backend = schemas.open()
    for tenant in ("ten_main", "ten_temp", "ten_rows", "ten_partywall", "ten_system", "ten_schemas"):
        schemas.write_note(schemas.session(backend, tenant), "n1", title=tenant)
        schemas.write_note(schemas.session(backend, tenant, "eu"), "n2", title=tenant)
    for tenant in ("ten_main", "ten_schemas"):
        assert schemas.note_ids(schemas.session(backend, tenant)) == ["n1"]
        assert schemas.note_ids(schemas.session(backend, tenant, "eu")) == ["n2"]
    with schemas.hub(backend).cursor() as cursor:
        catalogs = {name for (name,) in cursor.execute("SELECT database_name FROM duckdb_databases()").fetchall()}
        found = cursor.execute("SELECT schema_name FROM duckdb_schemas() WHERE NOT internal").fetchall()
    names = {name for (name,) in found} - {"main"}
    assert names - {"partywall"} == {name for name in names if name.startswith("t_ten_")}
    assert not names & catalogs


def test_a_schema_that_is_stamped_for_someone_else_is_a_breach(schemas: Any) -> None:
    backend = schemas.open()
    mine, other = schemas.placed(backend, "ten_aaaa"), schemas.placed(backend, "ten_bbbb")
    backend.close()
    with duckdb.connect(str(schemas.file_of(mine))) as forged:
        forged.execute("UPDATE t_ten_aaaa.partywall SET tenant_id = 'ten_bbbb'")
    again = schemas.open()
    with pytest.raises(IsolationBreach):
        again.session(mine)
    assert list(again.health()) == [f"{mine.location}/ten_aaaa"]
    assert schemas.note_ids(again.session(other)) == []


def test_a_schema_that_is_gone_is_its_tenants_trouble_alone(schemas: Any) -> None:
    backend = schemas.open()
    mine, other = schemas.placed(backend, "ten_aaaa"), schemas.placed(backend, "ten_bbbb")
    backend.close()
    with duckdb.connect(str(schemas.file_of(mine))) as broken:
        broken.execute("DROP SCHEMA t_ten_aaaa CASCADE")
    again = schemas.open()
    with pytest.raises(BackendError, match="its operator was told") as refused:
        again.session(mine)
    assert "t_ten" not in str(refused.value)
    assert list(again.health()) == [f"{mine.location}/ten_aaaa"]
    assert schemas.note_ids(again.session(other)) == []


@pytest.mark.parametrize("kind", ["schemas", "databases"])
def test_rows_that_break_a_new_key_keep_nobody_else_out(request: pytest.FixtureRequest, kind: str) -> None:
    store = request.getfixturevalue(kind)
    plain = {"users": {**store.declared["users"], "unique": []}}
    backend = store.open(plain)
    placements = [store.placed(backend, tenant) for tenant in ("ten_aaaa", "ten_bbbb")]
    for placement, users in zip(placements, [("same", "same"), ("one", "other")], strict=True):
        rows = [store.user(f"u{number}", email) for number, email in enumerate(users)]
        backend.session(placement).write(Insert(store.users, rows))
    backend.close()
    again = store.open(store.declared)
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"users .* \(email\)"):
            again.session(placements[0])
    assert len(again.health()) == 1
    with pytest.raises(ConstraintViolation):
        again.session(placements[1]).write(Insert(store.users, [store.user("u9", "one")]))
    again.close()
    mended = store.open(plain)
    assert len(mended.session(placements[0]).scan(Scan(store.users))) == 2
    assert mended.health() == {}


def test_a_tenant_given_room_while_its_shard_was_damaged_leaves_both_when_it_is_purged(schemas: Any) -> None:
    backend = schemas.open()
    first = schemas.placed(backend, "ten_aaaa")
    backend.close()
    good = schemas.file_of(first).read_bytes()
    schemas.file_of(first).write_bytes(b"")
    again = schemas.open()
    second = schemas.placed(again, "ten_aaaa")
    assert second.location != first.location
    schemas.file_of(first).write_bytes(good)
    schemas.clock.advance(60)
    again.maintain()
    again.drop(second)
    assert (again.stamp(first), again.stamp(second)) == (None, None)
    again.close()
    assert schemas.holds("ten_aaaa") == []


def test_a_shard_that_is_none_of_ours_is_refused(schemas: Any) -> None:
    backend = schemas.open()
    placement = schemas.placed(backend, "ten_aaaa")
    for location in ("schemas-999", "shard-00", "../schemas-000", ""):
        with pytest.raises(BackendError, match="none of this backend's"):
            backend.session(replace(placement, location=location))
    with pytest.raises(IsolationBreach):
        backend.session(replace(placement, location="schemas-007"))
