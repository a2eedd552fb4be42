"""SQL and ARROW: statements that a tenant wrote, and tables that leave the contract's rows behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from partywall.backend import Capability, Insert, Order, Row, Scan, Session, Sql
from partywall.conformance.suite.kit import MINE, OTHERS, Kit, Store, refusal, requires, texts_of
from partywall.conformance.suite.reference import scanned
from partywall.conformance.suite.sample import (
    ACCOUNTS,
    EVERY_VALUE,
    PARTS,
    SPECIMENS,
    TABLES,
    account,
    part,
    specimen,
    token,
)
from partywall.model import ID, ColumnType
from partywall.operators import Condition, Operator

__all__ = ["Statements"]

EVERYONE = (MINE, *OTHERS)
HOSTILE = (
    "select * from specimens; drop table specimens",
    "drop table specimens",
    "delete from specimens",
    "update specimens set label = 'taken'",
    "insert into specimens (id) values ('planted')",
    "with gone as (delete from specimens returning *) select * from gone",
    "create table planted (id text)",
    "create view specimens as select 1 as id",
    "create temp table specimens (id text)",
    "create temp view parts as select 'planted' as id",
    "alter table specimens add column planted text",
    "attach ':memory:' as planted",
    "detach main",
    "set search_path = 'planted'",
    "set role none",
    "reset all",
    "pragma database_list",
    "begin",
    "commit",
    "rollback",
    "vacuum",
    "checkpoint",
    "explain select * from specimens",
    "copy specimens to '/nowhere/planted'",
    "load planted",
    "select * from information_schema.tables",
    "select * from pg_catalog.pg_class",
    "select * from sqlite_master",
    "select * from duckdb_tables()",
    "select * from main.specimens",
    "select * from query('select * from specimens')",
    "select rowid from specimens",
    "selec",
    "",
    "select 1\0; drop table specimens",
)
"""Nothing of it may change anything, or show what is not the tenant's own."""
READABLE = (
    "select * from specimens",
    "select * from specimens where 1 = 0 or 1 = 1",
    "select id, label from specimens -- and tenant = 'mine'",
    "select label from specimens union all select label from parts",
    "with mine as (select * from specimens) select * from mine",
    "select (select max(label) from specimens) as most",
    "select count(*) as n, max(label) as most from specimens group by flag",
    "select * from specimens order by id limit 1000 offset 0",
)
READERS = (
    "attach 'FILE' as planted",
    "select * from 'FILE'",
    "select * from read_blob('FILE')",
    "select readfile('FILE') as content",
    "copy specimens from 'FILE'",
)
ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) as many from n"


def ask(session: Session, text: str, *parameters: Any, limit: int = 1_000) -> list[Row]:
    """The rows of a statement."""
    return [dict(row) for row in session.sql(Sql(text, parameters, limit))]


def told(session: Session, text: str) -> str:
    """All that a tenant learns from a statement, whether it is carried out or refused."""
    try:
        return repr(ask(session, text))
    except Exception as error:  # noqa: BLE001  # a backend refuses with whatever error it likes
        return texts_of(error)


def assorted() -> list[Row]:
    """Rows that between them hold every value of every type, and none."""
    columns = {name: (None, *EVERY_VALUE[kind]) for name, kind in SPECIMENS.types.items() if name != ID}
    longest = max(map(len, columns.values()))
    return [
        specimen(f"r{number:03d}", **{name: values[number % len(values)] for name, values in columns.items()})
        for number in range(longest)
    ]


