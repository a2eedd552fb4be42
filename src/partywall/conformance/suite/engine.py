"""The same wall, seen from where an embedder stands: scoped queries over the backend, and the life of a tenant."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import partywall
from partywall.backend import BackendSpec, Capability, Row
from partywall.clock import ManualClock
from partywall.conformance.plugin import name_of
from partywall.conformance.resolve import plugins_for
from partywall.conformance.suite.kit import Kit, refusal, requires, texts_of
from partywall.conformance.suite.sample import DECLARED, token
from partywall.engine import Engine
from partywall.errors import BackendError, ConstraintViolation, DataFolderInUse, QueryError, TenantSuspended
from partywall.isolation import ScopedQuery
from partywall.operators import gt, in_, is_null, like, ne

__all__ = ["ThroughTheEngine"]

SLUGS = ("mine", "other-1", "other1")
OWNER = {"user_id": "u1", "email": "ann@example.test", "name": "Ann"}
QUOTAS = ("maxUsers", "maxProjects", "maxTokensPerMonth", "maxStorageGB", "maxConcurrentAgents")
SECOND_ENGINE = "import sys, partywall\npartywall.open(sys.argv[1], watch=False).close()"


class House:
    """A data folder whose tenants all live in one backend, and the engine on it."""

    def __init__(self, root: Path, spec: BackendSpec, name: str, options: Mapping[str, Any]) -> None:
        self.root = root
        self.spec = spec
        self._plugins = plugins_for(name)
        durable = Capability.DURABLE in spec.capabilities
        choice = {"backend": spec.name, "ephemeral": not durable, "options": dict(options)}
        quotas = dict.fromkeys(QUOTAS, "unlimited")
        plan = {"name": "All", "price": 0, "quotas": quotas, "features": [], "rate_limits": {}}
        plan["isolation"] = spec.strategy.value
        self._write("engine", {"backends": {spec.strategy.value: choice}})
        self._write("plans", {"plans": {"all": plan}})
        self._write("tables", {"tables": DECLARED})
        self.engine = self._opened()

    def tenant(self, slug: str) -> str:
        """Make a tenant; returns its id."""
        return self.engine.tenants.create(name=slug, slug=slug, plan="all", owner=OWNER).id

    def query(self, slug: str) -> ScopedQuery:
        """The handle of a tenant that was made before."""
        return self.engine.query(self.engine.tenants.get_by_slug(slug).id)

    def restart(self) -> None:
        """Close the engine and open it again."""
        self.engine.close()
        self.engine = self._opened()

    def holding(self, needle: str) -> list[str]:
        """The files of the data folder in whose bytes the text occurs."""
        files = [path for path in sorted(self.root.rglob("*")) if path.is_file()]
        return [path.name for path in files if needle.encode() in path.read_bytes()]

    def _opened(self) -> Engine:
        return partywall.open(self.root, clock=ManualClock(), plugins=self._plugins, watch=False)

    def _write(self, name: str, document: Mapping[str, Any]) -> None:
        folder = self.root / "system" / "tenancy"
        folder.mkdir(parents=True, exist_ok=True)
        # JSON is YAML too.
        (folder / f"{name}.yaml").write_text(json.dumps(document, indent=1))


def _caught_inside(query: ScopedQuery) -> Callable[[], None]:
    def work() -> None:
        with query.transaction():
            query.insert("accounts", {"id": "b"})
            refusal(lambda: query.insert("accounts", {"id": "c", "email": "ann@x"}))

    return work


class ThroughTheEngine(Kit):
    """Structured queries, suspension, deletion, purge."""

    @pytest.fixture
    def house(self, spec: BackendSpec, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
        """An engine with three tenants in the backend."""
        with self.housed(spec, request, tmp_path / "data") as house:
            for slug in SLUGS:
                house.tenant(slug)
            yield house

    @contextmanager
    def housed(self, spec: BackendSpec, request: pytest.FixtureRequest, folder: Path) -> Iterator[House]:
        """An engine over the backend, closed at the end of the block."""
        house = House(folder, spec, name_of(type(self), request.config), self.options)
        try:
            yield house
        finally:
            house.engine.close()

    def test_b1_b3_a_foreign_tenant_id_is_refused_and_nothing_is_written(self, house: House) -> None:
        mine, other = house.query("mine"), house.query("other-1")
        rows: list[Row] = [{"email": f"{number}@x"} for number in range(20)]
        rows[13]["tenant_id"] = other.tenant_id
        for attack in (
            lambda: mine.insert_many("accounts", rows),
            lambda: mine.insert("accounts", {"email": "x", "tenant_id": other.tenant_id}),
            lambda: mine.select("accounts", {"tenant_id": other.tenant_id}),
        ):
            with pytest.raises(QueryError):
                attack()
        assert [query.count("accounts") for query in (mine, other)] == [0, 0]

    def test_b4_b8_another_tenants_row_answers_like_one_that_does_not_exist(self, house: House) -> None:
        mine, other = house.query("mine"), house.query("other-1")
        other.insert("specimens", {"id": "theirs", "label": token()})
        other.insert("parts", {"id": "theirs", "specimen": "theirs"})
        answers = []
        for row_id in ("theirs", "nobody"):
            said = [
                repr(mine.get("specimens", row_id)),
                repr(mine.update("specimens", row_id, {"label": "x"})),
                repr(mine.delete("specimens", row_id)),
                repr(mine.select("specimens", {"id": in_(row_id)})),
                repr(house.engine.isolation.validate_access(mine.tenant_id, "specimens", row_id)),
            ]
            error = refusal(lambda row_id=row_id: mine.insert("parts", {"specimen": row_id}))  # type: ignore[misc]  # bound at once
            assert isinstance(error, ConstraintViolation)
            answers.append([*said, str(error)])
        assert answers[0] == answers[1]
        assert other.count("specimens") == 1

    def test_b7_an_upsert_never_reaches_another_tenants_row(self, house: House) -> None:
        mine, other = house.query("mine"), house.query("other-1")
        theirs = other.insert("accounts", {"id": "a", "email": "ann@x", "team": "theirs", "seat": 1})
        assert mine.upsert("accounts", {"email": "ann@x", "team": "mine"}, key="email")["id"] != "a"
        assert mine.upsert("accounts", {"id": "a", "email": "other@x"})["id"] == "a"
        assert mine.upsert("accounts", {"id": "a", "seat": 7})["seat"] == 7
        assert mine.upsert("accounts", {"email": "ann@x", "team": "again"}, key="email")["team"] == "again"
        assert mine.count("accounts") == 2
        assert mine.delete("accounts", "a") == 1
        assert other.select("accounts") == [theirs]

    def test_a_taken_key_is_refused_whoever_checks_it(self, house: House) -> None:
        mine, other = house.query("mine"), house.query("other-1")
        canary = token()
        other.insert("accounts", {"id": "b", "email": canary})
        mine.insert("accounts", {"id": "a", "email": "ann@x", "team": "red", "seat": 1})
        for taken in ({"id": "a"}, {"email": "ann@x"}, {"team": "red", "seat": 1}):
            with pytest.raises(ConstraintViolation) as refused:
                mine.insert("accounts", taken)
            assert not any(word in texts_of(refused.value) for word in (canary, other.tenant_id))
        mine.insert("accounts", {"id": "b", "email": canary})
        with pytest.raises(ConstraintViolation):
            mine.update("accounts", "b", {"email": "ann@x"})
        assert mine.count("accounts") == 2

    def test_h9_values_are_never_conditions(self, house: House) -> None:
        mine, other = house.query("mine"), house.query("other-1")
        canary = token()
        other.insert("specimens", {"label": canary})
        mine.insert("specimens", {"id": "own", "label": "own"})
        for value in ("' OR '1'='1", "%' --", "own' UNION SELECT * FROM specimens --", "own\0", "\\", "%"):
            assert mine.select("specimens", {"label": value}) == []
            assert mine.count("specimens", {"label": in_(value)}) == 0
        for where in ({"label": like("%")}, {"label": ne("x")}, {"amount": is_null()}, {"id": gt("")}, {}, None):
            assert [row["id"] for row in mine.select("specimens", where)] == ["own"]

    def test_a_transaction_that_fails_writes_nothing_even_if_its_error_is_caught(self, house: House) -> None:
        mine = house.query("mine")
        mine.insert("accounts", {"id": "a", "email": "ann@x"})
        work = _caught_inside(mine)
        with pytest.raises(BackendError):
            work()
        assert [row["id"] for row in mine.select("accounts")] == ["a"]

    def test_g1_g3_a_suspension_ends_held_queries_and_open_transactions(self, house: House) -> None:
        mine = house.query("mine")

        def suspended_inside() -> None:
            with mine.transaction():
                mine.insert("specimens", {"label": "never"})
                house.engine.tenants.suspend(mine.tenant_id, reason="unpaid")

        with pytest.raises(TenantSuspended):
            suspended_inside()
        with pytest.raises(TenantSuspended):
            mine.count("specimens")
        house.engine.tenants.resume(mine.tenant_id)
        assert mine.count("specimens") == 0
        mine.insert("specimens", {"label": "after"})
        assert mine.count("specimens") == 1

    def test_e9_g10_g11_a_purge_leaves_no_byte_and_the_same_slug_begins_anew(self, house: House) -> None:
        mine, other = house.query("mine"), house.query("other-1")
        canary = token()
        for query in (mine, other):
            query.insert("specimens", {"id": "a", "label": canary if query is mine else "kept", "raw": canary.encode()})
        other.update("specimens", "a", {"raw": b"kept"})
        house.engine.tenants.delete(mine.tenant_id)
        house.engine.tenants.purge(mine.tenant_id, before_due=True)
        house.tenant("mine")
        again = house.query("mine")
        assert again.tenant_id != mine.tenant_id
        assert again.select("specimens") == []
        refusal(lambda: mine.count("specimens"))
        assert other.count("specimens") == 1

    @requires(Capability.DURABLE)
    def test_g11_after_a_purge_no_byte_of_the_tenants_rows_is_in_the_data_folder(self, house: House) -> None:
        mine, canary = house.query("mine"), token()
        mine.insert_many("specimens", [{"label": f"{canary}{number}", "document": {canary: 1}} for number in range(50)])
        house.engine.tenants.delete(mine.tenant_id)
        house.engine.tenants.purge(mine.tenant_id, before_due=True)
        assert house.holding(canary) == []
        house.restart()
        assert house.holding(canary) == []
        assert house.query("other-1").count("specimens") == 0

    @requires(Capability.DURABLE)
    def test_what_was_acknowledged_is_there_after_a_restart_of_the_engine(self, house: House) -> None:
        for slug in SLUGS:
            house.query(slug).insert("specimens", {"id": "a", "label": slug})
        house.restart()
        assert [house.query(slug).get("specimens", "a") for slug in SLUGS] == [
            {"id": "a", **dict.fromkeys(DECLARED["specimens"]["columns"]), "label": slug} for slug in SLUGS
        ]

    @requires(Capability.DURABLE)
    def test_g16_a_second_process_is_refused_also_after_housekeeping(self, house: House) -> None:
        house.query("mine").insert("specimens", {"label": "x"})
        house.engine.isolation.placement(house.query("mine").tenant_id)
        house.holding("x")
        command = [sys.executable, "-c", SECOND_ENGINE, str(house.root)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603  # this very interpreter
        assert done.returncode != 0
        assert DataFolderInUse.__name__ in done.stderr
        assert house.query("mine").count("specimens") == 1
