"""DURABLE: what was acknowledged is there after a restart and after kill -9, and what was dropped never is."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from partywall.backend import Capability, Delete, Insert, Scan, Update
from partywall.conformance.plugin import name_of, operations
from partywall.conformance.suite.kit import MINE, OTHERS, Kit, Store, ids_of, refusal, requires
from partywall.conformance.suite.sample import (
    GROWN,
    PARTS,
    SPECIMENS,
    part,
    specimen,
    tables_of,
    token,
    token_row,
)
from partywall.model import ID

__all__ = ["Durability"]


def killed_after(store: Store, name: str, first: int, commits: int) -> int:
    """Let a child process write to the store's folder, kill it; returns the number of the last acknowledged commit."""
    command = [sys.executable, "-m", "partywall.conformance.child"]
    options = dict(store.options)
    job = {"path": sys.path, "backend": name, "folder": str(store.root), "options": options, "first": first}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:  # noqa: S603  # this very interpreter, no shell
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(json.dumps(job) + "\n")
            child.stdin.flush()
            acknowledged = first - 1
            for line in child.stdout:
                acknowledged = int(line)
                if acknowledged >= first + commits:
                    break
        finally:
            child.kill()
        rest = child.stdout.read()
    whole = [int(line) for line in rest.split("\n")[:-1]]
    assert acknowledged >= first, "the child process could not write"
    return max([acknowledged, *whole])


