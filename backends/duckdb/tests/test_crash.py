# tests need no docstrings
from __future__ import annotations

import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from partywall.backend import Scan

WRITING = """
import sys, threading
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import Store

store = Store(Path(sys.argv[2]), sys.argv[4])
backend = store.open(shards=2, checkpoint_wal_bytes=2000)
said = threading.Lock()

def write(tenant):
    session = store.session(backend, tenant)
    for number in range(100_000):
        row_id = f"{sys.argv[3]}-{number}"
        session.begin()
        store.write_note(session, row_id + "-a", title="x" * (number % 300))
        store.write_note(session, row_id + "-b")
        session.commit()
        with said:
            print(tenant, row_id, flush=True)

for tenant in ("ten_first", "ten_second", "ten_third"):
    threading.Thread(target=write, args=(tenant,), daemon=True).start()
while True:
    backend.maintain()
    store.clock.advance(60)
"""


def killed_while_writing(store: Any, round_: int, wanted: int) -> set[tuple[str, str]]:
    """What a writing process had acknowledged when it was killed, after about ``wanted`` transactions."""
    kit = str(Path(__file__).parent)
    arguments = [sys.executable, "-c", WRITING, kit, str(store.folder), str(round_), store.kind]
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    rescue = threading.Timer(60, child.kill)
    rescue.start()
    assert child.stdout is not None
    acknowledged: list[str] = []
    for line in child.stdout:
        acknowledged.append(line)
        if len(acknowledged) == wanted:
            child.kill()
    rescue.cancel()
    child.stdout.close()
    child.wait(60)
    whole = [line.split() for line in acknowledged if line.endswith("\n")]
    return {(tenant, row_id) for tenant, row_id in whole}


def require_everything(store: Any, acknowledged: set[tuple[str, str]]) -> None:
    backend = store.open()
    for tenant in ("ten_first", "ten_second", "ten_third"):
        rows = {row["id"] for row in store.session(backend, tenant).scan(Scan(store.notes))}
        wanted = {row_id for owner, row_id in acknowledged if owner == tenant}
        assert {f"{row_id}-{part}" for row_id in wanted for part in "ab"} <= rows
        whole = {row_id[:-2] for row_id in rows}
        assert rows == {f"{row_id}-{part}" for row_id in whole for part in "ab"}
    assert backend.health() == {}
    backend.close()


def kill_again_and_again(store: Any, rounds: int) -> None:
    chance = random.Random(7)
    acknowledged: set[tuple[str, str]] = set()
    for round_ in range(rounds):
        acknowledged |= killed_while_writing(store, round_, chance.randint(5, 120))
        require_everything(store, acknowledged)
    assert len(acknowledged) > rounds * 5


def test_every_acknowledged_row_is_found_after_kills_at_random_moments(store: Any) -> None:
    kill_again_and_again(store, 10)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_acknowledged_row_is_found_after_very_many_kills(store: Any) -> None:
    kill_again_and_again(store, 300)
