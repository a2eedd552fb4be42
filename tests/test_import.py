"""`import partywall` stays light, and so does finding plugins."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("duckdb", "pydantic", "yaml", "watchdog", "sqlite3", "asyncio", "pluggy", "click", "rich", "pyarrow")


def loaded_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.splitlines()}


def test_importing_partywall_loads_nothing_heavy() -> None:
    plain = loaded_after("")
    loaded = loaded_after("import partywall") - plain
    assert loaded & set(HEAVY) == set()


def test_the_names_of_errors_and_operators_stay_light_too() -> None:
    loaded = loaded_after("from partywall import PartywallError, TenantNotFound, gt, current_tenant")
    assert loaded & {"duckdb", "pydantic", "yaml", "watchdog", "sqlite3"} == set()


def test_finding_the_backends_does_not_load_their_stores() -> None:
    loaded = loaded_after("from partywall.registry import Registry; assert 'duckdb-row' in Registry().backends")
    assert "duckdb" not in loaded