class Durability(Kit):
    """Only for those who claim it."""

    @requires(Capability.DURABLE)
    def test_everything_is_there_after_a_restart(self, store: Store) -> None:
        canaries = {tenant: store.fill(tenant) for tenant in (MINE, *OTHERS)}
        store.session(MINE).write(Insert(PARTS, [part("p", "a", "kept")]))
        places = {tenant: store.placed(tenant) for tenant in canaries}
        for _ in range(3):
            store.close()
            for tenant, canary in canaries.items():
                assert store.backend.stamp(places[tenant]) == tenant
                assert store.placed(tenant) == places[tenant]
                assert store.rows(tenant) == [token_row(row_id, canary) for row_id in "abc"]
        assert store.rows(MINE, PARTS) == [part("p", "a", "kept")]

    @requires(Capability.DURABLE)
    def test_the_last_commit_is_there_after_a_restart(self, store: Store) -> None:
        for number in range(4):
            session = store.session(MINE)
            if number % 2:
                session.begin()
            session.write(Insert(SPECIMENS, [specimen(f"r{number}")]))
            session.write(Update(SPECIMENS, [f"r{number}"], {"amount": number}))
            if number % 2:
                session.commit()
            store.close()
            assert [row["amount"] for row in store.rows(MINE)] == list(range(number + 1))
        store.session(MINE).write(Delete(SPECIMENS, ["r0"]))
        store.close()
        assert ids_of(store.rows(MINE)) == ["r1", "r2", "r3"]

    @requires(Capability.DURABLE)
    def test_what_was_rolled_back_or_never_committed_is_not_there_after_a_restart(self, store: Store) -> None:
        store.fill(MINE)
        for end in ("rollback", "close"):
            session = store.session(MINE)
            session.begin()
            session.write(Insert(SPECIMENS, [specimen(end)]))
            session.write(Delete(SPECIMENS, ["a"]))
            getattr(session, end)()
        store.close()
        assert ids_of(store.rows(MINE)) == ["a", "b", "c"]

    @requires(Capability.DURABLE)
    def test_every_acknowledged_commit_survives_a_kill(self, store: Store, request: pytest.FixtureRequest) -> None:
        name = name_of(type(self), request.config)
        chosen = random.Random(7)  # noqa: S311  # where to kill is no secret
        last, promised = 0, set[int]()
        for _ in range(max(2, min(200, operations(type(self), request.config) // 500))):
            acknowledged = killed_after(store, name, last + 1, chosen.randrange(1, 25))
            # A commit that was under way when the kill came may be there or not, for each tenant.
            promised |= set(range(last + 1, acknowledged + 1))
            for tenant in (MINE, OTHERS[0]):
                rows = store.rows(tenant)
                numbers = [row["amount"] for row in rows]
                assert promised <= set(numbers), "an acknowledged commit is lost"
                assert all(row["label"] == "done" and row[ID][0] == "n" for row in rows), "half a transaction"
                assert ids_of(store.rows(tenant, PARTS)) == ids_of(rows), "half a transaction"
                last = max([last, *numbers])
            assert dict(store.backend.health()) == {}
            store.close()

    @requires(Capability.DURABLE)
    def test_e9_what_was_dropped_is_not_there_after_a_restart(self, store: Store) -> None:
        places = [store.placed(tenant) for tenant in (MINE, OTHERS[0])]
        for tenant in (MINE, OTHERS[0]):
            store.fill(tenant)
        store.backend.drop(places[0])
        store.close()
        assert [store.backend.stamp(place) for place in places] == [None, OTHERS[0]]
        assert store.rows(MINE) == []
        assert len(store.rows(OTHERS[0])) == 3

    @requires(Capability.DURABLE)
    def test_g11_after_a_drop_none_of_the_tenants_bytes_are_in_the_folder(self, store: Store) -> None:
        canary, kept = store.fill(MINE, [f"r{number:03d}" for number in range(400)]), store.fill(OTHERS[0])
        session, late = store.session(MINE), token()
        session.write(Update(SPECIMENS, ["r001"], {"label": late, "raw": late.encode()}))
        session.write(Delete(SPECIMENS, ["r002"]))
        store.backend.maintain()
        session.begin()
        session.write(Insert(SPECIMENS, [token_row("undone", late)]))
        session.rollback()
        store.close()
        store.session(MINE).write(Insert(SPECIMENS, [token_row("again", late)]))
        store.backend.drop(store.placed(MINE))
        assert [path.name for each in (canary, late) for path in store.holding(each)] == []
        store.close()
        assert [path.name for each in (canary, late) for path in store.holding(each)] == []
        assert store.rows(OTHERS[0]) == [token_row(row_id, kept) for row_id in "abc"]

    @requires(Capability.DURABLE)
    def test_e10_a_store_whose_files_are_replaced_by_links_is_refused(self, store: Store, tmp_path: Path) -> None:
        store.fill(MINE)
        store.close()
        outside = tmp_path / "outside"
        outside.mkdir()
        moved = {}
        for number, path in enumerate(store.files()):
            target = outside / f"{number}{path.suffix}"
            shutil.move(path, target)
            path.symlink_to(target)
            moved[target] = target.read_bytes()
        if not moved:
            return  # a store that keeps nothing in its folder has nothing that could be replaced
        refusal(lambda: store.session(MINE).write(Insert(SPECIMENS, [specimen("through")])))
        refusal(lambda: store.session(MINE).scan(Scan(SPECIMENS)))
        assert {target: target.read_bytes() for target in moved} == moved

    @requires(Capability.DURABLE)
    def test_g6_tables_and_columns_that_are_new_are_added_at_the_next_opening(self, store: Store) -> None:
        for tenant in (MINE, *OTHERS):
            store.fill(tenant)
            store.session(tenant).write(Insert(PARTS, [part("p", "a", "old")]))
        grown = tables_of(GROWN)
        wide, later = (table for name, table in grown.items() if name in ("parts", "later"))
        for opening in range(2):
            store.open(grown)
            for tenant in (MINE, *OTHERS):
                expected = {**part("p", "a", "old"), "weight": 1.5 if opening and tenant == MINE else None}
                assert store.rows(tenant, wide) == [expected]
                assert len(store.rows(tenant)) == 3
                assert store.rows(tenant, later) == [{"id": "l", "label": "new"}] * opening
            store.session(MINE).write(Update(wide, ["p"], {"weight": 1.5}))
            for tenant in (MINE, *OTHERS):
                if not opening:
                    store.session(tenant).write(Insert(later, [{"id": "l", "label": "new"}]))
