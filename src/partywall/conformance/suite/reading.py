"""FILTERS and AGGREGATES: a store that filters, sorts or measures must agree with plain Python."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from partywall.aggregates import avg, count, max_, min_, sum_
from partywall.backend import Aggregate, Capability, Count, Delete, Insert, Order, Row, Scan, Session
from partywall.conformance.suite.kit import MINE, OTHERS, Kit, Store, ids_of, requires
from partywall.conformance.suite.reference import aggregated, scanned
from partywall.conformance.suite.sample import EVERY_VALUE, SPECIMENS, specimen, token
from partywall.model import ID, ColumnType
from partywall.operators import Condition, Operator

__all__ = ["Reading"]

COMPARED = (Operator.EQ, Operator.NE, Operator.GT, Operator.GE, Operator.LT, Operator.LE)
SORTED = [(name, kind) for name, kind in SPECIMENS.types.items() if kind is not ColumnType.JSON]
PATTERNS = ("", "%", "_", "%%", "a%", "A%", "%b", "a_c", "a\\%c", "a\\_c", "\\\\%", "%\n%", "_x", "%é%", "__", "%\\%")
LABELS = ("", "a", "A", "ab", "abc", "a%c", "a_c", "aXc", "ABC", "\\", "\\x", "a\nb", "😀x", "é", "%", "b", None)


def assorted() -> list[Row]:
    """Rows that hold every value of every type somewhere, and none."""
    columns = {name: (*EVERY_VALUE[kind], None) for name, kind in SPECIMENS.types.items() if name != ID}
    longest = max(map(len, columns.values()))
    return [
        specimen(f"r{number:03d}", **{name: values[number % len(values)] for name, values in columns.items()})
        for number in range(longest)
    ]


def conditions(column: str, kind: ColumnType) -> Iterator[Condition]:
    """Every operator that the type has, with every value."""
    values = EVERY_VALUE[kind]
    operators = COMPARED if kind is not ColumnType.JSON else COMPARED[:2]
    yield from (Condition(column, operator, value) for operator, value in product(operators, values))
    yield Condition(column, Operator.IS_NULL)
    yield Condition(column, Operator.NOT_NULL)
    if kind is not ColumnType.JSON:
        for chosen in ((), values[:1], values[1:3], values):
            yield Condition(column, Operator.IN, chosen)
            yield Condition(column, Operator.NOT_IN, chosen)


def prepared(store: Store, rows: list[Row]) -> Session:
    """A session of a tenant with these rows, among neighbours with the same ids and other values."""
    for tenant in OTHERS:
        own = [{**row, "label": token(), "amount": 2**63 - 1, "score": 1.7e308} for row in rows]
        store.session(tenant).write(Insert(SPECIMENS, own))
    session = store.session(MINE)
    session.write(Insert(SPECIMENS, rows))
    return session


class Reading(Kit):
    """Only for those who claim it."""

    @requires(Capability.FILTERS)
    @pytest.mark.parametrize(("column", "kind"), SPECIMENS.types.items())
    def test_i8_every_condition_holds_for_the_rows_that_python_says(
        self, store: Store, column: str, kind: ColumnType
    ) -> None:
        rows = assorted()
        session = prepared(store, rows)
        for condition in conditions(column, kind):
            scan = Scan(SPECIMENS, (condition,), (Order(ID),))
            expected = ids_of(scanned(rows, scan))
            assert ids_of(session.scan(scan)) == expected, f"{condition!r:.200}"
            assert session.count(Count(SPECIMENS, (condition,))) == len(expected), f"{condition!r:.200}"

    @requires(Capability.FILTERS)
    def test_like_and_missing_values_mean_what_they_mean_in_python(self, store: Store) -> None:
        rows = [specimen(f"r{number:02d}", label=label) for number, label in enumerate(LABELS)]
        session = prepared(store, rows)
        for pattern in PATTERNS:
            condition = Condition("label", Operator.LIKE, pattern)
            scan = Scan(SPECIMENS, (condition,), (Order(ID),))
            assert ids_of(session.scan(scan)) == ids_of(scanned(rows, scan)), pattern
        unlike = session.scan(Scan(SPECIMENS, (Condition("label", Operator.NE, "a"),)))
        assert None not in [row["label"] for row in unlike]

    @requires(Capability.FILTERS)
    def test_all_conditions_must_hold(self, store: Store) -> None:
        rows = assorted()
        session = prepared(store, rows)
        several = (
            (Condition("amount", Operator.GE, 0), Condition("flag", Operator.EQ, True)),
            (Condition("amount", Operator.GE, 0), Condition("amount", Operator.LT, 0)),
            (
                Condition("label", Operator.NE, ""),
                Condition("score", Operator.NOT_NULL),
                Condition("day", Operator.IS_NULL),
            ),
        )
        for where in several:
            scan = Scan(SPECIMENS, where, (Order(ID),))
            assert list(session.scan(scan)) == scanned(rows, scan)
            assert session.count(Count(SPECIMENS, where)) == len(scanned(rows, scan))

    @requires(Capability.FILTERS)
    @pytest.mark.parametrize("descending", [False, True])
    def test_rows_come_in_the_order_that_was_asked_for_missing_values_last(
        self, store: Store, descending: bool
    ) -> None:
        rows = assorted()
        session = prepared(store, rows)
        for column, _ in SORTED:
            for order in (
                (Order(column, descending), Order(ID)),
                (Order("flag"), Order(column, descending), Order(ID)),
            ):
                scan = Scan(SPECIMENS, (), order)
                assert ids_of(session.scan(scan)) == ids_of(scanned(rows, scan)), column

    @requires(Capability.FILTERS)
    @pytest.mark.parametrize("descending", [False, True])
    def test_the_first_row_is_found_where_the_rows_of_before_were_deleted(self, store: Store, descending: bool) -> None:
        store.session(MINE).write(Insert(SPECIMENS, [specimen("a"), specimen("z")]))
        if Capability.DURABLE in store.spec.capabilities:
            store.close()  # what lies in files may be known by its least and greatest values, deleted or not
        session = store.session(MINE)
        session.write(Delete(SPECIMENS, ["a", "z"]))
        session.write(Insert(SPECIMENS, [specimen("m")]))
        assert ids_of(session.scan(Scan(SPECIMENS, (), (Order(ID, descending),), 1))) == ["m"]

    @requires(Capability.FILTERS)
    def test_limits_and_pages_show_every_row_once(self, store: Store) -> None:
        rows = assorted()
        session = prepared(store, rows)
        for limit in (0, 1, 5, len(rows), len(rows) + 5):
            scan = Scan(SPECIMENS, (), (Order("amount", descending=True), Order(ID)), limit)
            assert list(session.scan(scan)) == scanned(rows, scan)
        for column, descending in product((name for name, _ in SORTED), (False, True)):
            order = (Order(ID, descending),) if column == ID else (Order(column, descending), Order(ID, not descending))
            whole = scanned(rows, Scan(SPECIMENS, (), order))
            for place in range(0, len(whole), 7):
                after = tuple(whole[place][each.column] for each in order)
                scan = Scan(SPECIMENS, (), order, 7, after)
                assert ids_of(session.scan(scan)) == ids_of(whole[place + 1 : place + 8]), f"{column} {place}"

    @requires(Capability.FILTERS)
    def test_b5_no_condition_is_the_tenants_own_rows_and_not_everyones(self, store: Store) -> None:
        session = prepared(store, [specimen("a"), specimen("b")])
        assert ids_of(session.scan(Scan(SPECIMENS, (), (Order(ID),)))) == ["a", "b"]
        assert session.count(Count(SPECIMENS)) == 2
        assert session.count(Count(SPECIMENS, (Condition(ID, Operator.NOT_IN, ()),))) == 2
        assert session.count(Count(SPECIMENS, (Condition(ID, Operator.IN, ()),))) == 0

    @requires(Capability.FILTERS)
    def test_i3_a_count_is_of_the_tenants_own_rows(self, store: Store) -> None:
        session = prepared(store, [specimen(row_id, amount=1) for row_id in "abc"])
        assert session.count(Count(SPECIMENS)) == 3
        assert session.count(Count(SPECIMENS, (Condition("amount", Operator.EQ, 1),))) == 3
        assert session.count(Count(SPECIMENS, (Condition("amount", Operator.EQ, 2**63 - 1),))) == 0
        assert store.session(OTHERS[0]).count(Count(SPECIMENS)) == 3

    @requires(Capability.AGGREGATES)
    @pytest.mark.parametrize("group_by", [(), ("flag",), ("day", "flag"), ("label",)])
    def test_i8_measures_are_what_python_says_over_the_tenants_own_rows(
        self, store: Store, group_by: tuple[str, ...]
    ) -> None:
        rows = [
            {**row, "amount": number % 5 if number % 3 else None, "score": number / 4 if number % 4 else None}
            for number, row in enumerate(assorted())
        ]
        session = prepared(store, rows)
        measures: dict[str, Any] = {"n": count(), "held": count("amount"), "mean": avg("score"), "sum": sum_("amount")}
        for column, _ in SORTED:
            if column != "flag":
                measures |= {f"least_{column}": min_(column), f"most_{column}": max_(column)}
        for where in ((), (Condition("amount", Operator.GE, 2),), (Condition("amount", Operator.LT, 0),)):
            statement = Aggregate(SPECIMENS, measures, where, group_by)
            assert [dict(row) for row in session.aggregate(statement)] == aggregated(rows, statement)

    @requires(Capability.AGGREGATES)
    def test_a_sum_of_integers_is_exact_beyond_64_bits(self, store: Store) -> None:
        session = prepared(store, [specimen(row_id, amount=2**63 - 1) for row_id in "abc"])
        assert [dict(row) for row in session.aggregate(Aggregate(SPECIMENS, {"sum": sum_("amount")}))] == [
            {"sum": 3 * (2**63 - 1)}
        ]
