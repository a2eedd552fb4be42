"""Kills an engine whose threads reserve and spend, again and again, and opens it again: run by test_kills.py.

    python kill_driver.py FOLDER KILLS RESERVATIONS SEED

Four processes own the folder in turn: each waits until the one before it is killed, opens the engine on what was
left, tells what it finds, and then makes reservations from 16 threads until it is killed too, after a number of
reservations that chance chooses (RESERVATIONS in all, on average). What is about to be counted, and what was, is
told through a pipe before the next step begins. Prints one JSON document.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import partywall
import partywall.engine  # loaded before forking, so that a round costs no imports
import partywall_duckdb.plugin
from partywall import Engine
from partywall.errors import QuotaExceeded
from partywall.quotas import Reservation

LOADED = (partywall.engine, partywall_duckdb.plugin)
PROCESSES = 4
THREADS = 16
LIMITS = {"tokens": 20_000, "projects": 10}
SILENCE = 60.0
"""Seconds after which a process that tells nothing is taken for stuck."""
Event = dict[str, Any]
Tell = Callable[[Event], None]


class State:
    """What was acknowledged as counted, and what each thread was about to count when it was last heard of."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self.doubt: dict[int, dict[str, int]] = {}
        self.reserved = self.settled = 0
        self.wrong: list[str] = []

    def apply(self, event: Event) -> None:
        match event["phase"]:
            case "opened":
                self.judge(event)
            case "reserved":
                self.reserved += 1
            case "begin":
                self.doubt[event["thread"]] = event["amounts"]
            case "done":
                self.doubt.pop(event["thread"], None)
                self.settled += 1
                self.counted.update(event["amounts"])
            case _:
                self.wrong.append(event["error"])

    def judge(self, found: Event) -> None:
        """Compare what a new engine finds with what was acknowledged, and go on from what it finds."""
        totals = found["totals"]
        self.wrong += found["differences"]
        self.wrong += [f"{metric} still held: {held}" for metric, held in found["reserved"].items() if held]
        for metric, limit in LIMITS.items():
            doubts = [amounts.get(metric, 0) for amounts in self.doubt.values()]
            least = self.counted[metric] + sum(amount for amount in doubts if amount < 0)
            most = self.counted[metric] + sum(amount for amount in doubts if amount > 0)
            if totals[metric] > limit:
                self.wrong.append(f"{metric} overspent: {totals[metric]}")
            if not least <= totals[metric] <= most:
                self.wrong.append(f"{metric} is {totals[metric]}, acknowledged {least} to {most}")
        self.doubt.clear()
        self.counted = Counter({metric: totals[metric] for metric in LIMITS})


def finding(engine: Engine) -> Event:
    """What an engine finds when it has opened."""
    acme = engine.tenants.get_by_slug("acme").id
    differences = [str(difference) for difference in engine.usage.verify()]
    found = {"totals": dict(engine.usage.totals(acme)), "reserved": dict(engine.usage.reserved(acme))}
    return {"phase": "opened", "differences": differences, **found}


class Life:
    """A process that is forked beforehand and opens the engine when its turn comes."""

    def __init__(self, folder: Path, others: deque[Life]) -> None:
        self.reading, tell = os.pipe()
        turn, self.turn = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            for other in (self, *others):
                os.close(other.turn)
                os.close(other.reading)
            live(folder, turn, tell)
        os.close(tell)
        os.close(turn)

    def events(self) -> Iterator[Event]:
        """What it tells, until it has ended; a line that the kill cut off is not heard."""
        left = b""
        while True:
            if not select.select([self.reading], [], [], SILENCE)[0]:
                yield {"phase": "failed", "error": "a process is stuck"}
                return
            heard = os.read(self.reading, 65_536)
            if not heard:
                return
            *lines, left = (left + heard).split(b"\n")
            yield from map(json.loads, lines)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def bury(self) -> None:
        self.kill()  # whoever is not dead yet is stuck
        os.waitpid(self.pid, 0)
        os.close(self.reading)
        os.close(self.turn)


def live(folder: Path, turn: int, tell: int) -> None:
    lock = threading.Lock()

    def told(event: Event) -> None:
        with lock:
            os.write(tell, (json.dumps(event) + "\n").encode())

    try:
        if os.read(turn, 1):
            work(folder, told)
    except BaseException as error:  # noqa: BLE001  # told to the parent, whatever it is
        told({"phase": "failed", "error": f"{type(error).__name__}: {error}"})
    os._exit(1)


def work(folder: Path, tell: Tell) -> None:
    engine = partywall.open(folder, watch=False)
    found = finding(engine)
    tell(found)
    acme = engine.tenants.get_by_slug("acme").id
    make_room(engine, acme, found["totals"], tell)
    threads = [threading.Thread(target=spend, args=(engine, acme, number, tell)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def make_room(engine: Engine, acme: str, totals: dict[str, int], tell: Tell) -> None:
    """Takes off what earlier lives have used up, so that this one has something to fight for."""
    for metric, limit in LIMITS.items():
        if totals[metric] > limit * 0.7:
            event = {"thread": -1, "amounts": {metric: -totals[metric]}}
            tell({**event, "phase": "begin"})
            engine.usage.increment(acme, metric, -totals[metric], reason="a new life")
            tell({**event, "phase": "done"})


def spend(engine: Engine, acme: str, thread: int, tell: Tell) -> None:
    chance = random.Random()
    while True:
        amounts = {"tokens": chance.randrange(1, 40), "projects": chance.randrange(1, 4)}
        try:
            with engine.quotas.reserve(acme, lease=chance.choice([1, 60]), **amounts) as held:
                tell({"phase": "reserved"})
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


def run_life(life: Life, state: State, reservations: int) -> None:
    """Give the process its turn, and kill it once it has made so many reservations."""
    os.write(life.turn, b"!")
    until, killed = state.reserved + reservations, False
    for event in life.events():
        state.apply(event)
        if not killed and state.reserved >= until:
            life.kill()
            killed = True
    if not killed:
        state.wrong.append("a process ended before it was killed")
    life.bury()


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
    folder, kills, reservations = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(int(sys.argv[4]))
    prepare(folder)
    state, lives = State(), deque[Life]()
    for number in range(kills):
        while len(lives) < min(PROCESSES, kills - number):
            lives.append(Life(folder, lives))
        run_life(lives.popleft(), state, chance.randrange(1, 2 * reservations // kills))
    with partywall.open(folder, watch=False) as engine:
        state.judge(finding(engine))
    counted = dict(state.counted)
    told = {"kills": kills, "reserved": state.reserved, "settled": state.settled, "counted": counted}
    print(json.dumps({**told, "wrong": state.wrong}))


if __name__ == "__main__":
    main()
