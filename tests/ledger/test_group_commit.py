from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from partywall.errors import InvalidArgument, LedgerError
from partywall.ledger import AuditRecord, SqliteLedger, Transaction
from partywall.names import TenantId

PileUp = Callable[..., list[Any]]
ACME = TenantId("ten_acme")
WAIT = 10.0


def count(tx: Transaction, metric: str = "users") -> int:
    total = tx.usage(ACME, "").get(metric, 0) + 1
    tx.set_usage(ACME, "", metric, total)
    return total


def statements(ledger: SqliteLedger) -> list[str]:
    seen: list[str] = []
    ledger._writer.outside(lambda connection: connection.set_trace_callback(seen.append))  # type: ignore[union-attr]
    return seen


def test_sixteen_threads_lose_no_count(ledger: SqliteLedger) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = [answer.result() for answer in [pool.submit(ledger.write, count) for _ in range(800)]]
    assert sorted(answers) == list(range(1, 801))
    assert ledger.read(lambda tx: tx.usage(ACME, "")) == {"users": 800}


def test_works_that_wait_together_share_one_commit(ledger: SqliteLedger, pile_up: PileUp) -> None:
    seen = statements(ledger)
    pile_up([count] * 20)
    assert seen.count("COMMIT") == 2
    assert ledger.read(lambda tx: tx.usage(ACME, "")) == {"users": 20}


def test_a_batch_is_bounded(ledger: SqliteLedger, pile_up: PileUp) -> None:
    seen = statements(ledger)
    pile_up([count] * 300)
    assert seen.count("COMMIT") == 3


def test_a_failing_work_undoes_only_itself(ledger: SqliteLedger, pile_up: PileUp) -> None:
    def fails(tx: Transaction) -> None:
        count(tx, "projects")
        tx.append_audit(AuditRecord(1.0, "engine", "tenant.created"))
        raise ValueError("mine")

    outcomes = pile_up([count, fails, count, fails, count])
    assert sorted(outcome for outcome in outcomes if isinstance(outcome, int)) == [1, 2, 3]
    assert [str(outcome) for outcome in outcomes if isinstance(outcome, ValueError)] == ["mine", "mine"]
    assert ledger.read(lambda tx: tx.usage(ACME, "")) == {"users": 3}
    assert ledger.read(lambda tx: tx.audit()) == []


def test_works_that_share_a_commit_read_and_write_a_counter_once(ledger: SqliteLedger, pile_up: PileUp) -> None:
    seen = statements(ledger)
    assert sorted(pile_up([count] * 20)) == list(range(1, 21))
    for statement in ("SELECT metric, total, reserved FROM usage ", "INSERT INTO usage "):
        assert sum(each.startswith(statement) for each in seen) == 1


def test_a_refusal_that_wrote_nothing_makes_no_neighbour_run_again(ledger: SqliteLedger, pile_up: PileUp) -> None:
    runs: list[str] = []

    def counts(tx: Transaction) -> int:
        runs.append("counts")
        return count(tx)

    def refuses(tx: Transaction) -> None:
        tx.usage(ACME, "")
        raise ValueError("full")

    pile_up([counts, refuses, counts])
    assert len(runs) == 2


def test_what_is_forgotten_is_not_counted_on_from_what_its_batch_remembers(
    ledger: SqliteLedger, pile_up: PileUp
) -> None:
    def forgets(tx: Transaction) -> None:
        tx.forget_tenant(ACME)

    outcomes = pile_up([*[count] * 4, forgets, *[count] * 4])
    after = ledger.read(lambda tx: tx.usage(ACME, "")).get("users", 0)
    counts = [outcome for outcome in outcomes if outcome is not None]
    assert sorted(counts) == sorted([*range(1, len(counts) - after + 1), *range(1, after + 1)])


