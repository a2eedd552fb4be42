"""Many threads at once, and statements that are stopped from outside."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from partywall.backend import Capability, Delete, Insert, Scan, Session, Update
from partywall.conformance.suite.kit import MINE, OTHERS, Kit, Store, ids_of, refusal, requires
from partywall.conformance.suite.sample import SPECIMENS, specimen, token, token_row
from partywall.names import TenantId

__all__ = ["Concurrency"]

ROUNDS = 12


def work_of(store: Store, tenant: TenantId, canary: str) -> None:
    """Committed, undone and changed rows, each round in a session of its own."""
    for number in range(ROUNDS):
        session = store.backend.session(store.placed(tenant))
        session.begin()
        session.write(Insert(SPECIMENS, [token_row(f"r{number}", canary), token_row(f"s{number}", canary)]))
        session.commit()
        session.begin()
        session.write(Delete(SPECIMENS, [f"r{number}"]))
        session.rollback()
        session.write(Update(SPECIMENS, [f"s{number}"], {"amount": number}))
        seen = session.scan(Scan(SPECIMENS))
        assert len(seen) == 2 * (number + 1)
        assert {row["label"] for row in seen} == {canary}
        session.close()


class Concurrency(Kit):
    """Threads of several tenants, and of one."""

    def test_writers_of_several_tenants_at_once_keep_to_their_own(self, store: Store) -> None:
        tenants = [TenantId(f"ten_busy{number:02d}") for number in range(6)]
        for tenant in tenants:
            store.placed(tenant)
        with ThreadPoolExecutor(len(tenants)) as pool:
            done = [pool.submit(work_of, store, tenant, f"canary of {tenant}") for tenant in tenants]
            for each in done:
                each.result(timeout=60)
        for tenant in tenants:
            rows = store.rows(tenant)
            assert len(rows) == 2 * ROUNDS
            assert {row["label"] for row in rows} == {f"canary of {tenant}"}
            assert len([row for row in rows if row["amount"] is not None]) == ROUNDS

    def test_readers_beside_a_writer_see_whole_transactions(self, store: Store) -> None:
        store.placed(MINE)
        ended = threading.Event()

        def read() -> int:
            session, looks = store.backend.session(store.placed(MINE)), 0
            while not (ended.is_set() and looks):
                assert len(session.scan(Scan(SPECIMENS))) % 2 == 0, "half a transaction"
                looks += 1
            session.close()
            return looks

        with ThreadPoolExecutor(3) as pool:
            readers = [pool.submit(read) for _ in range(2)]
            try:
                work_of(store, MINE, token())
            finally:
                ended.set()
            assert all(reader.result(timeout=60) for reader in readers)

    def test_tenants_come_and_go_while_others_work(self, store: Store) -> None:
        store.placed(MINE)
        passing = [TenantId(f"ten_pass{number:02d}") for number in range(6)]

        def pass_by() -> None:
            for tenant in passing:
                store.backend.provision(tenant, None)
                session = store.backend.session(store.placed(tenant))
                session.write(Insert(SPECIMENS, [specimen("r0", label="passing")]))
                session.close()
                store.backend.drop(store.placed(tenant))

        with ThreadPoolExecutor(2) as pool:
            done = [pool.submit(work_of, store, MINE, "stays"), pool.submit(pass_by)]
            for each in done:
                each.result(timeout=60)
        assert len(store.rows(MINE)) == 2 * ROUNDS
        assert [store.rows(tenant) for tenant in passing] == [[]] * len(passing)

    @requires(Capability.INTERRUPTS)
    def test_an_interrupted_statement_fails_soon_and_its_transaction_writes_nothing(self, store: Store) -> None:
        rows = [specimen(f"r{number:05d}", label="x" * 200) for number in range(2_000)]
        for tenant in (MINE, OTHERS[0]):
            store.session(tenant).write(Insert(SPECIMENS, rows))
        session, writing, stopped = store.session(MINE), threading.Event(), threading.Event()

        def work() -> Exception:
            try:
                session.begin()
                session.write(Insert(SPECIMENS, [specimen("never")]))
                writing.set()
                return refusal(lambda: _until_stopped(session, stopped))
            finally:
                stopped.set()

        with ThreadPoolExecutor(1) as pool:
            working = pool.submit(work)
            writing.wait(self.patience)
            for _ in range(int(self.patience / 0.002)):
                if stopped.wait(0.002):
                    break
                session.interrupt()
            stopped.set()
            assert not isinstance(working.result(timeout=60), TimeoutError), "no interrupt reached the statement"
        refusal(session.commit)
        session.rollback()
        assert len(session.scan(Scan(SPECIMENS))) == 2_000
        assert "never" not in ids_of(store.rows(MINE))
        assert len(store.rows(OTHERS[0])) == 2_000

    @requires(Capability.INTERRUPTS)
    def test_an_interrupt_reaches_no_other_session(self, store: Store) -> None:
        for tenant in (MINE, OTHERS[0]):
            store.fill(tenant)
        idle, same, other = store.session(MINE), store.session(MINE), store.session(OTHERS[0])
        ended = threading.Event()

        def interrupt() -> None:
            while not ended.wait(0.0005):
                idle.interrupt()

        with ThreadPoolExecutor(1) as pool:
            interrupting = pool.submit(interrupt)
            try:
                for session in (same, other):
                    session.begin()
                    for number in range(100):
                        session.write(Update(SPECIMENS, ["a"], {"amount": number}))
                        assert len(session.scan(Scan(SPECIMENS))) == 3
                    session.commit()
            finally:
                ended.set()
            interrupting.result(timeout=60)
        assert len(idle.scan(Scan(SPECIMENS))) == 3
        assert store.rows(OTHERS[0])[0]["amount"] == 99


def _until_stopped(session: Session, stopped: threading.Event) -> None:
    while not stopped.is_set():
        session.scan(Scan(SPECIMENS))
        session.write(Update(SPECIMENS, ["r00001"], {"label": "y"}))
    raise TimeoutError
