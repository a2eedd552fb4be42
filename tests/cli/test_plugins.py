from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from partywall.folder import DataFolder

Run = Callable[..., Any]
BROKEN = "raise RuntimeError('the license has expired\\x1b[31m')"
GOOD = """
import partywall
from partywall.backend import BackendSpec, Capability
from partywall.model import Strategy

@partywall.hookimpl
def partywall_backends():
    yield BackendSpec(
        "vault-database", Strategy.DATABASE, open=None, capabilities=frozenset({Capability.DURABLE}),
        enforced_by="engine", summary="a vault each",
    )
"""


def test_a_plugin_shows_at_once_that_it_loaded_even_without_a_data_folder(
    shell: Run, installed: Callable[[str, str], Path]
) -> None:
    site = str(installed("partywall-vault", GOOD))
    listed = shell("plugins", "--json", PYTHONPATH=site).document
    (vault,) = [each for each in listed["backends"] if each["name"] == "vault-database"]
    assert vault == {
        "name": "vault-database",
        "strategy": "database_level",
        "chosen": False,  # two offer the strategy, and no engine.yaml says which
        "enforced_by": "engine",
        "sql": "refused",
        "capabilities": ["durable"],
        "distribution": "partywall-vault",
        "version": "1.2",
        "summary": "a vault each",
    }
    told = shell("plugins", PYTHONPATH=site)
    (line,) = [line for line in told.out.splitlines() if "vault-database" in line]
    assert "partywall-vault 1.2" in line
    assert (told.code, told.err) == (0, "")


def test_a_broken_plugin_is_one_error_and_the_others_live(shell: Run, installed: Callable[[str, str], Path]) -> None:
    installed("partywall-vault", GOOD)
    site = str(installed("partywall-broken", BROKEN))
    told = shell("plugins", PYTHONPATH=site)
    assert told.code == 0
    assert "vault-database" in told.out
    assert told.err == ("error: partywall-broken (partywall-broken): RuntimeError: the license has expired\\x1b[31m\n")
    strict = shell("plugins", "--strict", "--json", PYTHONPATH=site)
    assert (strict.code, strict.err) == (1, "")
    assert strict.document["problems"][0]["distribution"] == "partywall-broken"


def test_status_tells_of_broken_plugins(shell: Run, folder: DataFolder, installed: Callable[[str, str], Path]) -> None:
    site = str(installed("partywall-broken", BROKEN))
    assert "partywall-broken" in shell("status", PYTHONPATH=site).out
    assert len(shell("status", "--json", PYTHONPATH=site).document["plugin_problems"]) == 1


def test_engine_yaml_decides_which_backend_is_chosen(
    shell: Run, folder: DataFolder, installed: Callable[[str, str], Path]
) -> None:
    installed("partywall-vault", GOOD)
    site = str(installed("partywall-other", GOOD.replace("vault-database", "other-database")))

    def chosen() -> list[str]:
        listed = shell("plugins", "--json", PYTHONPATH=site).document["backends"]
        return [each["name"] for each in listed if each["chosen"] and each["strategy"] == "database_level"]

    assert chosen() == ["duckdb-database"]
    path = folder.tenancy / "engine.yaml"
    text = path.read_text()
    path.write_text(text.replace("  database_level: duckdb-database\n", ""))
    assert chosen() == []
    path.write_text(text.replace("database_level: duckdb-database", "database_level: other-database"))
    assert chosen() == ["other-database"]


@pytest.mark.timeout(300)
def test_a_check_runs_the_kit_and_fails_with_a_backend_that_does_not_hold(
    shell: Run, installed: Callable[[str, str], Path]
) -> None:
    site = str(installed("partywall-vault", GOOD))
    checked = shell("plugins", "check", "vault-database", wait=280, PYTHONPATH=site)
    assert checked.code == 1  # its `open` is None
    assert "partywall: vault-database claims durable" in checked.out


def test_a_check_of_what_is_not_installed_says_what_is(shell: Run) -> None:
    checked = shell("plugins", "check", "nowhere-row")
    assert checked.code == 10
    assert "duckdb-row" in checked.err
