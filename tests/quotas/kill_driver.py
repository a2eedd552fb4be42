"""Kills an engine whose threads reserve and spend, again and again, and opens it again: run by test_kills.py.

    python kill_driver.py FOLDER ROUNDS SEED

Each round forks a child that opens the engine on what the last one left, checks it, and then makes reservations
from 16 threads until it is killed. What is about to be counted, and what was, is told through a pipe before the
next step begins. Prints one JSON document.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import partywall
import partywall.engine  # loaded before forking, so that a round costs no imports
import partywall_duckdb.plugin
from partywall import Engine
from partywall.errors import QuotaExceeded
from partywall.quotas import Reservation

LOADED = (partywall.engine, partywall_duckdb.plugin)
THREADS = 16
LIMITS = {"tokens": 20_000, "projects": 10}
Tell = Callable[[dict[str, Any]], None]


class State:
    """What was acknowledged as counted, and what each thread was about to count when it was last heard of."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self.doubt: dict[int, dict[str, int]] = {}
        self.made = 0

    def apply(self, event: dict[str, Any]) -> None:
        if event["phase"] == "begin":
            self.doubt[event["thread"]] = event["amounts"]
            return
        self.doubt.pop(event["thread"], None)
        self.made += 1
        self.counted.update(event["amounts"])


def check(engine: Engine, state: State) -> list[str]:
    """What is wrong; empty when all is well."""
    acme = engine.tenants.get_by_slug("acme").id
    totals = engine.usage.totals(acme)
    wrong = [f"{metric} overspent: {totals[metric]}" for metric, limit in LIMITS.items() if totals[metric] > limit]
    wrong += [f"{metric} still held: {held}" for metric, held in engine.usage.reserved(acme).items() if held]
    wrong += [str(difference) for difference in engine.usage.verify()]
    for metric in LIMITS:
        doubts = [amounts.get(metric, 0) for amounts in state.doubt.values()]
        least = state.counted[metric] + sum(amount for amount in doubts if amount < 0)
        most = state.counted[metric] + sum(amount for amount in doubts if amount > 0)
        if not least <= totals[metric] <= most:
            wrong.append(f"{metric} is {totals[metric]}, acknowledged {least} to {most}")
    state.doubt.clear()
    state.counted = Counter({metric: totals[metric] for metric in LIMITS})
    return wrong


def child(folder: Path, state: State, tell: Tell) -> None:
    engine = partywall.open(folder, watch=False)
    wrong = check(engine, state)
    tell({"checked": wrong, "counted": dict(state.counted)})
    acme = engine.tenants.get_by_slug("acme").id
    make_room(engine, acme, state, tell)
    for thread in range(THREADS):
        threading.Thread(target=spend, args=(engine, acme, thread, tell), daemon=True).start()
    time.sleep(30)


def make_room(engine: Engine, acme: str, state: State, tell: Tell) -> None:
    """Takes off what earlier lives have used up, so that this one has something to fight for."""
    for metric, limit in LIMITS.items():
        used = state.counted[metric]
        if used > limit * 0.7:
            event = {"thread": -1, "amounts": {metric: -used}}
            tell({**event, "phase": "begin"})
            engine.usage.increment(acme, metric, -used, reason="a new life")
            tell({**event, "phase": "done"})


def spend(engine: Engine, acme: str, thread: int, tell: Tell) -> None:
    chance = random.Random()
    while True:
        amounts = {"tokens": chance.randrange(1, 400), "projects": chance.randrange(1, 4)}
        try:
            with engine.quotas.reserve(acme, lease=chance.choice([1, 60]), **amounts) as held:
                settle(engine, acme, thread, tell, chance, held)
        except QuotaExceeded:
            continue


def settle(engine: Engine, acme: str, thread: int, tell: Tell, chance: random.Random, held: Reservation) -> None:
    choice = chance.random()
    if choice < 0.2:
        return
    used = {metric: chance.randrange(amount + 1) for metric, amount in held.amounts.items()}
    tell({"phase": "begin", "thread": thread, "amounts": used})
    held.commit(**used)
    tell({"phase": "done", "thread": thread, "amounts": used})
    if used["projects"]:
        back = {"projects": -used["projects"]}
        tell({"phase": "begin", "thread": thread, "amounts": back})
        engine.usage.increment(acme, "projects", back["projects"])
        tell({"phase": "done", "thread": thread, "amounts": back})


def run_round(folder: Path, state: State) -> list[str]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        lock = threading.Lock()

        def tell(event: dict[str, Any]) -> None:
            with lock:
                os.write(writing, (json.dumps(event) + "\n").encode())

        try:
            child(folder, state, tell)
        except BaseException as error:  # noqa: BLE001  # told to the parent, whatever it is
            tell({"checked": [f"{type(error).__name__}: {error}"]})
        os._exit(1)
    os.close(writing)
    timer = threading.Timer(random.uniform(0.05, 0.6), os.kill, (pid, signal.SIGKILL))
    timer.start()
    with os.fdopen(reading, "rb") as pipe:
        lines = pipe.read().splitlines(keepends=True)
    timer.join()
    os.waitpid(pid, 0)
    wrong: list[str] = []
    for line in lines:
        if not line.endswith(b"\n"):
            continue
        event = json.loads(line)
        if "checked" in event:
            wrong += event["checked"]
            state.counted = Counter(event.get("counted", state.counted))
            state.doubt.clear()
        else:
            state.apply(event)
    return wrong


def prepare(folder: Path) -> None:
    with partywall.open(folder, watch=False) as engine:
        acme = engine.tenants.get_by_slug("acme")
        label = next((folder / "system" / "tenancy" / "tenants").glob("acme*.yaml"))
        quotas = f"quotas:\n  maxTokensPerMonth: {LIMITS['tokens']}\n  maxProjects: {LIMITS['projects']}\n"
        label.write_text(label.read_text() + quotas)
        engine.catalog.refresh()
        limits = engine.tenants.get(acme.id).quotas
        assert (limits.tokens, limits.projects) == (LIMITS["tokens"], LIMITS["projects"])


def main() -> None:
    folder, rounds, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    random.seed(seed)
    prepare(folder)
    state = State()
    wrong: list[str] = []
    for _ in range(rounds):
        wrong += run_round(folder, state)
    with partywall.open(folder, watch=False) as engine:
        wrong += check(engine, state)
    print(json.dumps({"kills": rounds, "wrong": wrong, "settled": state.made, "counted": dict(state.counted)}))


if __name__ == "__main__":
    main()
