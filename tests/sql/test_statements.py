# tests need no docstrings
from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partywall.aggregates import Function, Measure, avg, count, max_, min_, sum_
from partywall.backend import Aggregate, Count, Delete, Insert, Order, Scan, Update
from partywall.errors import IsolationBreach, QueryError
from partywall.model import ColumnType, Table, TablesFile
from partywall.operators import Condition, Operator, matching
from partywall.sql import Dialect, Rendered, Statements, quote

TABLES = TablesFile.model_validate(
    {
        "tables": {
            "notes": {"columns": {"title": {"type": "text"}, "rank": {"type": "integer"}, "at": {"type": "timestamp"}}},
            "tags": {"columns": {"name": {"type": "text"}}},
        }
    }
).tables
NOTES, TAGS = TABLES["notes"], TABLES["tags"]
STRANGER = TablesFile.model_validate({"tables": {"secrets": {"columns": {"v": {"type": "text"}}}}}).tables["secrets"]

SQLITE = Dialect(
    types={kind: "TEXT" if kind is not ColumnType.INTEGER else "INTEGER" for kind in ColumnType},
    collation="COLLATE BINARY",
    most_parameters=20,
    encode={ColumnType.TIMESTAMP: datetime.isoformat},
    decode={ColumnType.TIMESTAMP: datetime.fromisoformat},
)
ARRAYS = Dialect(types={kind: kind.upper() for kind in ColumnType}, arrays=True, placeholder="$")


def scoped(dialect: Dialect = SQLITE) -> Statements:
    return Statements(dialect, TABLES, scope="tenant_id")


def note(row_id: str, title: str | None = "t", rank: int | None = 1, at: datetime | None = None) -> dict[str, Any]:
    return {"id": row_id, "title": title, "rank": rank, "at": at}


@pytest.mark.parametrize("name", ['x"; drop table notes; --', "a b", "", "Notes", "notes\n", "nö", "a.b", "x" * 200])
def test_a1_a_name_that_is_not_plain_is_refused(name: str) -> None:
    with pytest.raises(QueryError):
        quote(name)


def test_a1_a_legal_name_is_quoted_all_the_same() -> None:
    assert quote("order") == '"order"'


def test_a2_only_declared_columns_are_compared_sorted_and_set() -> None:
    statements = scoped()
    for refused in (
        lambda: statements.scan(Scan(NOTES, (Condition("1=1 or title", Operator.EQ, "x"),)), "ten_aaaa"),
        lambda: statements.scan(Scan(NOTES, order_by=(Order("random()"),)), "ten_aaaa"),
        lambda: statements.count(Count(NOTES, (Condition("tenant_id", Operator.NE, "x"),)), "ten_aaaa"),
        lambda: statements.scan(Scan(NOTES, order_by=(Order("random()"),), after=("a",)), "ten_aaaa"),
        lambda: statements.aggregate(Aggregate(NOTES, {"n": sum_("rank) FROM x; --")}), "ten_aaaa"),
        lambda: statements.aggregate(Aggregate(NOTES, {"n": count()}, group_by=("tenant_id",)), "ten_aaaa"),
        lambda: statements.aggregate(Aggregate(NOTES, {"n": sum_("title")}), "ten_aaaa"),
        lambda: statements.aggregate(Aggregate(NOTES, {"n": Measure(Function.MAX)}), "ten_aaaa"),
        lambda: statements.aggregate(Aggregate(NOTES, {}), "ten_aaaa"),
        lambda: statements.write(Update(NOTES, ["a"], {"tenant_id": "ten_bbbb"}), "ten_aaaa"),
        lambda: statements.write(Update(NOTES, ["a"], {"id": "b"}), "ten_aaaa"),
        lambda: statements.write(Insert(NOTES, [{**note("a"), "tenant_id": "ten_bbbb"}]), "ten_aaaa"),
        lambda: statements.write(Insert(NOTES, [{"id": "a"}]), "ten_aaaa"),
    ):
        with pytest.raises(QueryError):
            refused()


def test_a8_only_declared_tables_are_reached() -> None:
    with pytest.raises(QueryError, match="unknown table"):
        scoped().scan(Scan(STRANGER), "ten_aaaa")
    with pytest.raises(QueryError, match="unknown table"):
        scoped().write(Delete(STRANGER, ["a"]), "ten_aaaa")


