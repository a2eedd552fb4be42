"""Reading and writing sets of rows: pages, aggregates, updates and deletes by condition, bounds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partywall import ConstraintViolation, Engine, InvalidArgument, QueryError, gt, in_, lt
from partywall.aggregates import avg, count, max_, min_, sum_
from partywall.isolation import ScopedQuery
from partywall.model import Tenant


@pytest.fixture
def query(engine: Engine, acme: Tenant) -> ScopedQuery:
    return engine.query(acme.id)


def fill(query: ScopedQuery, number: int = 25) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    query.insert_many(
        "projects",
        [
            {
                "id": f"i{n:03}",
                "name": f"p{n}",
                "status": "odd" if n % 2 else "even",
                "budget": None if n % 5 == 0 else n % 3,
                "created_at": start + timedelta(microseconds=n % 4),
            }
            for n in range(number)
        ],
    )


def read_on(query: ScopedQuery, limit: int, **how: object) -> list[str]:
    ids: list[str] = []
    cursor = None
    while True:
        page = query.page("projects", limit=limit, cursor=cursor, **how)  # type: ignore[arg-type]
        assert len(page.rows) <= limit
        ids += [row["id"] for row in page.rows]
        cursor = page.cursor
        if cursor is None:
            return ids


@pytest.mark.parametrize(
    "order", [None, "-name", ["-budget", "created_at"], ["budget", "-created_at"], ["-id"], ["status", "-budget"]]
)
@pytest.mark.parametrize("limit", [1, 7, 25, 30])
def test_pages_together_are_the_whole_in_order_and_no_row_comes_twice(
    query: ScopedQuery, order: object, limit: int
) -> None:
    fill(query)
    whole = [row["id"] for row in query.select("projects", {"name": gt("p1")}, order_by=order)]  # type: ignore[arg-type]
    assert read_on(query, limit, order_by=order, where={"name": gt("p1")}) == whole


def test_rows_that_come_and_go_between_pages_disturb_no_other(query: ScopedQuery) -> None:
    fill(query, 10)
    first = query.page("projects", limit=4)
    assert first.cursor is not None
    query.delete("projects", first.rows[-1]["id"])
    query.insert("projects", {"id": "i0005", "name": "between"})
    second = query.page("projects", limit=4, cursor=first.cursor)
    assert [row["id"] for row in second.rows] == ["i004", "i005", "i006", "i007"]


def test_a_cursor_opens_only_for_its_tenant_table_where_and_order(
    engine: Engine, query: ScopedQuery, beta: Tenant
) -> None:
    fill(query)
    other = engine.query(beta.id)
    fill(other)
    cursor = query.page("projects", {"name": gt("a")}, order_by="-name", limit=3).cursor
    assert cursor is not None
    where = {"name": gt("a")}
    assert query.page("projects", where, order_by="-name", limit=9, cursor=cursor).rows
    flipped = ("A" if cursor[-1] != "A" else "B") + cursor[1:]
    for attack in (
        lambda: other.page("projects", where, order_by="-name", cursor=cursor),
        lambda: query.page("tasks", cursor=cursor),
        lambda: query.page("projects", {"name": gt("b")}, order_by="-name", cursor=cursor),
        lambda: query.page("projects", where, order_by="name", cursor=cursor),
        lambda: query.page("projects", where, cursor=cursor),
        *(
            lambda bad=bad: query.page("projects", where, order_by="-name", cursor=bad)
            for bad in (flipped, "", "x", "ü", cursor[:-2], "A" * 200_000, 1)
        ),
    ):
        with pytest.raises(QueryError):
            attack()


def test_a_cursor_outlives_a_restart(open_engine: Callable[..., Engine]) -> None:
    engine = open_engine()
    acme = engine.tenants.get_by_slug("acme").id
    fill(engine.query(acme))
    cursor = engine.query(acme).page("projects", limit=20).cursor
    engine.close()
    again = open_engine().query(acme)
    assert len(again.page("projects", limit=20, cursor=cursor).rows) == 5


def test_aggregates_measure_by_group_and_leave_missing_values_out(query: ScopedQuery) -> None:
    fill(query, 12)
    measures = {
        "n": count(),
        "known": count("budget"),
        "total": sum_("budget"),
        "mean": avg("budget"),
        "low": min_("name"),
        "high": max_("created_at"),
    }
    rows = query.select("projects")
    (whole,) = query.aggregate("projects", measures)
    budgets = [row["budget"] for row in rows if row["budget"] is not None]
    assert whole == {
        "n": 12,
        "known": len(budgets),
        "total": sum(budgets),
        "mean": pytest.approx(sum(budgets) / len(budgets)),
        "low": min(row["name"] for row in rows),
        "high": max(row["created_at"] for row in rows),
    }
    groups = query.aggregate("projects", {"n": count()}, group_by=["budget"], where={"name": lt("p9")})
    assert [group["budget"] for group in groups] == [0.0, 1.0, 2.0, None]
    assert sum(group["n"] for group in groups) == query.count("projects", {"name": lt("p9")})
    assert query.aggregate("projects", {"n": count()}, group_by="status") == [
        {"status": "even", "n": 6},
        {"status": "odd", "n": 6},
    ]


def test_aggregates_of_nothing_are_zero_or_none(query: ScopedQuery) -> None:
    nothing = query.aggregate("projects", {"n": count(), "s": sum_("budget"), "a": avg("budget"), "m": max_("name")})
    assert nothing == [{"n": 0, "s": None, "a": None, "m": None}]
    assert query.aggregate("projects", {"n": count()}, group_by="status") == []


def test_sums_of_integers_are_exact_beyond_64_bits(query: ScopedQuery) -> None:
    project = query.insert("projects", {"name": "x"})["id"]
    biggest = 2**63 - 1
    query.insert_many("tasks", [{"project_id": project, "title": str(n), "priority": biggest} for n in range(3)])
    assert query.aggregate("tasks", {"s": sum_("priority")}) == [{"s": 3 * biggest}]


def test_aggregates_count_nobody_elses_rows(engine: Engine, query: ScopedQuery, beta: Tenant) -> None:
    fill(engine.query(beta.id))
    assert query.aggregate("projects", {"n": count(), "high": max_("name")}) == [{"n": 0, "high": None}]


def test_measures_and_groups_are_checked(query: ScopedQuery) -> None:
    for attack in (
        lambda: query.aggregate("projects", {}),
        lambda: query.aggregate("projects", {"n": "count"}),  # type: ignore[dict-item]
        lambda: query.aggregate("projects", {"n": sum_("name")}),
        lambda: query.aggregate("projects", {"n": avg("created_at")}),
        lambda: query.aggregate("projects", {"n": min_("metadata")}),
        lambda: query.aggregate("projects", {"n": count("nope")}),
        lambda: query.aggregate("projects", {"status": count()}, group_by="status"),
        lambda: query.aggregate("projects", {"n": count()}, group_by="metadata"),
        lambda: query.aggregate("projects", {"n": count()}, group_by="nope; --"),
        lambda: query.aggregate("projects", {'n"; DROP': count()}),
    ):
        with pytest.raises((QueryError, InvalidArgument)):
            attack()


def test_update_where_and_delete_where_touch_what_matches_and_count_it(query: ScopedQuery) -> None:
    fill(query, 10)
    assert query.update_where("projects", {"status": "odd"}, {"budget": 9}) == 5
    assert query.count("projects", {"budget": 9}) == 5
    assert query.delete_where("projects", {"budget": 9, "name": in_("p1", "p3")}) == 2
    assert query.update_where("projects", {"name": "nobody"}, {"budget": 1}) == 0
    assert query.delete_where("projects", {}) == 8
    for attack in (
        lambda: query.delete_where("projects", None),  # type: ignore[arg-type]
        lambda: query.update_where("projects", None, {"budget": 1}),  # type: ignore[arg-type]
    ):
        with pytest.raises(QueryError):
            attack()


def test_b5_writes_by_condition_never_reach_another_tenant(engine: Engine, query: ScopedQuery, beta: Tenant) -> None:
    other = engine.query(beta.id)
    fill(other, 10)
    before = other.select("projects")
    fill(query, 3)
    assert query.update_where("projects", {}, {"status": "mine"}) == 3
    assert query.delete_where("projects", {}) == 3
    assert other.select("projects") == before
    with pytest.raises(QueryError):
        query.delete_where("projects", {"tenant_id": beta.id})


def test_writes_by_condition_keep_keys_and_references(query: ScopedQuery) -> None:
    fill(query, 3)
    query.insert("tasks", {"project_id": "i001", "title": "t"})
    for attack in (
        lambda: query.update_where("projects", {}, {"name": "same"}),
        lambda: query.delete_where("projects", {}),
        lambda: query.update_where("tasks", {}, {"project_id": "missing"}),
    ):
        with pytest.raises(ConstraintViolation):
            attack()
    assert query.count("projects") == 3
    assert query.delete_where("tasks", {}) == 1
    assert query.delete_where("projects", {}) == 3


def test_a_read_is_bounded(data_folder: Path, open_engine: Callable[..., Engine]) -> None:
    settings_file = data_folder / "system" / "tenancy" / "engine.yaml"
    settings_file.write_text(settings_file.read_text() + "\nmax_rows: 10\n")
    engine = open_engine()
    query = engine.query(engine.tenants.get_by_slug("acme").id)
    fill(query, 11)
    with pytest.raises(QueryError, match="page"):
        query.select("projects")
    with pytest.raises(QueryError):
        query.select("projects", limit=11)
    assert len(query.select("projects", limit=10)) == 10
    assert query.delete_where("projects", {"id": "i000"}) == 1
    assert len(query.select("projects")) == 10


@given(
    budgets=st.lists(st.one_of(st.none(), st.integers(-3, 3)), max_size=12), limit=st.integers(1, 5), down=st.booleans()
)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_rows_page_completely(query: ScopedQuery, budgets: list[int | None], limit: int, down: bool) -> None:
    query.delete_where("projects", {})
    query.insert_many("projects", [{"name": str(n), "budget": budget} for n, budget in enumerate(budgets)])
    order = "-budget" if down else "budget"
    whole = [row["id"] for row in query.select("projects", order_by=order)]
    assert read_on(query, limit, order_by=order) == whole