def test_a_text_that_the_file_cannot_hold_is_its_own_works_error(ledger: SqliteLedger, pile_up: PileUp) -> None:
    def broken(tx: Transaction) -> None:
        tx.set_usage(TenantId("ten_\ud800"), "", "users", 1)

    outcomes = pile_up([count, broken, count])
    assert sorted(outcome for outcome in outcomes if isinstance(outcome, int)) == [1, 2]
    assert sum(isinstance(outcome, InvalidArgument) for outcome in outcomes) == 1
    assert ledger.read(lambda tx: tx.usage(ACME, "")) == {"users": 2}


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupt_in_a_work_reaches_its_caller_and_spares_the_writer(
    ledger: SqliteLedger, interrupt: type[BaseException]
) -> None:
    def interrupted(tx: Transaction) -> None:
        count(tx)
        raise interrupt

    with pytest.raises(interrupt):
        ledger.write(interrupted)
    assert ledger.write(count) == 1


def test_a_failed_commit_fails_everybody_and_writes_nothing(ledger: SqliteLedger, pile_up: PileUp) -> None:
    writer = ledger._writer
    assert writer is not None

    def spoil(connection: sqlite3.Connection) -> None:
        # A deferred constraint that is broken is found by COMMIT itself.
        connection.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY) STRICT")
        connection.execute(
            "CREATE TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED) STRICT"
        )
        connection.execute("CREATE TEMP TRIGGER spoil AFTER INSERT ON usage BEGIN INSERT INTO child VALUES (1); END")

    writer.outside(spoil)
    outcomes = pile_up([count] * 5)
    assert [type(outcome) for outcome in outcomes] == [LedgerError] * 5
    assert len({id(outcome) for outcome in outcomes}) == 5
    assert all(isinstance(outcome.__cause__, sqlite3.Error) for outcome in outcomes)
    assert ledger.read(lambda tx: tx.usage(ACME, "")) == {}
    writer.outside(lambda connection: connection.execute("DROP TRIGGER spoil"))
    assert ledger.write(count) == 1


def test_a_write_inside_a_write_is_refused(ledger: SqliteLedger) -> None:
    for nested in (lambda: ledger.write(count), ledger.scrub, ledger.close):
        with pytest.raises(LedgerError, match="its own transaction"):
            ledger.write(lambda tx, nested=nested: nested())
    assert ledger.write(count) == 1


def test_a_work_runs_in_the_context_of_its_caller(ledger: SqliteLedger) -> None:
    who: ContextVar[str] = ContextVar("who")
    who.set("me")
    assert ledger.write(lambda tx: who.get()) == "me"


def test_a_write_is_seen_by_every_read_that_begins_after_it(ledger: SqliteLedger) -> None:
    def write_then_read(_: int) -> bool:
        mine = ledger.write(count)
        return ledger.read(lambda tx: tx.usage(ACME, "")["users"]) >= mine

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(write_then_read, range(400)))


def test_a_read_sees_one_state_while_others_write(ledger: SqliteLedger) -> None:
    ledger.write(count)

    def look(tx: Transaction) -> tuple[int, int]:
        before = tx.usage(ACME, "")["users"]
        with ThreadPoolExecutor(1) as pool:
            pool.submit(ledger.write, count).result(WAIT)
        return before, tx.usage(ACME, "")["users"]

    assert ledger.read(look) == (1, 1)
    assert ledger.read(lambda tx: tx.usage(ACME, "")) == {"users": 2}


def test_a_read_inside_a_read_and_inside_a_write_is_served(ledger: SqliteLedger) -> None:
    def depth(levels: int) -> int:
        return levels if levels == 12 else ledger.read(lambda tx: depth(levels + 1))

    assert depth(0) == 12
    assert ledger.write(lambda tx: ledger.read(lambda inner: inner.usage(ACME, ""))) == {}


def test_closing_commits_what_waits_and_then_refuses(ledger: SqliteLedger, pile_up: PileUp, path: Path) -> None:
    outcomes = pile_up([count] * 8, ledger.close)
    assert sorted(outcomes) == list(range(1, 9))
    for refused in (lambda: ledger.write(count), lambda: ledger.read(count), ledger.changed, ledger.scrub):
        with pytest.raises(LedgerError, match="closed"):
            refused()
    ledger.close()
    again = SqliteLedger(path)
    assert again.read(lambda tx: tx.usage(ACME, "")) == {"users": 8}
    again.close()
