# tests need no docstrings
from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partywall.aggregates import avg, count, max_, min_, sum_
from partywall.backend import Aggregate, Count, Delete, Insert, Order, Scan, Session, Update
from partywall.errors import ConstraintViolation, PartywallError
from partywall.operators import Condition, Operator, matching

TEXTS = st.text("aAb%_\\é\U0001f600\uffff\n\x00'\"ß", max_size=4)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "title": TEXTS,
    "rank": st.sampled_from([0, 1, -1, 2**31, 2**63 - 1, -(2**63)]) | st.integers(-5, 5),
    "score": st.floats(allow_nan=False, allow_infinity=False),
    "done": st.booleans(),
    "at": st.datetimes(timezones=st.just(UTC)),
    "day": st.dates(),
    "raw": st.binary(max_size=3),
    "extra": st.sampled_from(['{"a":1}', "[]", "null", '"x"']),
}
IDS = st.sampled_from([f"r{number}" for number in range(8)])
ORDERED = [Operator.GT, Operator.GE, Operator.LT, Operator.LE]


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    column = draw(st.sampled_from(["id", *VALUES]))
    values = IDS if column == "id" else VALUES[column]
    operators = [Operator.EQ, Operator.NE, Operator.IN, Operator.NOT_IN, Operator.IS_NULL, Operator.NOT_NULL]
    operators += [] if column == "extra" else ORDERED
    operators += [Operator.LIKE] if column == "title" else []
    operator = draw(st.sampled_from(operators))
    if operator in (Operator.IN, Operator.NOT_IN):
        return Condition(column, operator, tuple(draw(st.lists(values, max_size=3))))
    if operator in (Operator.IS_NULL, Operator.NOT_NULL):
        return Condition(column, operator)
    return Condition(column, operator, draw(values))


ROWS = st.fixed_dictionaries({"id": IDS, **{name: st.none() | values for name, values in VALUES.items()}})
CHANGES = st.fixed_dictionaries({}, optional={name: st.none() | values for name, values in VALUES.items()})
STEPS = st.one_of(
    st.tuples(st.just("insert"), st.lists(ROWS, max_size=6)),
    st.tuples(st.just("update"), st.tuples(st.lists(IDS, max_size=3), CHANGES)),
    st.tuples(st.just("delete"), st.lists(IDS, max_size=3)),
    st.tuples(st.just("begin"), st.none()),
    st.tuples(st.sampled_from(["commit", "rollback"]), st.none()),
    st.tuples(st.just("checkpoint"), st.none()),
    st.tuples(
        st.just("page"),
        st.tuples(st.sampled_from(["id", *VALUES]), st.booleans(), st.booleans(), st.integers(1, 3)),
    ),
    st.tuples(
        st.just("aggregate"),
        st.tuples(
            st.lists(conditions(), max_size=1).map(tuple),
            st.lists(st.sampled_from(sorted(VALUES)), max_size=2, unique=True).map(tuple),
        ),
    ),
    st.tuples(
        st.just("scan"),
        st.tuples(
            st.lists(conditions(), max_size=2).map(tuple),
            st.sampled_from(["id", *VALUES]),
            st.booleans(),
            st.none() | st.integers(0, 4),
        ),
    ),
)


