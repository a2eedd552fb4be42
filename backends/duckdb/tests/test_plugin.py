# tests need no docstrings
from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from typing import Any

import duckdb
import pluggy
import pytest

from partywall import hookspecs
from partywall.backend import BackendSetup, Capability
from partywall.errors import BackendError, ConfigError
from partywall.model import Strategy
from partywall_duckdb.databases import DatabaseBackend
from partywall_duckdb.hub import Hub
from partywall_duckdb.options import Options
from partywall_duckdb.rows import RowBackend
from partywall_duckdb.schemas import SchemaBackend
from partywall_duckdb.selftest import self_test

BACKENDS = {"duckdb-row": RowBackend, "duckdb-schema": SchemaBackend, "duckdb-database": DatabaseBackend}


def test_the_backends_are_found_by_their_entry_point_like_any_strangers() -> None:
    (entry,) = [each for each in entry_points(group="partywall") if each.value == "partywall_duckdb.plugin"]
    manager = pluggy.PluginManager(hookspecs.GROUP)
    manager.add_hookspecs(hookspecs)
    manager.register(entry.load())
    manager.check_pending()
    (announced,) = manager.hook.partywall_backends()
    assert {(spec.name, spec.strategy, spec.enforced_by) for spec in announced} == {
        ("duckdb-row", Strategy.ROW, "adapter"),
        ("duckdb-schema", Strategy.SCHEMA, "adapter"),
        ("duckdb-database", Strategy.DATABASE, "engine"),
    }
    for spec in announced:
        own = spec.name == "duckdb-database"  # the one whose store keeps a tenant's own SQL from the others
        assert spec.capabilities == set(Capability) - (set() if own else {Capability.SQL})


def test_announcing_does_not_load_duckdb() -> None:
    code = (
        "import sys; from partywall_duckdb.plugin import partywall_backends; "
        "list(partywall_backends()); print('duckdb' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    "options",
    [
        {"sharts": 3},
        {"threads": 0},
        {"threads": True},
        {"threads": "32"},
        {"threads": 1.5},
        {"memory_limit": "1GB'; --"},
        {"memory_limit": 12},
        {"memory_limit": "lots"},
        {"checkpoint_wal_bytes": 0},
    ],
)
def test_an_option_that_is_unknown_or_out_of_range_is_a_config_error(store: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        store.open(**options)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("rows", {"shards": 0}),
        ("rows", {"schemas_per_shard": 3}),
        ("schemas", {"schemas_per_shard": 2001}),
        ("schemas", {"shards": 3}),
        ("databases", {"max_open": 0}),
        ("databases", {"idle_seconds": 0}),
        ("databases", {"shards": 3}),
    ],
)
def test_each_backend_knows_its_own_options(request: pytest.FixtureRequest, kind: str, options: dict[str, Any]) -> None:
    store = request.getfixturevalue(kind)
    store.home.mkdir()
    with pytest.raises(ConfigError, match=next(iter(options))):
        BACKENDS[store.kind](BackendSetup(tables={}, folder=lambda _: store.home, clock=store.clock, options=options))


def test_options_reach_duckdb(store: Any) -> None:
    backend = store.open(memory_limit="200MiB", threads=1)
    with store.hub(backend).cursor() as cursor:
        wanted = "SELECT current_setting('memory_limit'), current_setting('threads')"
        assert cursor.execute(wanted).fetchall() == [("200.0 MiB", 1)]


@pytest.mark.parametrize(
    "statement",
    [
        "ATTACH '{}/sibling.duckdb' AS sibling",
        "SELECT * FROM read_blob('{}/home/layout.json')",
        "SELECT * FROM glob('{}/*')",
        "COPY (SELECT 1) TO '{}/out.csv'",
        "EXPORT DATABASE '{}/out'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET lock_configuration = false",
        "SET allowed_directories = ['{}']",
        "SET temp_directory = '{}'",
        "SELECT * FROM needle",
    ],
)
def test_the_instance_reaches_nothing_but_its_own_files(store: Any, statement: str) -> None:
    needle = [("secret",)]  # a Python variable must not be readable as a table
    backend = store.open()
    with store.hub(backend).cursor() as cursor, pytest.raises(duckdb.Error):
        cursor.execute(statement.format(store.folder)).fetchall()
    assert needle


class Unsealed:
    """A hub whose instance lacks what the real one does about one trap."""

    def __init__(self, *settings: str) -> None:
        self._root = duckdb.connect(":memory:")
        for setting in settings:
            self._root.execute(setting)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        return self._root.cursor()

    def close(self) -> None:
        self._root.close()


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ((), "reads files"),
        (("SET enable_external_access = false",), "settings"),
    ],
)
def test_the_self_test_refuses_an_instance_that_is_not_sealed(tmp_path: Any, settings: Any, fault: str) -> None:
    stranger = tmp_path / "stranger"
    stranger.write_text("secret")
    hub = Unsealed(*settings)
    with pytest.raises(BackendError, match=fault):
        self_test(hub, stranger)
    hub.close()


def test_a_duckdb_of_another_release_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duckdb, "__version__", "2.1.0")
    with pytest.raises(BackendError, match=r"2\.1\.0"):
        Hub(Options(), [])


def test_a_backend_that_does_not_start_holds_no_file(store: Any) -> None:
    store.session(store.open(), "ten_aaaa").close()
    store.backends[0].close()
    wrong = {**store.declared, "notes": {"columns": {"title": {"type": "integer"}}}}
    with pytest.raises(ConfigError):
        store.session(store.open(wrong), "ten_aaaa")
    for backend in store.backends[1:]:
        backend.close()
    (file,) = store.home.rglob("*.duckdb")
    assert store.opened_elsewhere(file) == "open"