@pytest.mark.parametrize("tenant", [None, ""])
@pytest.mark.parametrize("dialect", [SQLITE, ARRAYS])
def test_b5_without_a_tenant_no_statement_is_rendered(tenant: str | None, dialect: Dialect) -> None:
    statements = scoped(dialect)
    for refused in (
        lambda: statements.scan(Scan(NOTES), tenant),
        lambda: statements.count(Count(NOTES), tenant),
        lambda: statements.aggregate(Aggregate(NOTES, {"n": count()}), tenant),
        lambda: statements.write(Insert(NOTES, [note("a")]), tenant),
        lambda: statements.write(Update(NOTES, ["a"], {"rank": 2}), tenant),
        lambda: statements.write(Delete(NOTES, ["a"]), tenant),
    ):
        with pytest.raises(IsolationBreach):
            refused()


def everything(statements: Statements, value: str) -> list[Rendered]:
    comparisons = [operator for operator in Operator if operator not in (Operator.IS_NULL, Operator.NOT_NULL)]
    return [
        *(
            statements.scan(
                Scan(
                    NOTES,
                    (Condition("title", operator, (value, value) if "in" in operator else value),),
                    (Order("title"),),
                    3,
                ),
                value,
            )
            for operator in comparisons
        ),
        statements.count(Count(NOTES, (Condition("title", Operator.LIKE, value),)), value),
        statements.scan(Scan(NOTES, (), (Order("title", True), Order("id")), 3, (value, value)), value),
        statements.aggregate(
            Aggregate(NOTES, {value: max_("title")}, (Condition("title", Operator.EQ, value),), ("rank",)), value
        ),
        *statements.write(Insert(NOTES, [note(f"{value}{n}", value) for n in range(9)]), value),
        *statements.write(Update(NOTES, [value, "b"], {"title": value}), value),
        *statements.write(Delete(NOTES, [value]), value),
    ]


@pytest.mark.parametrize("dialect", [SQLITE, ARRAYS])
def test_no_value_and_no_tenant_ever_stands_in_the_text(dialect: Dialect) -> None:
    for rendered in everything(scoped(dialect), "needle'\"--"):
        assert "needle" not in rendered.text
        assert "needle'\"--" in str(rendered.parameters).replace("\\", "")
        assert '"tenant_id"' in rendered.text
        assert rendered.text.count("$" if dialect is ARRAYS else "?") == len(rendered.parameters)


def test_the_same_shape_is_rendered_once() -> None:
    statements = scoped()
    first, second = (
        statements.scan(Scan(NOTES, (Condition("title", Operator.EQ, value),)), value) for value in ("ten_a", "ten_b")
    )
    assert first.text is second.text
    assert (first.parameters, second.parameters) == (["ten_a", "ten_a"], ["ten_b", "ten_b"])


def test_one_row_is_not_sorted_and_its_order_is_checked_all_the_same() -> None:
    where = (Condition("id", Operator.EQ, "a"),)
    assert "ORDER" not in scoped().scan(Scan(NOTES, where, (Order("title"),)), "ten_a").text
    assert "ORDER" in scoped().scan(Scan(NOTES, (Condition("id", Operator.GE, "a"),), (Order("title"),)), "ten_a").text
    with pytest.raises(QueryError):
        scoped().scan(Scan(NOTES, where, (Order("random()"),)), "ten_a")


def test_placeholders_are_those_of_the_dialect() -> None:
    scan = Scan(TAGS, (Condition("name", Operator.EQ, "x"),), limit=2)
    for placeholder, ending in (
        ("?", 'WHERE "tenant_id" = ? AND "name" = ? LIMIT ?'),
        ("%s", 'WHERE "tenant_id" = %s AND "name" = %s LIMIT %s'),
        ("$", 'WHERE "tenant_id" = $1 AND "name" = $2 LIMIT $3'),
    ):
        statements = Statements(Dialect(types=SQLITE.types, placeholder=placeholder), TABLES, scope="tenant_id")
        assert statements.scan(scan, "t").text.endswith(ending)


