"""Raw SQL as a weapon: each attack of class H, on every strategy, and hundreds of statements that must get nowhere."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import partywall
from partywall import Engine, PartywallError, PermissionDenied, QueryError
from partywall.clock import ManualClock
from partywall.isolation import ScopedQuery

CORPUS = Path(__file__).parent / "corpus"
SAMPLE = Path(__file__).parents[2] / "orchestrator-data" / "system"
CANARY = "c0ffee0ddba11c0ffee0ddba11c0ffee"
STRATEGIES = ("row_level", "schema_level", "database_level")
ENGINES_OWN = re.compile(
    r"(Parser|Binder|Catalog|Permission|Conversion|Invalid Input|IO|Transaction) Error|LINE \d|\^$"
)


def statements(name: str) -> list[str]:
    lines = (CORPUS / f"{name}.sql").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("--")]


class House:
    """Two tenants of one strategy; the other one's rows carry a token that must never be seen."""

    def __init__(self, folder: Path, strategy: str) -> None:
        shutil.copytree(SAMPLE, folder / "system")
        for file in (folder / "system" / "tenancy" / "tenants").glob("*.yaml"):
            file.write_text(f"{file.read_text()}isolation: {strategy}\n")
        self.folder = folder
        self.strategy = strategy
        self.engine: Engine = partywall.open(folder, clock=ManualClock(), watch=False)
        self.mine = self.query("acme")
        self.other = self.query("beta-labs")
        self.fill(self.mine, "own")
        self.fill(self.other, CANARY)
        self.before = self.state()

    def query(self, slug: str) -> ScopedQuery:
        return self.engine.query(self.engine.tenants.get_by_slug(slug).id)

    @staticmethod
    def fill(query: ScopedQuery, word: str) -> None:
        names = [f"{word} {number}" for number in range(3)]
        rows = query.insert_many("projects", [{"name": name, "budget": 1.5, "metadata": {"a": word}} for name in names])
        query.insert_many("tasks", [{"project_id": rows[0]["id"], "title": word, "priority": 7}])
        query.insert_many("documents", [{"title": word, "content": word.encode(), "tags": [word]}])

    def state(self) -> Any:
        rows = [
            [query.select(table) for table in ("projects", "tasks", "documents")] for query in (self.mine, self.other)
        ]
        files = sorted(path.relative_to(self.folder) for path in self.folder.rglob("*.duckdb*"))
        return rows, files

    def file_of(self, slug: str) -> Path:
        placement = self.engine.isolation.placement(self.engine.tenants.get_by_slug(slug).id)
        assert placement is not None
        return min(self.folder.rglob(f"{Path(placement.location).name}.duckdb"))

    def outcome(self, text: str, params: Any = None) -> list[dict[str, Any]] | PartywallError:
        """What comes of a statement; whatever it is, it must tell nothing of the other tenant or the machine."""
        told: list[dict[str, Any]] | PartywallError
        try:
            told = self.mine.sql(text, params)
        except PartywallError as error:
            told = error
        assert not ENGINES_OWN.search(str(told) if isinstance(told, PartywallError) else ""), str(told)
        shown = repr(told).replace(repr(text)[1:-1], "")
        for secret in (CANARY, self.other.tenant_id, str(self.folder), ".duckdb"):
            assert secret not in shown or secret in text, (text, shown)
        return told

    def refused(self, *texts: str) -> None:
        """Each must be refused for what it is, and change nothing."""
        kind = QueryError if self.strategy == "database_level" else PermissionDenied
        for text in texts:
            assert type(self.outcome(text)) is kind, text
        assert self.state() == self.before

    def own_rows_only(self, *texts: str) -> None:
        """Each is a SELECT over the tenant's own tables: it runs where raw SQL runs, and shows the tenant's own."""
        for text in texts:
            told = self.outcome(text)
            if self.strategy == "database_level":
                assert not isinstance(told, PartywallError), (text, told)
            else:
                assert type(told) is PermissionDenied, text
        assert self.state() == self.before


