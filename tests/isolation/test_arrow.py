"""Arrow in and out: the same rows, the same checks and the same wall as everywhere, on every backend."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from partywall import BackendError, ConstraintViolation, Engine, InvalidArgument, QueryError, gt
from partywall.isolation import ScopedQuery
from partywall.isolation.arrow import conformed
from partywall.model import Tenant

MOMENT = datetime(2026, 11, 23, 10, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def query(engine: Engine, acme: Tenant) -> ScopedQuery:
    return engine.query(acme.id)


@pytest.fixture
def plain(open_engine: Callable[..., Engine]) -> ScopedQuery:
    """Over one backend: what the data look like is the same to all."""
    engine = open_engine()
    return engine.query(engine.tenants.get_by_slug("acme").id)


def projects(names: list[str], **columns: Any) -> pa.Table:
    return pa.table({"name": names, **columns})


def test_a_table_holds_what_select_returns_with_declared_types(query: ScopedQuery) -> None:
    query.insert_many(
        "projects",
        [{"name": f"p{n} ☃", "budget": n / 2 if n else None, "metadata": {"n": n}} for n in range(5)],
    )
    table = query.arrow("projects", {"budget": gt(0.5)}, order_by="-name", limit=3)
    assert table.schema == pa.schema(
        [
            ("id", pa.string()),
            ("name", pa.string()),
            ("status", pa.string()),
            ("budget", pa.float64()),
            ("metadata", pa.string()),
            ("created_at", pa.timestamp("us", "UTC")),
        ]
    )
    rows = query.select("projects", {"budget": gt(0.5)}, order_by="-name", limit=3)
    assert [row["metadata"] for row in table.to_pylist()] == ['{"n":4}', '{"n":3}', '{"n":2}']
    assert [{**row, "metadata": None} for row in table.to_pylist()] == [{**row, "metadata": None} for row in rows]
    empty = query.arrow("documents")
    assert (empty.num_rows, empty.schema.field("content").type) == (0, pa.binary())


def test_what_came_out_goes_in_again_unchanged(query: ScopedQuery, engine: Engine, beta: Tenant) -> None:
    query.insert("projects", {"id": "p", "name": "x", "metadata": {"b": [1, None], "a": "ü\0"}, "created_at": MOMENT})
    query.insert("tasks", {"project_id": "p", "title": "t", "due": date(1, 1, 1), "priority": -(2**63), "done": None})
    query.insert("documents", {"title": "d", "content": bytes(range(256)), "tags": "null"})
    other = engine.query(beta.id)
    for table in ("projects", "tasks", "documents"):
        assert other.insert_arrow(table, query.arrow(table)) == 1
        assert other.select(table) == query.select(table)


def test_any_form_of_arrow_data_is_taken(plain: ScopedQuery) -> None:
    table = projects([f"p{n}" for n in range(100)], budget=pa.array(range(100), pa.int32()))

    class Stream:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return table.__arrow_c_stream__(requested_schema)

    chunks = pa.concat_tables([table.slice(0, 1), table.slice(1, 98), table.slice(99)])
    for data in (table, table.to_batches()[0], table.to_reader(), Stream(), chunks):
        assert plain.insert_arrow("projects", data) == 100
        assert plain.count("projects", {"budget": gt(49)}) == 50
        assert plain.delete_where("projects", {}) == 100


def test_encodings_are_read_as_what_they_mean(plain: ScopedQuery) -> None:
    table = pa.table(
        {
            "name": pa.array(["a", "b", "a2"]).dictionary_encode(),
            "status": pa.array(["x", None, "y"], pa.large_string()),
            "metadata": pa.array([{"k": [1]}, None, {"k": []}]),
            "created_at": pa.array([MOMENT] * 3, pa.timestamp("ns", "Europe/Rome")),
        }
    )
    assert plain.insert_arrow("projects", table) == 3
    rows = plain.select("projects", order_by="name")
    assert [(row["name"], row["status"]) for row in rows] == [("a", "x"), ("a2", "y"), ("b", None)]
    assert [row["metadata"] for row in rows] == [{"k": [1]}, {"k": []}, None]
    assert {row["created_at"] for row in rows} == {MOMENT}


WRONG: list[dict[str, Any]] = [
    {"budget": pa.array(["1"])},
    {"budget": pa.array([float("nan")])},
    {"budget": pa.array([True])},
    {"nmae": pa.array(["x"])},
    {"id": pa.array([None], pa.string())},
    {"id": pa.array(["a b"])},
    {"metadata": pa.array(["{not json"])},
    {"created_at": pa.array([datetime(2026, 1, 1)])},  # noqa: DTZ001  # naive on purpose
    {"created_at": pa.array([1], pa.timestamp("ns", "UTC"))},
    {"name": pa.array([1])},
    {"name": pa.array([None], pa.string())},
    {"name": pa.array([b"x"])},
]


def test_values_are_checked_as_everywhere_and_nothing_is_written(plain: ScopedQuery) -> None:
    for columns in WRONG:
        with pytest.raises((QueryError, InvalidArgument)):
            plain.insert_arrow("projects", pa.table({"name": ["x"], **columns}))
    assert plain.count("projects") == 0


def test_what_is_no_arrow_data_is_refused(plain: ScopedQuery) -> None:
    for data in (None, [], [{"name": "x"}], {"name": ["x"]}, "x"):
        with pytest.raises(QueryError, match="insert_arrow takes"):
            plain.insert_arrow("projects", data)


def test_two_columns_of_one_name_are_refused(plain: ScopedQuery) -> None:
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["name", "name"])
    with pytest.raises(QueryError, match="same name"):
        plain.insert_arrow("projects", twice)


def test_bytes_that_are_no_text_are_refused(plain: ScopedQuery) -> None:
    offsets = pa.py_buffer((0).to_bytes(4, "little") + (2).to_bytes(4, "little"))
    broken = pa.StringArray.from_buffers(1, offsets, pa.py_buffer(b"\xff\xfe"))
    with pytest.raises(QueryError, match="cannot be read"):
        plain.insert_arrow("projects", pa.table({"name": broken}))
    assert plain.count("projects") == 0


def test_b1_b3_one_foreign_row_among_thousands_and_nothing_is_written(
    query: ScopedQuery, engine: Engine, acme: Tenant, beta: Tenant
) -> None:
    names = [f"p{n}" for n in range(10_002)]  # more than are looked at together
    for foreign, rows in ((beta.id, 10_002), (None, 2), ("", 2), (acme.id.upper(), 2)):
        owners = [acme.id] * (rows - 1) + [foreign]
        with pytest.raises(QueryError, match="tenant_id"):
            query.insert_arrow("projects", projects(names[:rows], tenant_id=pa.array(owners, pa.string())))
    assert (query.count("projects"), engine.query(beta.id).count("projects")) == (0, 0)
    assert query.insert_arrow("projects", projects(names[:10], tenant_id=[acme.id] * 10)) == 10
    assert "tenant_id" not in query.arrow("projects").column_names


def test_b7_b8_keys_and_references_hold_and_reach_only_ones_own_rows(
    query: ScopedQuery, engine: Engine, beta: Tenant
) -> None:
    other = engine.query(beta.id)
    other.insert("projects", {"id": "theirs", "name": "Apollo"})
    query.insert("projects", {"id": "own", "name": "Gemini"})
    for table, data in (
        ("projects", projects(["new", "Gemini"])),
        ("projects", projects(["new", "new"])),
        ("projects", projects(["new"], id=["own"])),
        ("tasks", pa.table({"project_id": ["own", "theirs"], "title": ["a", "b"]})),
    ):
        with pytest.raises(ConstraintViolation):
            query.insert_arrow(table, data)
    assert (query.count("projects"), query.count("tasks")) == (1, 0)
    assert query.insert_arrow("projects", projects(["Apollo"], id=["theirs"])) == 1
    assert query.insert_arrow("tasks", pa.table({"project_id": ["theirs"], "title": ["t"]})) == 1
    assert [row["name"] for row in other.select("projects")] == ["Apollo"]


def test_b4_a_table_shows_ones_own_rows_only(query: ScopedQuery, engine: Engine, beta: Tenant) -> None:
    engine.query(beta.id).insert("projects", {"id": "a", "name": "canary-0ddba11"})
    query.insert("projects", {"id": "a", "name": "own"})
    assert query.arrow("projects").column("name").to_pylist() == ["own"]
    for foreign in (beta.id, None):
        with pytest.raises(QueryError):
            query.arrow("projects", {"tenant_id": foreign})


def test_it_is_part_of_a_transaction_like_any_statement(query: ScopedQuery) -> None:
    with query.transaction():
        query.insert_arrow("projects", projects(["a", "b"]))
        assert query.arrow("projects", order_by="name").column("name").to_pylist() == ["a", "b"]

    def failing() -> None:
        with query.transaction():
            query.insert_arrow("projects", projects(["c"]))
            with pytest.raises(ConstraintViolation):
                query.insert_arrow("projects", projects(["d", "a"]))

    with pytest.raises(BackendError, match="earlier statement"):
        failing()
    assert query.count("projects") == 2


def test_a_result_is_bounded_as_select_is(data_folder: Path, open_engine: Callable[..., Engine]) -> None:
    settings = data_folder / "system" / "tenancy" / "engine.yaml"
    settings.write_text(f"{settings.read_text()}\nmax_rows: 10\n")
    engine = open_engine()
    query = engine.query(engine.tenants.get_by_slug("acme").id)
    query.insert_arrow("projects", projects([f"p{n}" for n in range(11)]))
    assert query.arrow("projects", limit=10).num_rows == 10
    with pytest.raises(QueryError, match="more than 10 rows"):
        query.arrow("projects")
    with pytest.raises(QueryError, match="limit takes"):
        query.arrow("projects", limit=11)


def test_the_awaitable_twin_does_the_same(engine: Engine, acme: Tenant) -> None:
    async def work() -> None:
        query = await engine.aio.query(acme.id)
        assert await query.insert_arrow("projects", projects(["a"])) == 1
        assert (await query.arrow("projects")).num_rows == 1

    asyncio.run(work())


def test_a_store_whose_table_does_not_fit_is_an_error_of_the_store(engine: Engine) -> None:
    table = engine.catalog.tables["projects"]  # type: ignore[index]  # a declared name
    for wrong in (pa.table({"id": ["a"]}), pa.table({name: ["x"] for name in table.types})):
        with pytest.raises(BackendError, match="not what was declared"):
            conformed(table, wrong)


def test_without_pyarrow_the_error_names_the_extra_and_nothing_else_needs_it(data_folder: Path) -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "import partywall\n"
        "with partywall.open(sys.argv[1], watch=False) as engine:\n"
        "    query = engine.query(engine.tenants.get_by_slug('acme').id)\n"
        "    query.insert('projects', {'name': 'x'}); assert query.count('projects') == 1\n"
        "    for call in (lambda: query.arrow('projects'), lambda: query.insert_arrow('projects', None)):\n"
        "        try: call()\n"
        "        except partywall.ConfigError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(data_folder)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["Arrow tables need pyarrow: pip install 'partywall[arrow]'"] * 2


def test_b_what_python_has_no_value_for_is_told_as_a_fault_of_the_data(plain: ScopedQuery) -> None:
    twins = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    for document in (twins, pa.array([86_399_999_999_999], pa.time64("ns"))):
        with pytest.raises(QueryError, match="cannot be read"):
            plain.insert_arrow("projects", projects(["p"], metadata=document))
    assert plain.count("projects") == 0