def test_names_that_lead_to_the_tables_are_quoted_too() -> None:
    statements = Statements(SQLITE, TABLES, within=("shard_07", "rows"))
    assert statements.relation(NOTES) == '"shard_07"."rows"."notes"'
    assert "tenant" not in statements.scan(Scan(NOTES)).text
    with pytest.raises(QueryError):
        Statements(SQLITE, TABLES, within=('x"; --',))


def test_long_writes_stay_within_the_parameters_of_the_store() -> None:
    inserts = scoped().write(Insert(NOTES, [note(str(n)) for n in range(11)]), "ten_a")
    assert [len(each.parameters) for each in inserts] == [20, 20, 15]
    deletes = scoped().write(Delete(NOTES, [str(n % 30) for n in range(60)]), "ten_a")
    assert [len(each.parameters) for each in deletes] == [20, 12]


def test_with_arrays_a_write_of_any_length_is_one_statement() -> None:
    rows = [note(str(n)) for n in range(500)]
    (insert,) = scoped(ARRAYS).write(Insert(NOTES, rows), "ten_a")
    assert [len(parameter) for parameter in insert.parameters[1:]] == [500] * 4
    (update,) = scoped(ARRAYS).write(Update(NOTES, [row["id"] for row in rows], {"rank": 1}), "ten_a")
    assert update.parameters[:2] == [1, "ten_a"]


@pytest.mark.parametrize("dialect", [SQLITE, ARRAYS])
def test_nothing_to_do_is_no_statement(dialect: Dialect) -> None:
    for write in (Insert(NOTES, []), Update(NOTES, [], {"rank": 1}), Update(NOTES, ["a"], {}), Delete(NOTES, [])):
        assert scoped(dialect).write(write, "ten_a") == []


TITLES = st.text("aAb%_\\é\U0001f600\n?$ß", max_size=4)
RANKS = st.integers(-(2**63), 2**63 - 1)
MOMENTS = st.integers(0, 200_000).map(
    lambda second: datetime(2020, 1, 1, microsecond=7, tzinfo=UTC) + timedelta(0, second)
)
VALUES = {"title": TITLES, "rank": RANKS, "at": MOMENTS}
SINGLE = [Operator.EQ, Operator.NE, Operator.GT, Operator.GE, Operator.LT, Operator.LE]


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    column = draw(st.sampled_from(sorted(VALUES)))
    kinds = [*SINGLE, Operator.IN, Operator.NOT_IN, Operator.IS_NULL, Operator.NOT_NULL]
    operator = draw(st.sampled_from([*kinds, Operator.LIKE] if column == "title" else kinds))
    if operator in (Operator.IN, Operator.NOT_IN):
        return Condition(column, operator, tuple(draw(st.lists(VALUES[column], max_size=3))))
    if operator in (Operator.IS_NULL, Operator.NOT_NULL):
        return Condition(column, operator)
    return Condition(column, operator, draw(VALUES[column]))


def filled(statements: Statements, mine: list[dict[str, Any]]) -> sqlite3.Connection:
    store = sqlite3.connect(":memory:")
    store.execute("PRAGMA case_sensitive_like = ON")
    store.execute("CREATE TABLE notes (tenant_id TEXT, id TEXT, title TEXT, rank INTEGER, at TEXT)")
    for tenant in ("ten_mine", "ten_other"):
        for rendered in statements.write(Insert(NOTES, mine), tenant):
            store.execute(rendered.text, rendered.parameters)
    return store


def fetched(store: sqlite3.Connection, rendered: Rendered) -> list[Any]:
    return store.execute(rendered.text, rendered.parameters).fetchall()


ROWS = st.lists(st.tuples(*(st.none() | values for values in VALUES.values())), max_size=6).map(
    lambda rows: [note(str(number), *values) for number, values in enumerate(rows)]
)
WHERE = st.lists(conditions(), max_size=2).map(tuple)
FEW = st.fixed_dictionaries({"title": st.sampled_from([None, "a", "B"]), "rank": st.sampled_from([None, 1, 2])})
FEW_ROWS = st.lists(FEW, max_size=9).map(lambda rows: [note(str(number), **row) for number, row in enumerate(rows)])
KEYS = st.permutations(["title", "rank"]).flatmap(
    lambda columns: st.tuples(*(st.tuples(st.just(column), st.booleans()) for column in [*columns, "id"]))
)


