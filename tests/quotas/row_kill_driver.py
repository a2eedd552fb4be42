"""Kills an engine between a row and its count, again and again, and opens it again: run by test_kills.py.

    python row_kill_driver.py FOLDER ROUNDS SEED

Each round forks a child that opens the engine on what the last one left, compares what is counted with the rows
that there are, and then adds and removes rows from four threads until it kills itself at a word between store and
ledger, chosen by chance. Prints one JSON document.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import partywall
import partywall.engine  # loaded before forking, so that a round costs no imports
import partywall_duckdb.plugin
from partywall import ConstraintViolation, Engine, QuotaExceeded
from partywall.isolation import ScopedQuery
from partywall.quotas.rows import CountedRows

LOADED = (partywall.engine, partywall_duckdb.plugin)
LIMIT = 20
POINTS = ("before expect", "after expect", "before settle", "after settle")


def check(engine: Engine) -> dict[str, Any]:
    """What is wrong, empty when all is well, and how many rows there are."""
    acme = engine.tenants.get_by_slug("acme").id
    rows, status = engine.query(acme).count("projects"), engine.quotas.check(acme).projects
    wrong = [str(difference) for difference in engine.usage.verify()]
    if (status.current, status.reserved) != (rows, 0):
        wrong.append(f"{rows} rows, {status.current} counted, {status.reserved} held")
    if rows > LIMIT:
        wrong.append(f"{rows} rows overspend {LIMIT}")
    return {"wrong": wrong, "rows": rows}


def die_at(point: str, turns: int) -> None:
    """Kill this process at the point, when its turn comes."""
    when, name = point.split()
    method: Callable[..., Any] = getattr(CountedRows, name)
    left = [turns]

    def killing(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if when == "before" and left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        result = method(*args, **kwargs)
        if when == "after" and left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(CountedRows, name, killing)


def work(query: ScopedQuery, seed: int) -> None:
    chance = random.Random(seed)
    while True:
        with suppress(QuotaExceeded, ConstraintViolation):
            step(query, chance)


def step(query: ScopedQuery, chance: random.Random) -> None:
    names = [f"Project {chance.randrange(2 * LIMIT)}" for _ in range(3)]
    match chance.randrange(4):
        case 0:
            query.insert_many("projects", [{"name": name} for name in set(names)])
        case 1:
            query.upsert("projects", {"name": names[0], "status": "again"}, key="name")
        case 2:
            query.delete_where("projects", {"name": names[0]})
        case _:
            with query.transaction():
                query.delete_where("projects", {"name": names[0]})
                query.insert("projects", {"name": names[0]})
                query.upsert("projects", {"name": names[1]}, key="name")


def child(folder: Path, tell: int, seed: int) -> None:
    chance = random.Random(seed)
    with partywall.open(folder, watch=False) as engine:
        os.write(tell, json.dumps(check(engine)).encode())
        die_at(chance.choice(POINTS), chance.randrange(1, 12))
        query = engine.query(engine.tenants.get_by_slug("acme").id)
        threads = [threading.Thread(target=work, args=(query, seed + number), daemon=True) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def run_round(folder: Path, seed: int) -> dict[str, Any]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            child(folder, writing, seed)
        except BaseException as error:  # noqa: BLE001  # told to the parent, whatever it is
            os.write(writing, json.dumps({"wrong": [f"{type(error).__name__}: {error}"], "rows": 0}).encode())
        os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told: dict[str, Any] = json.loads(pipe.read())
    _, status = os.waitpid(pid, 0)
    if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        told["wrong"].append("the child ended before it was killed")
    return told


def main() -> None:
    folder, rounds, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    tenancy = folder / "system" / "tenancy"
    tables = tenancy / "tables.yaml"
    tables.write_text(tables.read_text().replace("  projects:\n", "  projects:\n    quota: projects\n"))
    label = next((tenancy / "tenants").glob("acme*.yaml"))
    label.write_text(f"{label.read_text()}quotas: {{maxProjects: {LIMIT}}}\n")
    found = [run_round(folder, seed * 1_000_000 + 10 * number) for number in range(rounds)]
    with partywall.open(folder, watch=False) as engine:
        found.append(check(engine))
    wrong = [text for each in found for text in each["wrong"]]
    print(json.dumps({"kills": rounds, "wrong": wrong, "rows": [each["rows"] for each in found]}))


if __name__ == "__main__":
    main()