@pytest.fixture(scope="module")
def make_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], House]]:
    made: dict[str, House] = {}

    def make(strategy: str) -> House:
        if strategy not in made:
            made[strategy] = House(tmp_path_factory.mktemp("house") / "data", strategy)
        return made[strategy]

    yield make
    for house in made.values():
        house.engine.close()


@pytest.fixture(params=STRATEGIES)
def house(request: pytest.FixtureRequest, make_house: Callable[[str], House]) -> House:
    return make_house(request.param)


@pytest.fixture
def database(make_house: Callable[[str], House]) -> House:
    return make_house("database_level")


@pytest.mark.parametrize("text", statements("refused"))
def test_h_a_hostile_statement_is_refused(database: House, text: str) -> None:
    assert type(database.outcome(text)) is QueryError


@pytest.mark.parametrize("text", statements("harmless"))
def test_h_a_select_shows_the_tenants_own_rows_whatever_it_tries(database: House, text: str) -> None:
    assert not isinstance(database.outcome(text), PartywallError)


@pytest.mark.parametrize("text", statements("benign"))
def test_what_people_write_runs(database: House, text: str) -> None:
    told = database.outcome(text)
    assert not isinstance(told, PartywallError), told


def test_h_after_all_of_them_nothing_has_changed(database: House) -> None:
    assert database.state() == database.before


def test_h1_a_siblings_file_cannot_be_attached(house: House) -> None:
    path = house.file_of("beta-labs")
    house.refused(
        f"attach '{path}' as other",
        f"attach '{path}' as other (read_only)",
        f"attach database if not exists '{path}'",
        f"attach or replace '{path}' as tenant",
        f"select * from '{path}'",
        f"select * from read_duckdb('{path}')",
        "select * from other.main.projects",
    )


def test_h2_functions_that_read_files_are_not_there(house: House) -> None:
    for path in (house.file_of("beta-labs"), house.folder / "system" / "tenancy" / "plans.yaml", Path("/etc/passwd")):
        house.refused(
            f"select content from read_text('{path}')",
            f"select * from read_blob('{path}')",
            f"select * from read_csv('{path}')",
            f"select (select content from read_text('{path}'))",
            f"select * from glob('{path.parent}/*')",
            f"from '{path}'",
        )


def test_h3_nothing_is_copied_out_or_exported(house: House, tmp_path: Path) -> None:
    target = tmp_path / "out"
    own = house.file_of("acme")
    house.refused(
        f"copy projects to '{target}'",
        f"copy (select * from projects) to '{target}' (format csv)",
        f"copy (select 1) to '{own}.wal'",
        f"export database '{target}'",
        f"copy from database tenant to '{target}'",
        f"with x as (copy projects to '{target}') select 1",
    )
    assert list(tmp_path.iterdir()) == []


def test_h4_one_statement_runs_and_no_second_one(house: House) -> None:
    house.refused(
        "select 1; drop table projects",
        "select 1; select 2",
        "commit; insert into projects (id, name) values ('x', 'x')",
        "select 1 --\n; delete from projects",
        "select 1; -- \n delete from projects",
        "select '\\'; delete from projects; --'; select 1",
        "explain select 1; delete from projects",
        "select 1\0; delete from projects",
        "begin; delete from projects; commit",
    )


def test_h5_h6_text_is_never_run_as_a_statement(house: House) -> None:
    house.refused(
        "select * from query('select * from projects')",
        "select * from query('attach ''x''')",
        "from query('from duckdb_databases()')",
        "select * from query_table('projects')",
        "select * from query_table(['projects'])",
        "select * from json_execute_serialized_sql(json_serialize_sql('select 1'))",
        "select * from projects, query(projects.name)",
    )


def test_h8_h9_h10_there_is_no_filter_that_text_could_take_away(house: House) -> None:
    house.own_rows_only(
        "select name from projects -- and tenant_id = ?",
        "select name from projects /* where tenant_id = 'x' */",
        "select name from projects where name = 'x' or 1 = 1",
        "select name from projects where 1 = 1 or (select true)",
        "select name from projects union all select title from tasks",
        "select name from projects union select title from documents",
    )