@given(mine=ROWS, where=WHERE, order=st.sampled_from(list(product(["title", "rank", "at"], [False, True]))))
def test_a_store_answers_as_the_conditions_say(
    mine: list[dict[str, Any]], where: tuple[Condition, ...], order: tuple[str, bool]
) -> None:
    statements = scoped()
    store = filled(statements, mine)
    scan = statements.scan(Scan(NOTES, where, (Order(*order), Order("id"))), "ten_mine")
    found = statements.rows(NOTES, fetched(store, scan))
    ((counted,),) = fetched(store, statements.count(Count(NOTES, where), "ten_mine"))
    store.close()
    assert found == ordered(matching(mine, where), *order)
    assert counted == len(found)


@given(mine=FEW_ROWS, keys=KEYS)
def test_reading_on_from_any_row_gives_the_rows_that_come_after_it(
    mine: list[dict[str, Any]], keys: tuple[tuple[str, bool], ...]
) -> None:
    statements = scoped()
    store = filled(statements, mine)
    whole = mine
    for column, descending in reversed(keys):
        whole = ordered(whole, column, descending)
    order = tuple(Order(*key) for key in keys)
    for place, row in enumerate(whole):
        after = tuple(row[column] for column, _ in keys)
        scan = statements.scan(Scan(NOTES, (), order, 4, after), "ten_mine")
        assert statements.rows(NOTES, fetched(store, scan)) == whole[place + 1 : place + 5]
    store.close()


@pytest.mark.parametrize("after", [(), ("a",), ("a", "b", "c")])
def test_a_key_to_read_on_from_has_a_value_for_each_sort_key(after: tuple[str, ...]) -> None:
    with pytest.raises(QueryError, match="one value for each sort key"):
        scoped().scan(Scan(NOTES, order_by=(Order("title"), Order("id")), after=after), "ten_a")
    with pytest.raises(QueryError):
        scoped().scan(Scan(NOTES, after=()), "ten_a")


def test_nothing_comes_after_missing_values_alone() -> None:
    text = scoped().scan(Scan(NOTES, order_by=(Order("title"),), after=(None,)), "ten_a").text
    assert "1 = 0" in text


MEASURES = {
    "all": count(),
    "titled": count("title"),
    "sum": sum_("rank"),
    "avg": avg("rank"),
    "least": min_("title"),
    "last": max_("at"),
}


@given(
    mine=st.lists(
        st.tuples(st.sampled_from([None, "a", "B", "é"]), st.none() | st.integers(-9, 9), st.none() | MOMENTS)
    ),
    where=WHERE,
    group_by=st.sampled_from([(), ("title",), ("title", "rank"), ("at",)]),
)
def test_a_store_measures_as_the_measures_say(
    mine: list[tuple[Any, ...]], where: tuple[Condition, ...], group_by: tuple[str, ...]
) -> None:
    statements = scoped()
    rows = [note(str(number), *values) for number, values in enumerate(mine)]
    store = filled(statements, rows)
    statement = Aggregate(NOTES, MEASURES, where, group_by)
    found = statements.groups(statement, fetched(store, statements.aggregate(statement, "ten_mine")))
    store.close()
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {} if group_by else {(): []}
    for row in matching(rows, where):
        groups.setdefault(tuple(row[column] for column in group_by), []).append(row)
    expected = [
        {**dict(zip(group_by, key, strict=True)), **{name: each.of(group) for name, each in MEASURES.items()}}
        for key, group in groups.items()
    ]
    for column in reversed(group_by):
        expected = ordered(expected, column, False)
    assert found == expected


def ordered(rows: list[dict[str, Any]], column: str, descending: bool) -> list[dict[str, Any]]:
    present = [row for row in rows if row[column] is not None]
    missing = [row for row in rows if row[column] is None]
    return sorted(present, key=lambda row: row[column], reverse=descending) + missing


def test_every_column_has_a_type_in_the_store() -> None:
    table: Table = NOTES
    assert SQLITE.columns(table) == {"id": "TEXT", "title": "TEXT", "rank": "INTEGER", "at": "TEXT"}
