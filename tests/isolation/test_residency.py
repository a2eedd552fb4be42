"""A tenant's rows never lie outside the folder of its region, at any step of its life, in no file whatever."""

from __future__ import annotations

import secrets
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from partywall import Engine
from partywall.ledger.sqlite import SqliteLedger
from partywall_duckdb.files import StoreFiles
from partywall_duckdb.hub import Hub
from partywall_duckdb.session import TenantSession

OWNER = {"user_id": "u", "email": "u@x.test", "name": "U"}


class Watch:
    """Looks through every file at every step, and remembers where the token lay although it may not."""

    def __init__(self, root: Path, var: Path, token: str) -> None:
        self.allowed = {"data-eu"}
        self.strayed: set[str] = set()
        self.steps = 0
        self._root = root
        self._var = var
        self._token = token

    def look(self) -> list[str]:
        """The files that hold the token, found by another process: reading them here would drop locks."""
        command = ["grep", "-rlaF", self._token, str(self._root)]
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
        self.strayed |= {
            path for path in found if not any(Path(path).is_relative_to(self._var / name) for name in self.allowed)
        }
        self.steps += 1
        return found

    def around(self, patch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        """Look before and after each call of a function."""
        function = getattr(owner, name)

        def called(*args: Any, **kwargs: Any) -> Any:
            self.look()
            try:
                return function(*args, **kwargs)
            finally:
                self.look()

        patch.setattr(owner, name, called)


@pytest.fixture
def watch(tmp_path: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    watching = Watch(tmp_path, data_folder / "var", secrets.token_hex(16))
    for owner, name in (
        (SqliteLedger, "write"),
        (TenantSession, "write"),
        (Hub, "checkpoint"),
        (StoreFiles, "guard"),
        (StoreFiles, "adopt"),
    ):
        watching.around(monkeypatch, owner, name)
    return watching


@pytest.mark.parametrize(
    ("here", "there"),
    [("row_level", "schema_level"), ("schema_level", "database_level"), ("database_level", "row_level")],
)
def test_no_byte_of_a_tenants_rows_leaves_its_region_from_creation_to_purge(
    watch: Watch, open_engine: Callable[..., Engine], here: str, there: str
) -> None:
    engine = open_engine()
    tenant = engine.tenants.create(
        name="T", slug="t", plan="enterprise", owner=OWNER, isolation=here, settings={"data_residency": "eu"}
    )
    query = engine.query(tenant.id)
    token = watch._token
    query.insert_many("projects", [{"name": f"{token}{number}", "metadata": [token] * 9} for number in range(50)])
    query.insert("documents", {"title": token, "content": token.encode() * 200})
    query.update_where("projects", {}, {"status": token})
    assert watch.look()
    engine.isolation.move(tenant.id, to=there)
    watch.allowed = {"data-eu", "data-us"}
    assert engine.isolation.move(tenant.id, region="us").rows == 51
    watch.allowed = {"data-us"}
    assert watch.look()
    engine.tenants.delete(tenant.id)
    engine.tenants.purge(tenant.id, before_due=True)
    engine.close()
    assert watch.look() == []
    assert watch.strayed == set()
    assert watch.steps > 50