class Model:
    """What one tenant's table must hold, as plain dicts."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.before: dict[str, dict[str, Any]] | None = None

    def scan(self, where: tuple[Condition, ...], column: str, descending: bool, limit: int | None) -> list[Any]:
        found = sorted(matching(list(self.rows.values()), where), key=lambda row: row["id"])
        return in_order(found, column, descending)[:limit]

    def pages(self, column: str, descending: bool, backwards: bool) -> list[Any]:
        found = sorted(self.rows.values(), key=lambda row: row["id"], reverse=backwards)
        return in_order(found, column, descending)

    def aggregate(self, where: tuple[Condition, ...], group_by: tuple[str, ...]) -> list[Any]:
        groups: dict[tuple[Any, ...], list[Any]] = {} if group_by else {(): []}
        for row in matching(list(self.rows.values()), where):
            groups.setdefault(tuple(row[column] for column in group_by), []).append(row)
        found = [
            {**dict(zip(group_by, key, strict=True)), **{name: each.of(rows) for name, each in MEASURES.items()}}
            for key, rows in groups.items()
        ]
        for column in reversed(group_by):
            found = in_order(found, column, False)
        return found


def in_order(rows: list[Any], column: str, descending: bool) -> list[Any]:
    present = [row for row in rows if row[column] is not None]
    missing = [row for row in rows if row[column] is None]
    return sorted(present, key=lambda row: row[column], reverse=descending) + missing


MEASURES = {
    "rows": count(),
    "titled": count("title"),
    "sum of rank": sum_("rank"),
    "mean": avg("rank"),
    **{f"least {name}": min_(name) for name in VALUES},
    **{f"most {name}": max_(name) for name in VALUES},
}


@pytest.fixture(scope="module", params=["duckdb-row", "duckdb-schema", "duckdb-database"])
def opened(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Any]:
    kit = request.config.pluginmanager  # the kit's class comes from the conftest beside this file
    store_class = next(plugin.Store for plugin in kit.get_plugins() if hasattr(plugin, "Store"))
    store = store_class(tmp_path_factory.mktemp("scans"), request.param)
    backend = store.open(shards=1, checkpoint_wal_bytes=1)
    bystander = store.session(backend, "ten_bystander")
    bystander.write(Insert(store.notes, [store.note(f"r{number}", title="a") for number in range(8)]))
    yield store, backend
    assert bystander.count(Count(store.notes)) == 8
    backend.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=12))
def test_it_answers_as_plain_dicts_do(opened: Any, steps: list[Any]) -> None:
    store, backend = opened
    session = store.session(backend, "ten_model")
    model = Model()
    try:
        for action, argument in steps:
            play(store, backend, session, model, action, argument)
        if model.before is not None:
            session.commit()
        expected = [model.rows[row_id] for row_id in sorted(model.rows)]
        assert session.scan(Scan(store.notes, order_by=(Order("id"),))) == expected
    finally:
        session.close()
        cleaner = store.session(backend, "ten_model")
        cleaner.write(Delete(store.notes, store.note_ids(cleaner)))
        cleaner.close()


def play(store: Any, backend: Any, session: Session, model: Model, action: str, argument: Any) -> None:
    match action:
        case "insert":
            insert(store, session, model, argument)
        case "update":
            ids, changes = argument
            known = set(ids) & model.rows.keys()
            touched = session.write(Update(store.notes, ids, changes))
            assert touched == (len(known) if changes else 0)
            model.rows |= {row_id: {**model.rows[row_id], **changes} for row_id in known}
        case "delete":
            known = set(argument) & model.rows.keys()
            assert session.write(Delete(store.notes, argument)) == len(known)
            model.rows = {row_id: row for row_id, row in model.rows.items() if row_id not in known}
        case "begin" if model.before is None:
            session.begin()
            model.before = dict(model.rows)
        case "commit" if model.before is not None:
            session.commit()
            model.before = None
        case "rollback" if model.before is not None:
            session.rollback()
            model.rows, model.before = model.before, None
        case "checkpoint" if model.before is None:
            backend.maintain()
        case "page":
            column, descending, backwards, size = argument
            order = (
                (Order(column, descending), Order("id", backwards)) if column != "id" else (Order("id", descending),)
            )
            backwards = descending if column == "id" else backwards
            found, after = [], None
            while rows := session.scan(Scan(store.notes, (), order, size, after)):
                found += rows
                after = tuple(rows[-1][each.column] for each in order)
            assert found == model.pages(column, descending, backwards)
        case "aggregate":
            where, group_by = argument
            rows = session.aggregate(Aggregate(store.notes, MEASURES, where, group_by))
            expected = model.aggregate(where, group_by)
            for row in (*rows, *expected):
                if row["mean"] is not None:
                    row["mean"] = pytest.approx(row["mean"], rel=1e-12)
            assert rows == expected
        case "scan":
            where, column, descending, limit = argument
            order = (Order(column, descending), Order("id"))
            expected = model.scan(where, column, descending, limit)
            assert session.scan(Scan(store.notes, where, order, limit)) == expected
            assert session.count(Count(store.notes, where)) == len(matching(list(model.rows.values()), where))


def insert(store: Any, session: Session, model: Model, rows: list[dict[str, Any]]) -> None:
    ids = [row["id"] for row in rows]
    if len(set(ids)) == len(ids) and not set(ids) & model.rows.keys():
        assert session.write(Insert(store.notes, rows)) == len(rows)
        model.rows |= {row["id"]: row for row in rows}
        return
    with pytest.raises(ConstraintViolation):
        session.write(Insert(store.notes, rows))
    if model.before is not None:
        session.rollback()
        model.rows, model.before = model.before, None


def test_values_come_back_as_they_went_in(store: Any) -> None:
    session = store.session(store.open(), "ten_aaaa")
    whole = store.note(
        "n1",
        title="\x00é\U0001f600",
        rank=-(2**63),
        score=-0.5,
        done=False,
        at=datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
        day=date(9999, 12, 31),
        raw=b"\x00\xff",
        extra='{"a":[1,null]}',
    )
    many = [{**whole, "id": f"m{number}"} for number in range(10)]
    session.write(Insert(store.notes, [whole]))
    session.write(Insert(store.notes, many))
    found = session.scan(Scan(store.notes, order_by=(Order("id"),)))
    assert found == [*many, whole]
    assert found[0]["at"].tzinfo is UTC
    assert [type(value) for value in found[0].values()] == [str, str, int, float, bool, datetime, date, bytes, str]


def test_integers_add_up_exactly_and_floats_do_not_lose_what_rounding_takes(store: Any, pair: Any) -> None:
    _, mine, other = pair
    largest = 2**63 - 1
    mine.write(Insert(store.notes, [store.note(f"n{number}", rank=largest, score=0.1) for number in range(10)]))
    other.write(Insert(store.notes, [store.note("theirs", rank=1, score=1e9)]))
    measures = {"sum": sum_("rank"), "mean": avg("rank"), "total": sum_("score"), "middle": avg("score")}
    (found,) = mine.aggregate(Aggregate(store.notes, measures))
    assert found == {"sum": 10 * largest, "mean": float(largest), "total": 1.0, "middle": 0.1}
    assert [type(value) for value in found.values()] == [int, float, float, float]
    (empty,) = mine.aggregate(Aggregate(store.notes, measures, (Condition("rank", Operator.EQ, 0),)))
    assert set(empty.values()) == {None}


def test_a_sum_beyond_every_float_is_refused(store: Any, pair: Any) -> None:
    _, mine, _ = pair
    mine.write(Insert(store.notes, [store.note(f"n{number}", score=1.7e308) for number in range(3)]))
    with pytest.raises(PartywallError):
        mine.aggregate(Aggregate(store.notes, {"total": sum_("score")}))


@pytest.mark.parametrize("descending", [False, True])
def test_the_first_row_is_found_behind_a_row_group_whose_rows_were_all_deleted(store: Any, descending: bool) -> None:
    backend = store.open(shards=1)
    session = store.session(backend, "ten_aaaa")
    for row_id in ("a", "z"):
        store.write_note(session, row_id)
    backend.close()
    session = store.session(store.open(shards=1), "ten_aaaa")
    session.write(Delete(store.notes, ["a", "z"]))
    store.write_note(session, "m")
    first = session.scan(Scan(store.notes, (), (Order("id", descending),), 1))
    assert [row["id"] for row in first] == ["m"]
