"""Attacks on the wall through the scoped query, each named after its case."""

from __future__ import annotations

import threading

import pytest

from partywall import (
    ConstraintViolation,
    Engine,
    InvalidArgument,
    IsolationBreach,
    PartywallError,
    QueryError,
    TenantNotFound,
    TenantRequired,
    TenantSuspended,
    gt,
    in_,
    like,
)
from partywall.aggregates import Measure, avg, count, max_, sum_
from partywall.model import Tenant
from partywall.operators import Comparison, Operator

HOSTILE = [
    'projects"; DROP TABLE projects --',
    "projects\0",
    "PROJECTS",
    "beta.projects",
    "main",
    "temp",
    "",
    "1",
    "tasks ",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a1_a3_a4_a8_a_table_that_is_not_declared_is_refused(engine: Engine, acme: Tenant, name: str) -> None:
    query = engine.query(acme.id)
    for attack in (
        lambda: query.select(name),
        lambda: query.count(name),
        lambda: query.get(name, "x"),
        lambda: query.insert(name, {"name": "x"}),
        lambda: query.update(name, "x", {"name": "x"}),
        lambda: query.delete(name, "x"),
        lambda: query.upsert(name, {"name": "x"}),
    ):
        with pytest.raises(QueryError):
            attack()


@pytest.mark.parametrize(
    "name", ["name desc", "(select 1)", "name;--", "id, name", "1=1 or name", "rowid", "NAME", "name\0"]
)
def test_a2_columns_are_declared_ones_in_every_place(engine: Engine, acme: Tenant, name: str) -> None:
    query = engine.query(acme.id)
    query.insert("projects", {"name": "x"})
    for attack in (
        lambda: query.select("projects", {name: "x"}),
        lambda: query.select("projects", order_by=name),
        lambda: query.select("projects", order_by=f"-{name}"),
        lambda: query.insert("projects", {"name": "y", name: "x"}),
        lambda: query.upsert("projects", {"name": "y"}, key=name),
    ):
        with pytest.raises(QueryError):
            attack()
    assert query.count("projects") == 1


class Disguised(str):
    """Reads as one text and writes itself as another."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return "id\" = ? OR (1 = 1 OR 'x' = ?) -- "

    def __str__(self) -> str:
        return format(self)


def test_a2_a_column_is_a_plain_text_and_a_measure_a_declared_one(engine: Engine, acme: Tenant, beta: Tenant) -> None:
    query, other = engine.query(acme.id), engine.query(beta.id)
    row = query.insert("projects", {"name": "x"})
    for attack in (
        lambda: query.select("projects", {Disguised("id"): "x"}),
        lambda: query.select("projects", {Disguised("tenant_id"): acme.id}),
        lambda: query.select("projects", order_by=Disguised("id")),
        lambda: query.select("projects", order_by=["-name", "name"]),
        lambda: query.select("projects", order_by=1),  # type: ignore[arg-type]  # the attack
        lambda: query.select("projects", {"name": Comparison(((Disguised("="), "x"),))}),  # type: ignore[arg-type]
        lambda: query.select("projects", {"name": Comparison(((Operator.IN, 5),))}),
        lambda: query.select("projects", {"name": Comparison(5)}),  # type: ignore[arg-type]  # the attack
        lambda: query.select("projects", {"name": Comparison((5,))}),  # type: ignore[arg-type]  # the attack
        lambda: query.select("projects", {"name": Comparison(((Operator.EQ,),))}),  # type: ignore[arg-type]
        lambda: query.upsert("projects", {"name": "x"}, key=5),  # type: ignore[arg-type]  # the attack
        lambda: query.insert("projects", {Disguised("id"): "y", "name": "y"}),
        lambda: query.insert_many("projects", None),  # type: ignore[arg-type]  # the attack
        lambda: query.upsert("projects", {"name": "x"}, key=Disguised("name")),
        lambda: query.aggregate("projects", {Disguised("n"): count()}),
        lambda: query.aggregate("projects", {"n": Measure("max(1), count", "name")}),  # type: ignore[arg-type]
        lambda: query.aggregate("projects", {"n": count()}, group_by=Disguised("id")),
    ):
        with pytest.raises(QueryError):
            attack()
    # Statements are kept by their shape: what was refused must not have left a text for others to run.
    assert query.get("projects", row["id"]) == row
    assert query.upsert("projects", {"name": "x"}, key="name") == row
    assert other.get("projects", row["id"]) is None


def test_b5_an_id_that_compares_as_another_opens_nothing(engine: Engine, acme: Tenant, beta: Tenant) -> None:
    class Equal(str):
        __slots__ = ()
        __eq__ = lambda self, other: True  # noqa: E731
        __ne__ = lambda self, other: False  # noqa: E731
        __hash__ = lambda self: hash(acme.id)  # type: ignore[assignment]  # noqa: E731

    with engine.tenant_context(acme.id), pytest.raises(TenantNotFound):
        engine.query(Equal(beta.id))
    for wrong in (Equal(beta.id), [], {}, 1, b"acme", None):
        with pytest.raises(TenantNotFound):
            engine.usage.increment(wrong, "tokens", 1)  # type: ignore[arg-type]  # the attack
        with pytest.raises(TenantNotFound):
            engine.tenants.suspend(wrong, reason="x")  # type: ignore[arg-type]  # the attack


def test_a7_slugs_that_look_alike_once_sanitised_share_nothing(engine: Engine) -> None:
    owner = {"user_id": "u", "email": "u@x.test", "name": "U"}
    one = engine.tenants.create(name="One", slug="a-b", plan="free", owner=owner)
    two = engine.tenants.create(name="Two", slug="ab", plan="free", owner=owner)
    engine.query(one.id).insert("projects", {"name": "secret"})
    assert engine.query(two.id).select("projects") == []


def test_b1_a_foreign_tenant_id_in_the_data_is_refused_and_the_own_one_is_fine(
    engine: Engine, acme: Tenant, beta: Tenant
) -> None:
    query = engine.query(acme.id)
    for value in (beta.id, None, "", 1, acme.id.upper()):
        with pytest.raises(QueryError):
            query.insert("projects", {"name": "x", "tenant_id": value})
    row = query.insert("projects", {"name": "x", "tenant_id": acme.id})
    assert "tenant_id" not in row
    assert engine.query(beta.id).count("projects") == 0


def test_b2_an_update_never_moves_a_row(engine: Engine, acme: Tenant, beta: Tenant) -> None:
    query = engine.query(acme.id)
    row = query.insert("projects", {"name": "x"})
    with pytest.raises(QueryError):
        query.update("projects", row["id"], {"tenant_id": beta.id, "name": "moved"})
    assert query.get("projects", row["id"]) == row
    assert engine.query(beta.id).count("projects") == 0


def test_b3_a_bulk_insert_with_one_foreign_row_writes_nothing(engine: Engine, acme: Tenant, beta: Tenant) -> None:
    rows = [{"name": f"p{number}"} for number in range(20)]
    rows[13]["tenant_id"] = beta.id
    with pytest.raises(QueryError):
        engine.query(acme.id).insert_many("projects", rows)
    assert engine.query(acme.id).count("projects") == 0


def test_b4_another_tenants_id_answers_like_one_that_does_not_exist(engine: Engine, acme: Tenant, beta: Tenant) -> None:
    theirs = engine.query(acme.id).insert("projects", {"name": "secret"})["id"]
    nobodys = "a" * len(theirs)
    query = engine.query(beta.id)
    for attack in (
        lambda row_id: query.get("projects", row_id),
        lambda row_id: query.update("projects", row_id, {"name": "x"}),
        lambda row_id: query.delete("projects", row_id),
        lambda row_id: query.select("projects", {"id": in_(row_id)}),
        lambda row_id: engine.isolation.validate_access(beta.id, "projects", row_id),
    ):
        assert attack(theirs) == attack(nobodys)
    refusals = []
    for row_id in (theirs, nobodys):
        with pytest.raises(ConstraintViolation) as refusal:
            query.insert("tasks", {"project_id": row_id, "title": "x"})
        refusals.append(str(refusal.value))
    assert refusals[0] == refusals[1]


@pytest.mark.parametrize("tenant_id", ["", "ten_", "ten_nobody00", "%", "*", "None", "null", "' OR 1=1 --"])
def test_b5_a_tenant_that_is_not_there_gets_no_handle(engine: Engine, tenant_id: str) -> None:
    with pytest.raises((TenantNotFound, InvalidArgument)):
        engine.query(tenant_id)
    with pytest.raises(TenantRequired):
        engine.query()
    with pytest.raises(TenantRequired):
        engine.query(None)


def test_b7_an_upsert_on_another_tenants_key_makes_a_row_of_ones_own(
    engine: Engine, acme: Tenant, beta: Tenant
) -> None:
    mine = engine.query(acme.id).insert("projects", {"name": "Apollo", "status": "mine"})
    theirs = engine.query(beta.id).upsert("projects", {"name": "Apollo", "status": "theirs"}, key="name")
    by_id = engine.query(beta.id).upsert("projects", {"id": mine["id"], "name": "Gemini"})
    assert theirs["id"] != mine["id"]
    assert engine.query(acme.id).select("projects") == [mine]
    assert engine.query(beta.id).count("projects") == 2
    assert by_id["id"] == mine["id"]
    assert engine.query(beta.id).delete("projects", mine["id"]) == 1
    assert engine.query(acme.id).get("projects", mine["id"]) == mine


def test_b8_a_reference_reaches_only_ones_own_rows(engine: Engine, acme: Tenant, beta: Tenant) -> None:
    project = engine.query(acme.id).insert("projects", {"name": "Apollo"})
    with pytest.raises(ConstraintViolation):
        engine.query(beta.id).insert("tasks", {"project_id": project["id"], "title": "spy"})
    own = engine.query(beta.id).insert("projects", {"name": "own"})
    task = engine.query(beta.id).insert("tasks", {"project_id": own["id"], "title": "fine"})
    with pytest.raises(ConstraintViolation):
        engine.query(beta.id).update("tasks", task["id"], {"project_id": project["id"]})
    assert engine.query(acme.id).delete("projects", project["id"]) == 1


def test_f1_a_raw_thread_has_no_tenant(engine: Engine, acme: Tenant) -> None:
    outcome: list[object] = []

    def attack() -> None:
        try:
            outcome.append(engine.query().count("projects"))
        except PartywallError as error:
            outcome.append(type(error))

    with engine.tenant_context(acme.id):
        thread = threading.Thread(target=attack)
        thread.start()
        thread.join()
    assert outcome == [TenantRequired]


def test_f5_f15_f17_a_handle_stays_its_tenants_in_every_context(engine: Engine, acme: Tenant, beta: Tenant) -> None:
    handle = engine.query(acme.id)
    handle.insert("projects", {"name": "acme's"})
    with engine.tenant_context(beta.id):
        assert [row["name"] for row in handle.select("projects")] == ["acme's"]
        assert engine.query().select("projects") == []


def test_code_that_works_for_one_tenant_gets_no_handle_of_another(engine: Engine, acme: Tenant, beta: Tenant) -> None:
    with engine.tenant_context(beta.id), pytest.raises(IsolationBreach):
        engine.query(acme.id)


def test_g1_a_handle_from_before_a_suspension_is_refused_after_it(engine: Engine, acme: Tenant) -> None:
    handle = engine.query(acme.id)
    engine.tenants.suspend(acme.id, reason="unpaid")
    with pytest.raises(TenantSuspended):
        handle.select("projects")


def test_g3_an_open_transaction_is_rolled_back_by_a_suspension(engine: Engine, acme: Tenant) -> None:
    handle = engine.query(acme.id)

    def work() -> None:
        with handle.transaction():
            handle.insert("projects", {"name": "never"})
            engine.tenants.suspend(acme.id, reason="unpaid")

    with pytest.raises(TenantSuspended):
        work()
    engine.tenants.resume(acme.id)
    assert handle.count("projects") == 0


def test_g3_a_transaction_in_another_thread_is_rolled_back_too(engine: Engine, acme: Tenant) -> None:
    handle = engine.query(acme.id)
    inside, suspended = threading.Event(), threading.Event()
    outcome: list[type[BaseException]] = []

    def work() -> None:
        try:
            with handle.transaction():
                handle.insert("projects", {"name": "never"})
                inside.set()
                assert suspended.wait(10)
        except PartywallError as error:
            outcome.append(type(error))

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(10)
    engine.tenants.suspend(acme.id, reason="unpaid")
    suspended.set()
    thread.join()
    engine.tenants.resume(acme.id)
    assert outcome == [TenantSuspended]
    assert handle.count("projects") == 0


def test_h9_values_are_never_conditions(engine: Engine, acme: Tenant, beta: Tenant) -> None:
    engine.query(acme.id).insert("projects", {"name": "secret"})
    query = engine.query(beta.id)
    query.insert("projects", {"name": "own"})
    for value in ("' OR '1'='1", "%' --", "own' UNION SELECT * FROM projects --", "own\0", "\\"):
        assert query.select("projects", {"name": value}) == []
    assert [row["name"] for row in query.select("projects", {"name": like("%")})] == ["own"]


def test_i8_no_condition_and_no_measure_fails_over_rows_that_the_tenant_does_not_have(
    engine: Engine, acme: Tenant, beta: Tenant
) -> None:
    engine.query(acme.id).insert_many(
        "projects", [{"name": name, "budget": 1.7e308} for name in ("\\", "\ud7ff", "x" * 100_000)]
    )
    query = engine.query(beta.id)
    query.insert("projects", {"name": "own", "budget": 1.0})
    for where in ({"name": like("%\\\\%")}, {"name": like("_")}, {"budget": gt(1e308)}, {"name": in_("\ud7ff")}):
        assert query.select("projects", where) == []
        assert query.count("projects", where) == 0
    assert query.aggregate("projects", {"all": sum_("budget"), "mean": avg("budget"), "last": max_("name")}) == [
        {"all": 1.0, "mean": 1.0, "last": "own"}
    ]


def test_a_mapping_is_data_and_never_an_operator(engine: Engine, acme: Tenant) -> None:
    query = engine.query(acme.id)
    row = query.insert("projects", {"name": "x", "metadata": {"$gt": 0, "nested": [1, {"a": None}]}})
    assert row["metadata"] == {"$gt": 0, "nested": [1, {"a": None}]}
    assert query.select("projects", {"metadata": {"nested": [1, {"a": None}], "$gt": 0}}) == [row]
    assert query.select("projects", {"metadata": {"$gt": 0}}) == []
    for value in ({"$ne": None}, ["x"], {"gt": ""}):
        with pytest.raises(QueryError):
            query.select("projects", {"name": value})
    with pytest.raises(QueryError):
        query.insert("projects", {"name": gt("a")})
    with pytest.raises(QueryError):
        query.select("projects", {"name": in_(like("%"))})


def test_i6_errors_never_name_paths_or_other_tenants(engine: Engine, acme: Tenant, beta: Tenant) -> None:
    engine.query(acme.id).insert("projects", {"id": "known", "name": "secret-token"})
    query = engine.query(beta.id)
    query.insert("projects", {"id": "known", "name": "own"})
    with pytest.raises(ConstraintViolation) as refusal:
        query.insert("projects", {"id": "known", "name": "other"})
    text = str(refusal.value)
    assert not any(word in text for word in ("secret", "ten_", "/", ".duckdb", "known", acme.slug))
