# tests need no docstrings
from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from partywall.backend import Count, Insert, Scan
from partywall.errors import ConfigError, ConstraintViolation


def test_tables_and_columns_that_were_declared_since_are_added(store: Any) -> None:
    old = {"notes": {"columns": {"title": {"type": "text"}}}}
    backend = store.open(old)
    placement = store.placed(backend, "ten_aaaa")
    table = backend._setup.tables["notes"]
    backend.session(placement).write(Insert(table, [{"id": "n1", "title": "kept"}]))
    backend.close()
    defaults = {
        "rank": ("integer", 7),
        "score": ("float", 1),
        "done": ("boolean", True),
        "at": ("timestamp", "2026-11-23T10:00:00+01:00"),
        "made": ("timestamp", "now"),
        "day": ("date", "2026-11-23"),
        "raw": ("bytes", "é"),
        "extra": ("json", {"b": 1, "a": [None]}),
        "note": ("text", "it's; --"),
        "none": ("text", None),
    }
    columns = {name: {"type": kind, "default": default} for name, (kind, default) in defaults.items()}
    new = {"notes": {"columns": {"title": {"type": "text"}, **columns}}, "users": store.declared["users"]}
    again = store.open(new)
    tables = again._setup.tables
    session = again.session(placement)
    assert session.scan(Scan(tables["notes"])) == [
        {
            "id": "n1",
            "title": "kept",
            "rank": 7,
            "score": 1.0,
            "done": True,
            "at": datetime(2026, 11, 23, 9, tzinfo=UTC),
            "made": datetime.fromtimestamp(store.clock.now(), UTC),
            "day": date(2026, 11, 23),
            "raw": "é".encode(),
            "extra": '{"a":[null],"b":1}',
            "note": "it's; --",
            "none": None,
        }
    ]
    assert session.count(Count(tables["users"])) == 0
    again.close()
    third = store.open(old)
    assert third.session(placement).scan(Scan(table)) == [{"id": "n1", "title": "kept"}]
    third.session(placement).write(Insert(table, [{"id": "n2", "title": "unseen columns are empty"}]))
    third.close()
    rows = store.open(new).session(placement).scan(Scan(tables["notes"]))
    assert {row["id"]: row["rank"] for row in rows} == {"n1": 7, "n2": None}


def test_a_column_of_another_type_is_a_config_error_that_names_it(store: Any) -> None:
    backend = store.open({"notes": {"columns": {"title": {"type": "text"}}}})
    placement = store.placed(backend, "ten_aaaa")
    backend.close()
    with pytest.raises(ConfigError, match=r"notes\.title"):
        store.open({"notes": {"columns": {"title": {"type": "integer"}}}}).session(placement)


def test_a_key_that_was_declared_since_holds_and_one_that_is_gone_does_not(store: Any) -> None:
    plain = {"users": {**store.declared["users"], "unique": []}}
    backend = store.open(plain)
    placement = store.placed(backend, "ten_aaaa")
    users = [store.user("u1", "same"), store.user("u2", "other")]
    backend.session(placement).write(Insert(store.users, users))
    backend.close()
    keyed = store.open(store.declared)
    with pytest.raises(ConstraintViolation, match=r"users\.email"):
        keyed.session(placement).write(Insert(store.users, [store.user("u3", "same")]))
    keyed.close()
    loose = store.open(plain)
    loose.session(placement).write(Insert(store.users, [store.user("u3", "same")]))
    loose.close()
    with pytest.raises(ConfigError, match=r"users .* \(email\)"):
        store.open(store.declared).session(placement)


def test_a_column_added_to_a_table_with_keys_keeps_the_keys(store: Any) -> None:
    backend = store.open(store.declared)
    placement = store.placed(backend, "ten_aaaa")
    backend.session(placement).write(Insert(store.users, [store.user("u1", "same")]))
    backend.close()
    wider = {"users": {**store.declared["users"]}}
    wider["users"]["columns"] = {**wider["users"]["columns"], "nick": {"type": "text", "default": "x"}}
    again = store.open(wider)
    tables = again._setup.tables
    session = again.session(placement)
    with pytest.raises(ConstraintViolation):
        session.write(Insert(tables["users"], [{**store.user("u2", "same"), "nick": None}]))
    (row,) = session.scan(Scan(tables["users"]))
    assert row["nick"] == "x"
