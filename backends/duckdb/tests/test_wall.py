# tests need no docstrings
from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from partywall.backend import Count, Delete, Insert, Order, Scan, Update
from partywall.errors import BackendError, ConstraintViolation, IsolationBreach, PartywallError, QueryError
from partywall.model import TablesFile
from partywall.names import TenantId
from partywall.operators import Condition, Operator

SECRETS = TablesFile.model_validate_json(
    '{"tables": {"secrets": {"columns": {"v": {"type": "text"}}}, "tenants": {"columns": {"v": {"type": "text"}}}}}'
).tables


def test_a1_a_table_name_that_closes_the_quote_is_refused(store: Any, pair: Any) -> None:
    _, mine, other = pair
    store.write_note(other, "n1")
    hostile = store.notes.model_copy()
    hostile._name = 'notes"; DELETE FROM shard_00.rows.notes; --'
    with pytest.raises(QueryError):
        mine.scan(Scan(hostile))
    assert store.note_ids(other) == ["n1"]


def test_a2_a_column_or_order_that_is_an_expression_is_refused(store: Any, pair: Any) -> None:
    _, mine, _ = pair
    for statement in (
        Scan(store.notes, (Condition("1=1 OR id", Operator.EQ, "x"),)),
        Scan(store.notes, order_by=(Order("random()"),)),
        Scan(store.notes, (Condition("tenant_id", Operator.NE, "ten_aaaa"),)),
    ):
        with pytest.raises(QueryError):
            mine.scan(statement)


@pytest.mark.parametrize("name", ["title\x00", "ti\x1btle", "titl\u0435"])
def test_a3_a_control_character_in_a_name_is_refused(store: Any, pair: Any, name: str) -> None:
    _, mine, _ = pair
    with pytest.raises(QueryError):
        mine.scan(Scan(store.notes, (Condition(name, Operator.EQ, "x"),)))
    with pytest.raises(QueryError):
        mine.write(Update(store.notes, ["n1"], {name: "x"}))


@pytest.mark.parametrize("name", ["main", "temp", "information_schema", "pg_catalog", "sqlite_master", "duckdb_tables"])
def test_a4_reserved_names_reach_nothing(store: Any, pair: Any, name: str) -> None:
    _, mine, _ = pair
    hostile = store.notes.model_copy()
    hostile._name = name
    with pytest.raises(QueryError):
        mine.scan(Scan(hostile))


def test_a7_nothing_is_named_after_what_a_tenant_can_choose(store: Any, pair: Any) -> None:
    stem = {"duckdb-row": "shard-N", "duckdb-schema": "schemas-N", "duckdb-database": "ten_(a|b)+"}[store.kind]
    names = {re.sub(r"[0-9]+", "N", path.name) for path in store.files()}
    assert all(re.fullmatch(rf"layout\.json|{stem}\.duckdb(\.wal)?", name) for name in names)


@pytest.mark.parametrize("name", ["secrets", "tenants"])
def test_a8_a_table_that_is_not_declared_is_refused(pair: Any, name: str) -> None:
    _, mine, _ = pair
    with pytest.raises(QueryError, match="unknown table"):
        mine.scan(Scan(SECRETS[name]))


def test_b1_a_tenant_in_the_data_is_refused(store: Any, pair: Any) -> None:
    _, mine, other = pair
    with pytest.raises(QueryError):
        mine.write(Insert(store.notes, [{**store.note("n1"), "tenant_id": "ten_bbbb"}]))
    assert store.note_ids(other) == []


def test_b2_an_update_cannot_move_a_row_to_another_tenant(store: Any, pair: Any) -> None:
    _, mine, other = pair
    store.write_note(mine, "n1")
    with pytest.raises(QueryError):
        mine.write(Update(store.notes, ["n1"], {"tenant_id": "ten_bbbb"}))
    assert (store.note_ids(mine), store.note_ids(other)) == (["n1"], [])


@pytest.mark.parametrize("size", [2, 50])
def test_b3_a_bulk_insert_with_one_bad_row_writes_nothing(store: Any, pair: Any, size: int) -> None:
    _, mine, _ = pair
    store.write_note(mine, "taken")
    rows = [store.note(f"n{number}") for number in range(size)]
    for bad, error in (
        ({**store.note("x"), "tenant_id": "ten_bbbb"}, QueryError),
        (store.note("taken"), ConstraintViolation),
        (rows[0], ConstraintViolation),
    ):
        with pytest.raises(error):
            mine.write(Insert(store.notes, [*rows, bad]))
        assert store.note_ids(mine) == ["taken"]