class Statements(Kit):
    """Only for those who claim it."""

    @requires(Capability.SQL)
    def test_h10_a_statement_shows_the_tenants_own_rows_and_no_others(self, store: Store) -> None:
        canaries = {tenant: store.fill(tenant) for tenant in EVERYONE}
        for tenant, canary in canaries.items():
            session = store.session(tenant)
            assert ask(session, "select id, label from specimens order by id") == [
                {ID: row_id, "label": canary} for row_id in "abc"
            ]
            for text in READABLE:
                said = told(session, text)
                assert canary in said, text
                assert not any(other in said for other in canaries.values() if other != canary), text
            assert ask(session, "select count(*) as n from parts") == [{"n": 0}]

    @requires(Capability.SQL)
    def test_h10_each_table_of_a_statement_holds_the_tenants_own_rows(self, store: Store) -> None:
        canaries = {tenant: store.fill(tenant, ["a"]) for tenant in EVERYONE}
        for tenant, canary in canaries.items():
            store.session(tenant).write(Insert(PARTS, [part(canary, "a", canary)]))
            store.session(tenant).write(Insert(ACCOUNTS, [account(canary, canary, canary, 1)]))
        for tenant, canary in canaries.items():
            for table in ("specimens", "parts", "accounts"):
                said = told(store.session(tenant), f"select t.* from specimens s, {table} t")  # noqa: S608  # fixed names
                assert canary in said, table
                assert not any(other in said for other in canaries.values() if other != canary), table

    @requires(Capability.SQL)
    def test_h4_no_statement_changes_anything_or_shows_what_is_not_the_tenants(self, store: Store) -> None:
        canaries = {tenant: store.fill(tenant) for tenant in EVERYONE}
        before = {tenant: store.rows(tenant) for tenant in EVERYONE}
        session = store.session(MINE)
        hidden = [*OTHERS, *(canaries[tenant] for tenant in OTHERS), str(store.root)]
        for text in [*HOSTILE, *openings(store)]:
            said = told(session, text).replace(text, "").replace(repr(text)[1:-1], "")
            assert not any(word in said for word in hidden if word not in text), text
        for tenant in EVERYONE:
            assert store.rows(tenant) == before[tenant]
            fresh = store.session(tenant)
            assert ask(fresh, "select id from specimens order by id") == [{ID: row_id} for row_id in "abc"]
            assert ask(fresh, "select count(*) as n from parts") == [{"n": 0}]

    @requires(Capability.SQL)
    def test_h8_parameters_are_values_and_never_text(self, store: Store) -> None:
        store.fill(MINE)
        session = store.session(MINE)
        for word in ("x' or '1' = '1", "%' --", "specimens", "\\", "a\0"):
            assert ask(session, "select id from specimens where label = ?", word) == []
            assert ask(session, "select ? as word", word) == [{"word": word}]
        refusal(lambda: ask(session, "select * from ?", "specimens"))

    @requires(Capability.SQL)
    def test_a_statement_returns_no_more_rows_than_it_may(self, store: Store) -> None:
        store.fill(MINE)
        session = store.session(MINE)
        assert [len(ask(session, "select id from specimens", limit=limit)) for limit in (0, 1, 3, 4)] == [0, 1, 3, 3]
        assert len(ask(session, "select id from specimens")) == 3

    @requires(Capability.SQL, Capability.DURABLE)
    def test_a_table_that_is_no_longer_declared_is_not_shown(self, store: Store) -> None:
        store.fill(MINE)
        store.open({name: table for name, table in TABLES.items() if name != PARTS.name})
        session = store.session(MINE)
        refusal(lambda: ask(session, "select * from parts"))
        assert ask(session, "select count(*) as n from specimens") == [{"n": 3}]

    @requires(Capability.SQL, Capability.INTERRUPTS)
    def test_a_statement_without_end_stops_when_it_is_interrupted(self, store: Store) -> None:
        store.fill(MINE)
        session = store.session(MINE)
        ended = threading.Event()

        def run() -> None:
            told(session, ENDLESS)
            ended.set()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        waited = 0.0
        while not ended.wait(0.05) and waited < self.patience:
            waited += 0.05
            session.interrupt()
        assert ended.is_set()
        thread.join()
        assert ask(store.session(MINE), "select count(*) as n from specimens") == [{"n": 3}]

    @requires(Capability.ARROW)
    def test_b4_an_arrow_table_holds_the_tenants_own_rows_and_all_of_them(self, store: Store) -> None:
        canaries = {tenant: store.fill(tenant) for tenant in EVERYONE}
        for tenant, canary in canaries.items():
            table = store.session(tenant).arrow(Scan(SPECIMENS, (), (Order(ID),)))
            assert table.column("id").to_pylist() == ["a", "b", "c"]
            assert table.column("label").to_pylist() == [canary] * 3
            assert not any(other in repr(table.to_pylist()) for other in canaries.values() if other != canary)
            page = store.session(tenant).arrow(Scan(SPECIMENS, (), (Order(ID),), 1, ("a",)))
            assert page.select(["id", "label"]).to_pylist() == [{"id": "b", "label": canary}]

    @requires(Capability.ARROW)
    def test_an_arrow_table_holds_what_a_scan_returns(self, store: Store) -> None:
        rows = assorted()
        for tenant in OTHERS:
            store.session(tenant).write(Insert(SPECIMENS, [{**row, "label": token()} for row in rows]))
        session = store.session(MINE)
        session.write(Insert(SPECIMENS, rows))
        for scan in (
            Scan(SPECIMENS, (), (Order(ID),)),
            Scan(SPECIMENS, (Condition("amount", Operator.GE, 0),), (Order("label", descending=True), Order(ID)), 5),
            Scan(SPECIMENS, (Condition(ID, Operator.IN, ()),), (Order(ID),)),
        ):
            found = session.arrow(scan).to_pylist()
            assert list(map(_without_zone, found)) == list(map(_without_zone, scanned(rows, scan)))
            assert all(row.keys() == SPECIMENS.types.keys() for row in found)


def openings(store: Store) -> Iterator[str]:
    """Statements that would read a file of the store, each file of it."""
    for path in store.files():
        yield from (statement.replace("FILE", str(path)) for statement in READERS)


def _without_zone(row: Row) -> Row:
    """Moments are in UTC, whether the table says so or not."""
    moments = [name for name, kind in SPECIMENS.types.items() if kind is ColumnType.TIMESTAMP]
    return row | {name: row[name].replace(tzinfo=None) for name in moments if row[name] is not None}
