from __future__ import annotations

import logging
import threading
from queue import SimpleQueue

import pytest

from partywall.ledger import AuditRecord, SqliteLedger, Transaction


def record(number: int) -> AuditRecord:
    return AuditRecord(1.0, "engine", "tenant.created", details={"n": number})


def test_listeners_hear_each_record_in_order_after_its_commit(ledger: SqliteLedger) -> None:
    heard: SimpleQueue[tuple[AuditRecord, bool]] = SimpleQueue()

    def listen(heard_record: AuditRecord) -> None:
        committed = ledger.read(lambda tx: tx.audit(after=heard_record.sequence - 1, limit=1))
        heard.put((heard_record, committed == [heard_record]))

    ledger.on_audit(listen)
    threads = [
        threading.Thread(target=lambda n=n: [ledger.write(lambda tx: tx.append_audit(record(n))) for _ in range(50)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    got = [heard.get(timeout=10) for _ in range(200)]
    for thread in threads:
        thread.join(10)
    assert [each.sequence for each, _ in got] == list(range(1, 201))
    assert all(committed for _, committed in got)


def test_listeners_do_not_hear_of_what_was_undone(ledger: SqliteLedger) -> None:
    heard: SimpleQueue[AuditRecord] = SimpleQueue()
    ledger.on_audit(heard.put)

    def fails(tx: Transaction) -> None:
        tx.append_audit(record(1))
        raise LookupError

    with pytest.raises(LookupError):
        ledger.write(fails)
    ledger.write(lambda tx: tx.append_audit(record(2)))
    assert heard.get(timeout=10).details == {"n": 2}


def test_a_listener_that_fails_is_logged_and_the_others_hear(
    ledger: SqliteLedger, caplog: pytest.LogCaptureFixture
) -> None:
    heard: SimpleQueue[AuditRecord] = SimpleQueue()

    def fails(_: AuditRecord) -> None:
        raise RuntimeError("listener")

    ledger.on_audit(fails)
    ledger.on_audit(heard.put)
    with caplog.at_level(logging.ERROR, "partywall.ledger"):
        for number in range(2):
            ledger.write(lambda tx, number=number: tx.append_audit(record(number)))
            assert heard.get(timeout=10).details == {"n": number}
    assert [entry.name for entry in caplog.records] == ["partywall.ledger"] * 2


def test_a_listener_may_write_and_a_slow_one_holds_up_nobody(ledger: SqliteLedger) -> None:
    opened, heard = threading.Event(), threading.Event()

    def listen(each: AuditRecord) -> None:
        assert opened.wait(10)
        if each.details["n"] == 0:
            ledger.write(lambda tx: tx.append_audit(record(100)))
        if each.details["n"] == 100:
            heard.set()

    ledger.on_audit(listen)
    for number in range(20):
        ledger.write(lambda tx, number=number: tx.append_audit(record(number)))
    opened.set()
    assert heard.wait(10)


def test_closing_lets_listeners_hear_the_last_record(ledger: SqliteLedger) -> None:
    heard: list[int] = []
    ledger.on_audit(lambda each: heard.append(each.sequence))
    for number in range(30):
        ledger.write(lambda tx, number=number: tx.append_audit(record(number)))
    ledger.close()
    assert heard == list(range(1, 31))
