"""Plugins: found, broken, doubled, and chosen."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from partywall import BackendNotFound, ConfigError, hookimpl
from partywall.backend import Backend, BackendSetup, BackendSpec, Capability
from partywall.model import EngineConfig, Strategy
from partywall.registry import Registry


def never(setup: BackendSetup) -> Backend:
    raise AssertionError("finding a backend must not open it")


def plugin(*specs: object) -> object:
    @hookimpl
    def partywall_backends() -> Iterator[object]:
        yield from specs

    return SimpleNamespace(partywall_backends=partywall_backends)


def spec(name: str, strategy: Strategy = Strategy.SCHEMA, *capabilities: Capability) -> BackendSpec:
    return BackendSpec(name, strategy, never, frozenset(capabilities))


def config(**backends: object) -> EngineConfig:
    return EngineConfig.model_validate({"backends": backends})


def test_the_duckdb_backend_is_found_by_its_entry_point() -> None:
    found = Registry().backends["duckdb-row"]
    assert found.distribution == "partywall-duckdb"
    assert found.spec.strategy is Strategy.ROW


def test_a_broken_plugin_is_one_error_that_names_its_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, body in {
        "raises": "raise RuntimeError('no such luck')",
        "syntax": "def (",
        "hook": textwrap.dedent(
            """
            from partywall import hookimpl
            @hookimpl
            def partywall_backends():
                raise KeyError("lost")
            """
        ),
        "unknown": "from partywall import hookimpl\n@hookimpl\ndef partywall_no_such_hook(): ...",
        "wrong": "from partywall import hookimpl\n@hookimpl\ndef partywall_backends(): return ['duckdb']",
    }.items():
        (tmp_path / f"broken_{name}.py").write_text(body)
        info = tmp_path / f"broken_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: broken-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[partywall]\n{name} = broken_{name}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = Registry()
    assert {problem.distribution for problem in registry.problems} == {
        f"broken-{name}" for name in ("raises", "syntax", "hook", "unknown", "wrong")
    }
    assert any("no such luck" in str(problem) for problem in registry.problems)
    assert "duckdb-row" in registry.backends


def test_two_plugins_with_one_backend_name_are_an_error_of_the_second() -> None:
    registry = Registry([plugin(spec("twin")), plugin(spec("twin"))])
    (problem,) = registry.problems
    assert "twin" in problem.message
    assert list(registry.backends).count("twin") == 1


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if nothing were installed beside the core."""
    monkeypatch.setattr("partywall.registry.entry_points", lambda **_: [])


@pytest.mark.usefixtures("bare")
def test_a_strategy_that_nothing_offers_names_what_to_install() -> None:
    with pytest.raises(BackendNotFound, match="partywall-duckdb"):
        Registry().choose(Strategy.DATABASE, config())
    with pytest.raises(BackendNotFound, match="partywall-postgres"):
        Registry().choose(Strategy.SCHEMA, config(schema_level="postgres-schema"))


@pytest.mark.usefixtures("bare")
def test_a_backend_is_chosen_by_name_or_because_it_is_the_only_one() -> None:
    durable = Capability.DURABLE
    one = Registry([plugin(spec("one", Strategy.SCHEMA, durable))])
    assert one.choose(Strategy.SCHEMA, config()).spec.name == "one"
    two = Registry([plugin(spec("one", Strategy.SCHEMA, durable), spec("two", Strategy.SCHEMA, durable))])
    assert two.choose(Strategy.SCHEMA, config(schema_level="two")).spec.name == "two"
    with pytest.raises(ConfigError, match="one, two"):
        two.choose(Strategy.SCHEMA, config())
    three = Registry([plugin(spec("one", Strategy.ROW, durable))])
    with pytest.raises(ConfigError, match="row_level"):
        three.choose(Strategy.SCHEMA, config(schema_level="one"))


def test_a_backend_that_forgets_is_refused_unless_engine_yaml_says_so() -> None:
    registry = Registry([plugin(spec("memory"))])
    with pytest.raises(ConfigError, match="ephemeral: true"):
        registry.choose(Strategy.SCHEMA, config(schema_level="memory"))
    chosen = registry.choose(Strategy.SCHEMA, config(schema_level={"backend": "memory", "ephemeral": True}))
    assert chosen.spec.name == "memory"
