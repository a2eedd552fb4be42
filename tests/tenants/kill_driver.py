"""Kills a writing engine at random moments, again and again, and opens it again: run by test_kills.py.

    python kill_driver.py FOLDER ROUNDS SEED

Each round forks a child that opens the engine, checks that everything acknowledged before is there, and then
writes rows, usage and lifecycle steps from three threads until it is killed. What was acknowledged is told
through a pipe before the next operation begins. Prints one JSON document.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import partywall
import partywall.engine  # loaded before forking, so that a round costs no imports
import partywall_duckdb.plugin
from partywall import Engine
from partywall.backend import Scan

OWNER = {"user_id": "u", "email": "u@x.test", "name": "U"}
LOADED = (partywall.engine, partywall_duckdb.plugin, Scan)


class State:
    """What was acknowledged, and the one operation of each writer that may or may not have happened."""

    def __init__(self) -> None:
        self.rows: dict[str, set[str]] = {"acme": set(), "beta-labs": set()}
        self.pairs: set[str] = set()
        self.usage = 0
        self.status: dict[str, str] = {}
        self.doubt: dict[str, Any] = {}

    def apply(self, event: dict[str, Any]) -> None:
        kind = event["kind"]
        if event["phase"] == "begin":
            self.doubt[event["writer"]] = event
            return
        self.doubt.pop(event["writer"], None)
        if kind == "row":
            self.rows[event["slug"]].add(event["id"])
        elif kind == "pair":
            self.pairs.add(event["id"])
        elif kind == "usage":
            self.usage = event["total"]
        else:
            self.status[event["slug"]] = event["status"]


def check(engine: Engine, state: State) -> list[str]:
    """What is missing or half done; empty when all is well."""
    wrong: list[str] = []
    for slug, ids in state.rows.items():
        found = {row["id"] for row in engine.query(engine.tenants.get_by_slug(slug).id).select("documents")}
        wrong += [f"row {row_id} of {slug} is lost" for row_id in ids - found]
    beta = engine.query(engine.tenants.get_by_slug("beta-labs").id)
    projects = {row["name"] for row in beta.select("projects")}
    tasks = {row["title"] for row in beta.select("tasks")}
    wrong += [f"transaction {pair} is lost" for pair in state.pairs - projects]
    wrong += [f"transaction {pair} is half done" for pair in projects ^ tasks]
    total = engine.usage.totals(engine.tenants.get_by_slug("acme").id)["tokens"]
    slack = 1 if any(event["kind"] == "usage" for event in state.doubt.values()) else 0
    if not state.usage <= total <= state.usage + slack:
        wrong.append(f"usage is {total}, acknowledged {state.usage}")
    doubted = {event["slug"]: event["status"] for event in state.doubt.values() if event["kind"] == "status"}
    present = {tenant.slug: str(tenant.status) for tenant in engine.tenants.list()}
    for slug, status in state.status.items():
        actual = present.get(slug, "purged")
        if actual not in (status, doubted.get(slug)):
            wrong.append(f"{slug} is {actual}, acknowledged {status}")
        if actual == "active":
            engine.query(engine.tenants.get_by_slug(slug).id).count("projects")
    if engine.tenants.recover():
        wrong.append("an operation is unfinished after the start")
    return wrong


def settle(engine: Engine, state: State) -> None:
    """What was in doubt is known now."""
    state.doubt.clear()
    state.usage = engine.usage.totals(engine.tenants.get_by_slug("acme").id)["tokens"]
    present = {tenant.slug: str(tenant.status) for tenant in engine.tenants.list()}
    slugs = state.status.keys() | {slug for slug in present if slug.startswith("org-")}
    state.status = {slug: present.get(slug, "purged") for slug in sorted(slugs)}


def child(folder: Path, state: State, tell: Callable[[dict[str, Any]], None], number: int) -> None:
    engine = partywall.open(folder, watch=False)
    wrong = check(engine, state)
    settle(engine, state)
    tell({"checked": wrong, "usage": state.usage, "status": state.status})
    writers = (write_rows, write_pairs, live)
    for writer in writers:
        threading.Thread(target=writer, args=(engine, state, tell, number), daemon=True).start()
    time.sleep(30)


def write_rows(engine: Engine, state: State, tell: Callable[[dict[str, Any]], None], number: int) -> None:
    acme = engine.tenants.get_by_slug("acme").id
    query = engine.query(acme)
    while True:
        event = {"writer": "rows", "kind": "row", "slug": "acme", "id": ""}
        tell({**event, "phase": "begin"})
        row = query.insert("documents", {"title": "t", "body": "x" * random.randrange(2000)})
        tell({**event, "id": row["id"], "phase": "done"})
        usage = {"writer": "rows", "kind": "usage"}
        tell({**usage, "phase": "begin"})
        tell({**usage, "total": engine.usage.increment(acme, "tokens"), "phase": "done"})


def write_pairs(engine: Engine, state: State, tell: Callable[[dict[str, Any]], None], number: int) -> None:
    query = engine.query(engine.tenants.get_by_slug("beta-labs").id)
    for count in range(1_000_000):
        name = f"{number}.{count}"
        event = {"writer": "pairs", "kind": "pair", "id": name}
        tell({**event, "phase": "begin"})
        with query.transaction():
            project = query.insert("projects", {"name": name})
            query.insert("tasks", {"project_id": project["id"], "title": name})
        tell({**event, "phase": "done"})


def live(engine: Engine, state: State, tell: Callable[[dict[str, Any]], None], number: int) -> None:
    while True:
        slug = f"org-{random.randrange(8)}"
        status = state.status.get(slug, "purged")
        step, after = random.choice(STEPS[status])
        event = {"writer": "life", "kind": "status", "slug": slug, "status": after}
        tell({**event, "phase": "begin"})
        step(engine, slug)
        state.status[slug] = after
        tell({**event, "phase": "done"})


def by_slug(step: str, **arguments: Any) -> Callable[[Engine, str], None]:
    def run(engine: Engine, slug: str) -> None:
        getattr(engine.tenants, step)(engine.tenants.get_by_slug(slug).id, **arguments)

    return run


def create(engine: Engine, slug: str) -> None:
    engine.tenants.create(name=slug, slug=slug, plan="free", owner=OWNER)


STEPS: dict[str, list[tuple[Callable[[Engine, str], None], str]]] = {
    "purged": [(create, "active")],
    "active": [
        (by_slug("suspend", reason="unpaid"), "suspended"),
        (by_slug("delete"), "deleted"),
        (by_slug("change_plan", plan="starter"), "active"),
    ],
    "suspended": [(by_slug("resume"), "active"), (by_slug("delete"), "deleted")],
    "deleted": [(by_slug("purge", before_due=True), "purged")],
}


def run_round(folder: Path, state: State, number: int) -> list[str]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        lock = threading.Lock()

        def tell(event: dict[str, Any]) -> None:
            with lock:
                os.write(writing, (json.dumps(event) + "\n").encode())

        try:
            child(folder, state, tell, number)
        except BaseException as error:  # noqa: BLE001  # told to the parent, whatever it is
            tell({"checked": [f"{type(error).__name__}: {error}"]})
        os._exit(1)
    os.close(writing)
    # Most are killed at work, however slow the machine opens an engine; some while they open and recover.
    early = random.random() < 0.2
    timer = threading.Timer(random.uniform(0.0, 0.3), os.kill, (pid, signal.SIGKILL))
    if early:
        timer.start()
    wrong: list[str] = []
    with os.fdopen(reading, "rb") as pipe:
        for line in pipe:
            if not line.endswith(b"\n"):
                continue
            event = json.loads(line)
            if "checked" not in event:
                state.apply(event)
                continue
            wrong += event["checked"]
            state.usage = event.get("usage", state.usage)
            state.status = event.get("status", state.status)
            state.doubt.clear()
            if timer.ident is None:
                timer.start()
    if timer.ident is not None:
        timer.join()
    os.waitpid(pid, 0)
    return wrong


def main() -> None:
    folder, rounds, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    random.seed(seed)
    state = State()
    wrong: list[str] = []
    for number in range(rounds):
        wrong += run_round(folder, state, number)
        random.seed(seed * 100_003 + number)
    with partywall.open(folder, watch=False) as engine:
        wrong += check(engine, state)
    rows = sum(map(len, state.rows.values())) + len(state.pairs)
    print(json.dumps({"kills": rounds, "wrong": wrong, "rows": rows, "usage": state.usage}))


if __name__ == "__main__":
    main()