def test_h11_a_shadowing_name_leads_to_ones_own_rows(house: House) -> None:
    house.own_rows_only(
        "with projects as (select * from projects) select * from projects",
        "with tasks as (select * from projects) select name from tasks",
        "with partywall as (select 1 as n) select * from partywall",
    )
    house.refused(
        "with partywall as (select * from partywall) select * from partywall",
        "with pg_class as (select * from pg_class) select * from pg_class",
        "select * from (with duckdb_tables as (select 1) select * from duckdb_tables) x, duckdb_tables",
    )


def test_h14_h18_h22_no_setting_extension_or_role_is_changed(house: House) -> None:
    house.refused(
        "set memory_limit = '1TB'",
        "set search_path = 'main'",
        "set variable tenant = 'beta'",
        "set session authorization 'beta'",
        "set role beta",
        "reset role",
        "reset all",
        "reset lock_configuration",
        "select set_config('app.tenant', 'beta', false)",
        "select current_setting('allowed_paths')",
        "pragma enable_external_access",
        "install httpfs",
        "load httpfs",
        "force install httpfs from 'http://example.test'",
    )
    if house.strategy == "database_level":
        assert house.mine.sql("select count(*) as n from projects") == [{"n": 3}]


def test_h15_h16_nothing_is_made_that_could_stand_for_something_else(house: House) -> None:
    house.refused(
        "create view everything as select * from projects",
        "create materialized view everything as select * from projects",
        "create temp view projects as select 1",
        "create or replace temp table tasks as select 1",
        "create macro count(x) as 0",
        "create temp macro abs(x) as 0",
        "select * from duckdb_views()",
        "create function now() as '2000-01-01'",
    )


def test_h19_the_same_text_of_two_tenants_reads_each_ones_own(house: House) -> None:
    text = "select name from projects where budget > ? order by name"
    for _ in range(3):
        for query, word in ((house.mine, "own"), (house.other, CANARY)):
            if house.strategy == "database_level":
                assert [row["name"] for row in query.sql(text, [1])] == [f"{word} {n}" for n in range(3)]
            else:
                with pytest.raises(PermissionDenied):
                    query.sql(text, [1])
    house.refused("prepare p as select * from projects", "execute p", "deallocate all")


def test_h20_i3_i4_the_store_says_nothing_of_itself(house: House) -> None:
    house.refused(
        "select * from duckdb_databases()",
        "select path from pragma_database_list",
        "pragma database_list",
        "show databases",
        "select * from duckdb_settings()",
        "select * from information_schema.tables",
        "select * from pg_catalog.pg_database",
        "select * from duckdb_tables()",
        "select estimated_size from duckdb_tables",
        "select * from pragma_storage_info('projects')",
        "explain select * from projects",
        "explain analyze select * from projects",
        "select stats(name) from projects",
        "select current_database(), current_schema()",
        "select rowid from projects",
    )


def test_h21_python_variables_are_no_tables(house: House) -> None:
    secrets = [{"name": CANARY}]
    assert secrets
    house.refused("select * from secrets", "select * from CANARY", "from secrets", "select * from arrow_scan(1, 2, 3)")


def test_i8_an_error_comes_of_ones_own_rows_only(database: House) -> None:
    failing = database.outcome("select cast(name as integer) from projects")
    assert type(failing) is QueryError
    assert "own" not in str(failing)
    for text in (
        "select 1 from projects where cast(name as integer) = 1",
        "select sum(cast(title as integer)) from tasks",
        "select name::date from projects",
        "select 9223372036854775807 + priority from tasks",
    ):
        assert type(database.outcome(text)) is QueryError


def test_h_parameters_are_values_and_never_text(database: House) -> None:
    for word in ("' or 1 = 1 --", "x'; drop table projects; --", "projects", CANARY, "\0"):
        assert database.outcome("select name from projects where name = ?", [word]) == []
        assert database.outcome("select $w = 'own' as w", {"w": word}) == [{"w": False}]
    assert type(database.outcome("select * from ?", ["projects"])) is QueryError
    assert type(database.outcome("select * from $t", {"t": "projects"})) is QueryError
    assert database.state() == database.before


