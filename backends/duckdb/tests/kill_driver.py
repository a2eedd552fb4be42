"""Kills a process that writes and checkpoints all the time, again and again, and opens what it left: run by test_crash.

    python kill_driver.py FOLDER BACKEND ROUNDS SEED

Each round forks a child, so that a round costs no imports. The child opens the store on what the last one left,
checks that every acknowledged row is there, and then writes for three tenants at once until it is killed. What was
acknowledged comes through a pipe. Prints one JSON document.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from conftest import Store

from partywall.backend import Delete, Scan

TENANTS = ("ten_first", "ten_second", "ten_third")
KEPT = 40
"""Transactions of a tenant whose rows stay; older ones are deleted, so that files stay small and a round short."""


class Promised:
    """What has been acknowledged: by tenant, the last transaction and the last deletion."""

    def __init__(self) -> None:
        self.written = dict.fromkeys(TENANTS, 0)
        self.deleted = dict.fromkeys(TENANTS, 0)
        self.commits = 0
        self.restored = 0

    def hear(self, line: str) -> None:
        """Take in what the child said: ``+`` or ``-``, a tenant, a number."""
        sign, tenant, number = line.split()
        target = self.written if sign == "+" else self.deleted
        target[tenant] = int(number)
        self.commits += 1


def check(store: Any, backend: Any, promised: Promised) -> list[str]:
    """What is wrong with what the last child left; learns what was under way when it was killed."""
    wrong = [f"{place}: {problem}" for place, problem in backend.health().items()]
    for tenant in TENANTS:
        rows = {row["id"] for row in store.session(backend, tenant).scan(Scan(store.notes))}
        found, others = ({int(row_id[:-1]) for row_id in rows if row_id.endswith(half)} for half in "ab")
        written, deleted = promised.written[tenant], promised.deleted[tenant]
        # One transaction may have been committed and not acknowledged, and one deletion of all that was old then.
        certain = range(max(deleted, written + 1 - KEPT) + 1, written + 1)
        wrong += [f"{tenant}: acknowledged and lost: {number}" for number in certain if number not in found]
        possible = range(deleted + 1, written + 2)
        wrong += [f"{tenant}: deleted, or never written: {number}" for number in found if number not in possible]
        if found != others or len(found) != max(found, default=0) - min(found, default=1) + 1:
            wrong.append(f"{tenant}: half of a transaction: {sorted(found)} and {sorted(others)}")
        promised.written[tenant] = max([written, *found])
        promised.deleted[tenant] = min(found, default=promised.written[tenant] + 1) - 1
    return wrong


def child(folder: Path, kind: str, promised: Promised, pipe: int) -> None:
    """Open, check, write until the kill comes."""
    store = Store(folder, kind)
    backend = store.open(shards=2, checkpoint_wal_bytes=2_000)
    wrong = check(store, backend, promised)
    state = [promised.written, promised.deleted]
    restored = len([event for event, _ in store.reports if event.endswith(".restored")])
    os.write(pipe, (json.dumps({"wrong": wrong, "state": state, "restored": restored}) + "\n").encode())
    for tenant in TENANTS:
        threading.Thread(target=write, args=(store, backend, tenant, promised, pipe), daemon=True).start()
    while True:
        backend.maintain()
        store.clock.advance(60)


def write(store: Any, backend: Any, tenant: str, promised: Promised, pipe: int) -> None:
    """Transactions of two rows each, acknowledged one by one; what is old is deleted, in one statement."""
    session, gone = store.session(backend, tenant), promised.deleted[tenant]
    for number in range(promised.written[tenant] + 1, 1_000_000_000):
        session.begin()
        store.write_note(session, f"{number}a", title="x" * (number % 300))
        store.write_note(session, f"{number}b")
        session.commit()
        os.write(pipe, f"+ {tenant} {number}\n".encode())
        old = range(gone + 1, number - KEPT + 1)
        if old:
            session.write(Delete(store.notes, [f"{each}{half}" for each in old for half in "ab"]))
            gone = old[-1]
            os.write(pipe, f"- {tenant} {gone}\n".encode())


def killed_round(folder: Path, kind: str, promised: Promised, wanted: int) -> list[str]:
    """What was wrong with what a child found. It is killed after about so many acknowledged commits."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            child(folder, kind, promised, writing)
        except BaseException:  # noqa: BLE001  # a fork must never return into the caller
            os.write(writing, (json.dumps({"wrong": [traceback.format_exc()], "state": []}) + "\n").encode())
        os._exit(1)
    os.close(writing)
    rescue = threading.Timer(60, os.kill, (pid, signal.SIGKILL))
    rescue.start()
    try:
        with os.fdopen(reading) as lines:
            return heard(lines, pid, promised, wanted)
    finally:
        rescue.cancel()
        os.waitpid(pid, 0)


def heard(lines: Any, pid: int, promised: Promised, wanted: int) -> list[str]:
    """Take in all that the child says, and kill it in between."""
    found = json.loads(lines.readline() or '{"wrong": ["the child said nothing"], "state": []}')
    if not found["wrong"]:
        promised.written, promised.deleted = found["state"]
        promised.restored += found["restored"]
    for count, line in enumerate(lines, 1):
        if line.endswith("\n"):
            promised.hear(line)
        if count == wanted:
            os.kill(pid, signal.SIGKILL)
    return list(found["wrong"])


def main() -> None:
    """Kill so many, and tell how it went."""
    folder, kind, rounds, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    chance, promised, wrong = random.Random(seed), Promised(), list[str]()
    kills = 0
    while kills < rounds and not wrong:
        wrong = killed_round(folder, kind, promised, chance.randint(1, 60))
        kills += 1
    wrong = wrong or killed_round(folder, kind, promised, 1)
    print(json.dumps({"kills": kills, "commits": promised.commits, "restored": promised.restored, "wrong": wrong}))


if __name__ == "__main__":
    main()