def test_b4_another_tenants_id_answers_like_one_that_does_not_exist(store: Any, pair: Any) -> None:
    _, mine, other = pair
    store.write_note(other, "theirs", title="secret")
    for row_id in ("theirs", "nobodys"):
        where = (Condition("id", Operator.EQ, row_id),)
        assert mine.scan(Scan(store.notes, where)) == []
        assert mine.count(Count(store.notes, where)) == 0
        assert mine.write(Update(store.notes, [row_id], {"title": "mine now"})) == 0
        assert mine.write(Delete(store.notes, [row_id])) == 0
        store.write_note(mine, row_id, title="mine")
    (row,) = other.scan(Scan(store.notes))
    assert row["title"] == "secret"


@pytest.mark.parametrize("tenant", ["", None])
def test_b5_without_a_tenant_there_is_no_session_and_no_statement(store: Any, pair: Any, tenant: Any) -> None:
    backend, mine, _ = pair
    with pytest.raises(IsolationBreach):
        backend.session(replace(store.placed(backend, "ten_aaaa"), tenant_id=tenant))
    mine._tenant = tenant
    with pytest.raises(IsolationBreach):
        mine.scan(Scan(store.notes))


def test_b7_keys_and_ids_belong_to_their_tenant(store: Any, pair: Any) -> None:
    _, mine, other = pair
    for session in (mine, other):
        session.write(Insert(store.users, [store.user("u1", "ann@acme.test", "red", 1)]))
    for rows in ([store.user("u2", "ann@acme.test")], [store.user("u2", None, "red", 1)], [store.user("u1")]):
        with pytest.raises(ConstraintViolation):
            mine.write(Insert(store.users, rows))
    assert mine.count(Count(store.users)) == other.count(Count(store.users)) == 1


def test_rows_with_a_missing_value_never_collide(store: Any, pair: Any) -> None:
    _, mine, _ = pair
    mine.write(Insert(store.users, [store.user("u1", None, "red"), store.user("u2", None, "red")]))
    assert mine.count(Count(store.users)) == 2


@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_taken_key_names_table_and_columns_and_no_value(store: Any, pair: Any, in_transaction: bool) -> None:
    _, mine, _ = pair
    mine.write(Insert(store.users, [store.user("needle1", "needle2", "needle3", 1), store.user("needle4", "needle5")]))
    attempts = {
        "users.id": Insert(store.users, [store.user("needle1")]),
        "users.email": Insert(store.users, [store.user("x", "needle2")]),
        "users.team, number": Insert(store.users, [store.user("x", None, "needle3", 1)]),
        "users.email is": Update(store.users, ["needle4"], {"email": "needle2"}),
    }
    for named, attempt in attempts.items():
        if in_transaction:
            mine.begin()
        with pytest.raises(ConstraintViolation, match=named) as refused:
            mine.write(attempt)
        mine.rollback()
        assert "needle" not in str(refused.value)
        assert refused.value.__cause__ is None
        assert refused.value.__suppress_context__


def test_a_key_that_rows_of_one_insert_share_is_refused_whole(store: Any, pair: Any) -> None:
    _, mine, _ = pair
    for rows in ([("a", "same"), ("b", "same")], [(str(number), f"{number % 9}") for number in range(10)]):
        with pytest.raises(ConstraintViolation, match="users"):
            mine.write(Insert(store.users, [store.user(*row) for row in rows]))
    assert mine.count(Count(store.users)) == 0


def test_a_key_taken_by_a_transaction_that_commits_first_is_a_constraint_violation(store: Any, pair: Any) -> None:
    backend, mine, _ = pair
    racer = store.session(backend, "ten_aaaa")
    for session in (mine, racer):
        session.begin()
        session.write(Insert(store.users, [store.user("needle")]))
    racer.commit()
    with pytest.raises(ConstraintViolation, match="users") as refused:
        mine.commit()
    assert "needle" not in str(refused.value)
    assert mine.count(Count(store.users)) == 1


