"""Random histories of several tenants against a model of plain dicts: nothing may differ."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, rule, run_state_machine_as_test

import partywall
from partywall import ConstraintViolation, gt, is_null, like
from partywall.clock import ManualClock

SAMPLE = Path(__file__).parents[2] / "orchestrator-data" / "system"
TENANTS = ("acme", "beta-labs", "corner-shop")
NAMES = st.sampled_from(["a", "b", "ab", "a%", "A", "ü", "z_", ""])
BUDGETS = st.one_of(st.none(), st.sampled_from([0.0, 1.5, -2.0, 1e300]))
TENANT = st.sampled_from(TENANTS)

Rows = dict[str, dict[str, Any]]


class Histories(RuleBasedStateMachine):
    """Operations of three tenants, in any order."""

    ids = Bundle("ids")

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        shutil.copytree(SAMPLE, self.folder / "system")
        self.engine = partywall.open(self.folder, clock=ManualClock(), watch=False)
        self.model: dict[str, Rows] = {slug: {} for slug in TENANTS}
        self.queries = {slug: self.engine.query(self.engine.tenants.get_by_slug(slug).id) for slug in TENANTS}

    def attempt(self, slug: str, work: Callable[[Rows], Any], real: Callable[[], Any]) -> None:
        copy = {row_id: dict(row) for row_id, row in self.model[slug].items()}
        try:
            expected = work(copy)
        except ConstraintViolation:
            with pytest.raises(ConstraintViolation):
                real()
            return
        assert real() == expected
        self.model[slug] = copy

    @rule(target=ids, slug=TENANT, name=NAMES, budget=BUDGETS)
    def insert(self, slug: str, name: str, budget: float | None) -> str:
        row_id = f"r{sum(len(rows) for rows in self.model.values())}x{name.encode().hex()}"
        row = {"id": row_id, "name": name, "budget": budget}

        def work(rows: Rows) -> Any:
            if row_id in rows or any(other["name"] == name for other in rows.values()):
                raise ConstraintViolation
            rows[row_id] = row
            return row_id

        self.attempt(slug, work, lambda: self.queries[slug].insert("projects", row)["id"])
        return row_id

    @rule(slug=TENANT, row_id=ids, name=NAMES)
    def update(self, slug: str, row_id: str, name: str) -> None:
        def work(rows: Rows) -> Any:
            if row_id not in rows:
                return 0
            if any(other["name"] == name for key, other in rows.items() if key != row_id):
                raise ConstraintViolation
            rows[row_id]["name"] = name
            return 1

        self.attempt(slug, work, lambda: self.queries[slug].update("projects", row_id, {"name": name}))

    @rule(slug=TENANT, row_id=consumes(ids))
    def delete(self, slug: str, row_id: str) -> None:
        self.attempt(
            slug,
            lambda rows: 1 if rows.pop(row_id, None) else 0,
            lambda: self.queries[slug].delete("projects", row_id),
        )

    @rule(slug=TENANT, name=NAMES, budget=BUDGETS)
    def upsert(self, slug: str, name: str, budget: float | None) -> None:
        def work(rows: Rows) -> Any:
            found = [row for row in rows.values() if row["name"] == name]
            if found:
                found[0]["budget"] = budget
            else:
                rows[f"u{name.encode().hex()}"] = {"id": f"u{name.encode().hex()}", "name": name, "budget": budget}
            return budget

        def real() -> Any:
            known = self.queries[slug].select("projects", {"name": name})
            row_id = known[0]["id"] if known else f"u{name.encode().hex()}"
            data = {"id": row_id, "name": name, "budget": budget}
            return self.queries[slug].upsert("projects", data, key="name")["budget"]

        self.attempt(slug, work, real)

    @rule(slug=TENANT, name=NAMES, fail=st.booleans())
    def transaction(self, slug: str, name: str, fail: bool) -> None:
        query = self.queries[slug]
        rows = self.model[slug]
        if any(row["name"] == name for row in rows.values()):
            return
        row_id = f"t{name.encode().hex()}"
        try:
            with query.transaction():
                query.insert("projects", {"id": row_id, "name": name})
                if fail:
                    raise KeyError
        except KeyError:
            return
        rows[row_id] = {"id": row_id, "name": name, "budget": None}

    @rule(slug=TENANT, wanted=NAMES)
    def look(self, slug: str, wanted: str) -> None:
        rows = sorted(self.model[slug].values(), key=lambda row: row["id"])
        query = self.queries[slug]

        def seen(where: dict[str, Any]) -> list[tuple[Any, ...]]:
            return [(row["id"], row["name"], row["budget"]) for row in query.select("projects", where)]

        def expected(test: Callable[[dict[str, Any]], bool]) -> list[tuple[Any, ...]]:
            return [(row["id"], row["name"], row["budget"]) for row in rows if test(row)]

        assert seen({}) == expected(lambda row: True)
        assert seen({"name": wanted}) == expected(lambda row: row["name"] == wanted)
        assert seen({"name": gt(wanted)}) == expected(lambda row: row["name"] > wanted)
        assert seen({"name": like("a%")}) == expected(lambda row: row["name"].startswith("a"))
        assert seen({"budget": is_null()}) == expected(lambda row: row["budget"] is None)
        assert seen({"budget": gt(0)}) == expected(lambda row: row["budget"] is not None and row["budget"] > 0)

    @rule()
    def restart(self) -> None:
        self.engine.close()
        self.engine = partywall.open(self.folder, clock=ManualClock(), watch=False)
        self.queries = {slug: self.engine.query(self.engine.tenants.get_by_slug(slug).id) for slug in TENANTS}

    def teardown(self) -> None:
        self.engine.close()
        shutil.rmtree(self.folder)


def run(examples: int, steps: int) -> None:
    chosen = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(Histories, settings=chosen)  # type: ignore[no-untyped-call]


def test_random_histories_of_three_tenants_match_a_model_of_dicts() -> None:
    run(examples=15, steps=40)


@pytest.mark.long
def test_many_random_histories_of_three_tenants_match_a_model_of_dicts() -> None:
    run(examples=500, steps=60)