DEEP = "[" * 100_000 + "]" * 100_000
LONG = "x" * 900_000
STARRED = "%" + "x_" * 100_000


def test_h23_a_deep_document_neither_ends_the_process_nor_is_taken_apart_at_every_depth(database: House) -> None:
    for text in (
        "select json_contains($deep::json, $deep::json)",
        "select json_extract($deep, '$..*')",
        "select $deep::json -> '$..*'",
        "select $deep::json ->> ('$.' || '.*')",
        "select '$..*' as path, json_extract($deep, path)",
        "select json_extract($deep, ['$', '$..*'])",
        "select len(json_extract($deep, '$[*]')) from range(2048)",
        "select json_extract($deep, path) from (select '$..*' as path)",
        "select json_exists($deep, chr(36) || chr(46) || chr(46) || chr(42))",
    ):
        assert type(database.outcome(text, {"deep": DEEP})) is QueryError, text
    for path in ("$..*", ["$", "$..*"]):
        assert type(database.outcome("select json_extract($deep, $path)", {"deep": DEEP, "path": path})) is QueryError
    assert database.outcome("select json_extract($j, $p) as x", {"j": '{"a":[1]}', "p": "$.a[0]"}) == [{"x": "1"}]


def test_h24_a_large_value_counts_wherever_it_is_named(database: House) -> None:
    rows = "from range(5000) t(i)"
    for text in (
        f"select max(length(concat({', '.join(['$m'] * 1000)}, i::varchar))) {rows}",
        f"select max(length({' || '.join(['$m'] * 200)} || i::varchar)) {rows}",
        f"select max(len(list_value({', '.join(['$m'] * 1000)}, i::varchar))) {rows}",
        f"select max(length(concat_ws($m, {', '.join(['i'] * 2000)}))) {rows}",
        f"select $m as x, {', '.join(f'length(x) as n{number}' for number in range(10))}",
    ):
        told = database.outcome(text, {"m": LONG})
        assert type(told) is QueryError, text
    assert database.outcome("select length($m || $m) as n", {"m": LONG}) == [{"n": 1_800_000}]


def test_h25_a_pattern_is_short_and_known_before_the_statement_runs(database: House) -> None:
    for match in ("$m like $p", "$m not ilike $p", "$m glob $p", "$m like $p escape '!'", "$m similar to $p"):
        assert type(database.outcome(f"select {match} as x", {"m": LONG, "p": STARRED[:1_001]})) is QueryError, match
    for match in ("like ('%' || name)", "like (select name)", "like $p || $p", "similar to concat($p, $p)"):
        told = database.outcome(f"select name from projects where $p = $p and name {match}", {"p": STARRED[:501]})
        assert type(told) is QueryError, match
    assert len(database.mine.sql("select name from projects where name like '%' || ? || '%'", ["own"])) == 3


def test_h26_a_whole_row_is_not_named_by_its_schema_either(database: House) -> None:
    database.refused(
        "select main.projects from projects",
        "select temp.projects from projects",
        "select temp.main.projects from projects",
        "select temp.main.projects.name from projects",
        'select "MAIN".projects from projects, (select 1 as one) main',
    )


def test_h29_no_list_of_millions_becomes_objects_of_the_engines(database: House) -> None:
    hundred = ", ".join(["l"] * 100)
    thousand = ", ".join(["true"] * 1000)
    for text in (
        "select list(true) as l from range(60000000)",
        "select array_agg(null) as l from range(60000000)",
        "select list(i) over () as l from range(10) t(i)",
        "select max(i, 999999) as l from range(1000000) t(i)",
        "select max_by(i, i, 999999) as l from range(1000000) t(i)",
        f"with a as (select [{thousand}] as l), b as (select [{hundred}] as l from a) select [{hundred}] as l from b",
    ):
        assert type(database.outcome(text)) is QueryError, text
    assert database.outcome("select len(list(i)) as n, max(i) as m from range(9) t(i)") == [{"n": 9, "m": 8}]
