from __future__ import annotations

import random
import secrets
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from partywall.backend import Placement
from partywall.errors import LedgerError
from partywall.ledger import AgentProcess, SqliteLedger, Transaction, UsageEvent
from partywall.model import Strategy
from partywall.names import TenantId

KEPT = TenantId("ten_kept")
GONE = TenantId("ten_gone")
TOKEN = f"CANARY{secrets.token_hex(2)}"


LOOK = """
import pathlib, sys
folder, token = pathlib.Path(sys.argv[1]), sys.argv[2].encode()
print([file.name for file in folder.iterdir() if token in file.read_bytes()])
"""


def files_holding(path: Path, token: str) -> str:
    """Looked at by another process: to close the files in this one would drop the ledger's locks."""
    command = [sys.executable, "-S", "-c", LOOK, str(path.parent), token]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()


def fill(ledger: SqliteLedger, seed: int = 5) -> None:
    """Two tenants' rows side by side, in such sizes and such an order that some are copied from page to page."""
    chance = random.Random(seed)

    def work(tx: Transaction) -> None:
        for _ in range(20):
            for tenant, token in ((KEPT, "kept"), (GONE, TOKEN)):
                key = chance.randbytes(chance.randint(4, 40)).hex()
                text = token + "f" * chance.randint(0, 200)
                tx.put_usage_event(UsageEvent(tenant, key, text, "", chance.random(), {}))
                tx.put_agent(AgentProcess(key, tenant, 7, token + "f" * chance.randint(0, 200)))
                if chance.random() < 0.2:
                    tx.forget_usage_events(chance.random() * 0.1)
                if chance.random() < 0.2:
                    for agent in tx.agents()[:3]:
                        tx.forget_agent(agent.agent_id)

    for _ in range(30):
        ledger.write(work)
    for tenant in (KEPT, GONE):
        ledger.write(lambda tx, tenant=tenant: tx.put_placement(Placement(tenant, Strategy.ROW, "b", None, "l")))
        ledger.write(lambda tx, tenant=tenant: tx.set_usage(tenant, "", "users", 1))
    ledger.write(lambda tx: tx.forget_tenant(GONE))


@pytest.mark.parametrize("seed", [2, 5, 7])
def test_g11_after_a_scrub_no_file_holds_a_byte_of_a_forgotten_tenant(
    ledger: SqliteLedger, path: Path, seed: int
) -> None:
    fill(ledger, seed)
    assert files_holding(path, TOKEN) != "[]"
    ledger.scrub()
    assert files_holding(path, TOKEN) == "[]"
    assert files_holding(path, GONE) == "[]"
    assert ledger.read(lambda tx: tx.placement(KEPT)) is not None
    ledger.close()
    assert files_holding(path, GONE) == "[]"


def test_a_scrub_waits_for_a_reader_of_the_old_state(ledger: SqliteLedger, path: Path) -> None:
    fill(ledger)
    reading, done = threading.Event(), threading.Event()

    def slow(tx: Transaction) -> None:
        tx.lifecycles()
        reading.set()
        assert done.wait(10)

    reader = threading.Thread(target=ledger.read, args=(slow,))
    reader.start()
    assert reading.wait(10)
    scrub = threading.Thread(target=ledger.scrub)
    scrub.start()
    ledger.write(lambda tx: tx.set_usage(KEPT, "", "users", 1))
    assert scrub.is_alive()
    done.set()
    scrub.join(10)
    reader.join(10)
    assert files_holding(path, TOKEN) == "[]"


def test_a_scrub_that_readers_keep_from_its_end_says_so(ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partywall.ledger.sqlite._SCRUB_SECONDS", 0.2)
    fill(ledger)

    def look(tx: Transaction) -> None:
        tx.lifecycles()
        with pytest.raises(LedgerError, match="could not be scrubbed"):
            ledger.scrub()

    ledger.read(look)
    ledger.scrub()


def test_deleted_bytes_are_overwritten_even_without_a_scrub(ledger: SqliteLedger, path: Path) -> None:
    ledger.write(lambda tx: tx.put_usage_event(UsageEvent(GONE, "key", TOKEN * 2000, "", 1.0, {})))
    ledger.write(lambda tx: tx.forget_tenant(GONE))
    ledger.close()
    assert files_holding(path, TOKEN) == "[]"