def test_i2_ids_are_the_callers_and_no_counter_is_shared(store: Any, pair: Any) -> None:
    _, mine, other = pair
    for number in range(20):
        store.write_note(other, f"o{number}")
    store.write_note(mine, "n1")
    assert mine.scan(Scan(store.notes)) == [store.note("n1")]


def test_i6_no_error_text_holds_a_path_a_value_or_a_neighbour(store: Any, pair: Any) -> None:
    backend, mine, other = pair
    store.write_note(other, "theirs", title="needle")
    store.write_note(mine, "x")
    bad_value = replace(store.placed(backend, "ten_aaaa"), location="../needle")
    attempts = [
        lambda: mine.write(Update(store.notes, ["x"], {"rank": "needle"})),
        lambda: mine.write(Insert(store.notes, [store.note("a", title="\ud800needle")])),
        lambda: mine.scan(Scan(store.notes, (Condition("rank", Operator.EQ, "needle"),))),
        lambda: backend.session(bad_value),
        lambda: backend.session(replace(store.placed(backend, "ten_aaaa"), tenant_id=TenantId("ten_needle"))),
    ]
    for attempt in attempts:
        with pytest.raises(PartywallError) as refused:
            attempt()
        for word in ("needle", "ten_bbbb", "shard", "schemas", str(store.folder), "Error:"):
            assert word not in str(refused.value)


def test_i9_failures_of_different_kinds_read_the_same(store: Any, pair: Any) -> None:
    _, mine, _ = pair
    texts = set()
    store.write_note(mine, "n1")
    for value in ("text", [1], {"a": 1}):
        with pytest.raises(BackendError) as refused:
            mine.write(Update(store.notes, ["n1"], {"rank": value}))
        texts.add(str(refused.value))
    assert texts == {"the store could not carry out the statement; nothing was written"}


def test_a_session_is_only_given_where_its_tenant_is_stamped(store: Any) -> None:
    backend = store.open(shards=4)
    placement = store.placed(backend, "ten_aaaa")
    neighbours = {store.placed(backend, f"ten_other{number}").location for number in range(20)}
    others = sorted(neighbours - {placement.location})
    assert len(others) >= 3
    assert backend.stamp(placement) == "ten_aaaa"
    for location in others:
        assert backend.stamp(replace(placement, location=location)) is None
        with pytest.raises(IsolationBreach):
            backend.session(replace(placement, location=location))
    with pytest.raises(IsolationBreach):
        backend.session(replace(placement, tenant_id=TenantId("ten_zzzz")))


def test_regions_are_apart(store: Any) -> None:
    backend = store.open()
    here, there = store.session(backend, "ten_aaaa"), store.session(backend, "ten_aaaa", "eu")
    store.write_note(here, "n1", title="needle-in-home")
    store.write_note(there, "n2", title="needle-in-eu")
    backend.close()
    assert {path.relative_to(store.folder).parts[0] for path in store.holds("needle-in-home")} == {"home"}
    assert {path.relative_to(store.folder).parts[0] for path in store.holds("needle-in-eu")} == {"eu"}
    with pytest.raises(BackendError, match="region"):
        backend.provision(TenantId("ten_aaaa"), "mars")


def test_g12_a_session_given_back_leaves_nothing_to_the_next(store: Any, pair: Any) -> None:
    backend, mine, other = pair
    mine.begin()
    store.write_note(mine, "n1")
    mine.close()
    assert store.note_ids(other) == []
    again = store.session(backend, "ten_aaaa")
    assert store.note_ids(again) == []
    again.begin()
    again.commit()


def test_a_closed_session_answers_no_more(store: Any, pair: Any) -> None:
    _, mine, _ = pair
    mine.close()
    mine.close()
    mine.interrupt()
    with pytest.raises(BackendError):
        mine.scan(Scan(store.notes))


def test_many_threads_and_tenants_at_once_stay_apart(store: Any) -> None:
    backend = store.open(shards=2)

    def work(number: int) -> None:
        tenant = f"ten_worker{number % 4}"
        session = store.session(backend, tenant)
        for step in range(15):
            store.write_note(session, f"{number}-{step}", title=tenant)
            assert {row["title"] for row in session.scan(Scan(store.notes))} == {tenant}
            backend.maintain()
        session.close()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    for number in range(4):
        session = store.session(backend, f"ten_worker{number}")
        assert session.count(Count(store.notes)) == 30
