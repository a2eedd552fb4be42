"""Kills a process at every step of a move, and opens the engine again: run by test_move_kills.py.

    python move_driver.py FOLDER FROM TO EVERY FINE

Each round forks a child that moves a tenant and kills itself at the next step, EVERY steps further than the
round before, until a round reaches the end of the move. Steps are commits of the ledger and calls of the
stores; with FINE also every statement and every change of a file name below them. Prints one JSON document.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import partywall
import partywall.engine  # loaded before forking, so that a round costs no imports
import partywall_duckdb.plugin
from partywall import Engine
from partywall.ledger.sqlite import SqliteLedger
from partywall.model import Tenant
from partywall_duckdb import contents, databases, files, rows, schemas, session, shard, store, tables

LOADED = (partywall.engine, partywall_duckdb.plugin)
TOKEN = "c4n4ry" * 5


class Dying:
    """Counts steps, and kills the process at one of them."""

    def __init__(self, left: int) -> None:
        self.left = left

    def watch(self, owner: Any, name: str) -> None:
        """Make a function a step."""
        setattr(owner, name, self._step(getattr(owner, name)))

    def _step(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self.left -= 1
            return function(*args, **kwargs)

        return called


COARSE = [
    (SqliteLedger, "write"),
    (session.TenantSession, "write"),
    (session.TenantSession, "scan"),
    *((backend, name) for backend in (rows.RowBackend, schemas.SchemaBackend, databases.DatabaseBackend)
      for name in ("provision", "drop", "stamp")),
]  # fmt: skip
FINE = [
    (files.Path, "replace"),
    (files.Path, "unlink"),
    (files, "sync_folder"),
    *((module, "run") for module in (shard, store, contents, tables)),
]


def beta(engine: Engine) -> Tenant:
    return engine.tenants.get_by_slug("beta-labs")


def rows_of(engine: Engine) -> dict[str, Any]:
    query = engine.query(beta(engine).id)
    return {str(table): query.select(table, order_by="id") for table in engine.catalog.tables}


def wrong_after(folder: Path, before: dict[str, Any], here: str, there: str) -> tuple[list[str], str]:
    """What is lost or half done once the engine is open again, and where the tenant is."""
    with partywall.open(folder, watch=False) as engine:
        placement = engine.isolation.placement(beta(engine).id)
        strategy = str(placement.strategy) if placement else "nowhere"
        wrong = [] if strategy in (here, there) else [f"the tenant is in {strategy}"]
        if rows_of(engine) != before:
            wrong.append("rows are lost or changed")
        engine.query(beta(engine).id).update("projects", "p0", {"status": "written"})
        engine.query(beta(engine).id).update("projects", "p0", {"status": "active"})
        if engine._ledger.read(lambda tx: tx.operations(partywall.ledger.OperationState.RUNNING)):
            wrong.append("the move is neither undone nor finished")
    holding = {
        path.relative_to(folder / "var" / "data").parts[0]
        for path in (folder / "var" / "data").rglob("*")
        if path.is_file() and TOKEN.encode() in path.read_bytes()
    }
    if holding != {placement.backend if placement else ""}:
        wrong.append(f"bytes of the tenant lie in {sorted(holding)}")
    return wrong, strategy


def move_dying_after(folder: Path, there: str, steps: int, *, fine: bool) -> int:
    """The status of a process that moves the tenant and is killed at a step."""
    pid = os.fork()
    if pid == 0:
        with partywall.open(folder, watch=False) as engine:
            tenant = beta(engine)
            dying = Dying(steps)
            for owner, name in COARSE + (FINE if fine else []):
                dying.watch(owner, name)
            engine.isolation.move(tenant.id, to=there)
            os._exit(0)
    return os.waitpid(pid, 0)[1]


def main() -> None:
    folder, here, there = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    every, fine = int(sys.argv[4]), sys.argv[5] == "fine"
    with partywall.open(folder, watch=False) as engine:
        engine.isolation.move(beta(engine).id, to=here)
        query = engine.query(beta(engine).id)
        for number in range(3):
            query.insert("projects", {"id": f"p{number}", "name": f"{TOKEN}{number}"})
        query.insert_many("tasks", [{"project_id": "p0", "title": TOKEN} for _ in range(20)])
        before = rows_of(engine)
    wrong: list[str] = []
    ends: list[str] = []
    step, status = 0, signal.SIGKILL
    while status:
        status = move_dying_after(folder, there, step, fine=fine)
        found, strategy = wrong_after(folder, before, here, there)
        wrong += [f"step {step}: {problem}" for problem in found]
        ends.append(strategy)
        if status and strategy == there:
            with partywall.open(folder, watch=False) as engine:
                engine.isolation.move(beta(engine).id, to=here)
        step += every
    print(json.dumps({"kills": len(ends) - 1, "wrong": wrong, "ends": ends}))


if __name__ == "__main__":
    main()
