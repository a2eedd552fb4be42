"""Begin, commit, rollback, close: what lasts, and what was never there."""

from __future__ import annotations

import pytest

from partywall.backend import Delete, Insert, Scan, Session, Update
from partywall.conformance.suite.kit import MINE, OTHERS, Kit, Store, by_id, ids_of, refusal
from partywall.conformance.suite.sample import PARTS, SPECIMENS, part, specimen, token, token_row

__all__ = ["Transactions"]


def change_everything(session: Session) -> None:
    """One write of each kind over what ``Store.fill`` left."""
    session.write(Insert(SPECIMENS, [specimen("new", label="new")]))
    session.write(Update(SPECIMENS, ["a"], {"label": "changed", "amount": 7}))
    session.write(Delete(SPECIMENS, ["b"]))
    session.write(Insert(PARTS, [part("p", "a", "new")]))


class Transactions(Kit):
    """All of it or nothing."""

    def test_outside_a_transaction_every_statement_is_one_of_its_own(self, store: Store) -> None:
        session = store.session(MINE)
        assert session.write(Insert(SPECIMENS, [specimen("a"), specimen("b")])) == 2
        assert ids_of(store.rows(MINE)) == ["a", "b"]
        session.rollback()
        assert session.write(Delete(SPECIMENS, ["a", "c"])) == 1
        assert ids_of(store.rows(MINE)) == ["b"]

    def test_a_commit_makes_every_write_last(self, store: Store) -> None:
        store.fill(MINE)
        session = store.session(MINE)
        session.begin()
        change_everything(session)
        session.commit()
        session.close()
        assert ids_of(store.rows(MINE)) == ["a", "c", "new"]
        assert (store.rows(MINE)[0]["label"], store.rows(MINE)[0]["amount"]) == ("changed", 7)
        assert store.rows(MINE, PARTS) == [part("p", "a", "new")]

    def test_a_transaction_sees_its_own_writes(self, store: Store) -> None:
        store.fill(MINE)
        session = store.session(MINE)
        session.begin()
        change_everything(session)
        seen = by_id(session.scan(Scan(SPECIMENS)))
        assert ids_of(seen) == ["a", "c", "new"]
        assert seen[0]["label"] == "changed"
        session.rollback()

    def test_a_rollback_undoes_every_write(self, store: Store) -> None:
        store.fill(MINE)
        before = store.rows(MINE)
        session = store.session(MINE)
        session.begin()
        change_everything(session)
        session.rollback()
        assert by_id(session.scan(Scan(SPECIMENS))) == before
        assert store.rows(MINE) == before
        assert store.rows(MINE, PARTS) == []

    def test_a_rollback_without_a_transaction_does_nothing(self, store: Store) -> None:
        store.fill(MINE)
        session = store.session(MINE)
        session.rollback()
        session.begin()
        session.write(Delete(SPECIMENS, ["a"]))
        session.commit()
        session.rollback()
        session.rollback()
        assert ids_of(store.rows(MINE)) == ["b", "c"]

    def test_closing_a_session_rolls_its_transaction_back_and_never_raises(self, store: Store) -> None:
        store.fill(MINE)
        before = store.rows(MINE)
        session = store.session(MINE)
        session.begin()
        change_everything(session)
        session.close()
        session.close()
        assert store.rows(MINE) == before

    def test_nobody_sees_a_transaction_before_its_commit(self, store: Store) -> None:
        store.fill(MINE)
        store.fill(OTHERS[0])
        before, neighbours = store.rows(MINE), store.rows(OTHERS[0])
        session, reader = store.session(MINE), store.session(MINE)
        session.begin()
        change_everything(session)
        assert by_id(reader.scan(Scan(SPECIMENS))) == before
        assert store.rows(OTHERS[0]) == neighbours
        session.commit()
        assert ids_of(by_id(reader.scan(Scan(SPECIMENS)))) == ["a", "c", "new"]

    def test_a_session_works_on_after_each_end_of_a_transaction(self, store: Store) -> None:
        session = store.session(MINE)
        for number in range(6):
            session.begin(read_only=number == 5)
            if number < 5:
                session.write(Insert(SPECIMENS, [specimen(f"r{number}")]))
            assert len(session.scan(Scan(SPECIMENS))) == (number + 1) // 2 + (number < 5)
            session.rollback() if number % 2 else session.commit()
        assert ids_of(store.rows(MINE)) == ["r0", "r2", "r4"]

    def test_a_reading_transaction_commits(self, store: Store) -> None:
        store.fill(MINE)
        session = store.session(MINE)
        session.begin(read_only=True)
        assert len(session.scan(Scan(SPECIMENS))) == 3
        session.commit()

    def test_a_statement_that_fails_writes_nothing(self, store: Store) -> None:
        store.fill(MINE)
        before = store.rows(MINE)
        session = store.session(MINE)
        refusal(lambda: session.write(Insert(SPECIMENS, [specimen("good"), {}])))
        assert store.rows(MINE) == before
        assert session.write(Insert(SPECIMENS, [specimen("later")])) == 1

    def test_a_commit_after_a_failed_statement_raises_and_writes_nothing(self, store: Store) -> None:
        store.fill(MINE)
        before = store.rows(MINE)
        session = store.session(MINE)
        session.begin()
        change_everything(session)
        refusal(lambda: session.write(Insert(SPECIMENS, [specimen("good"), {}])))
        refusal(session.commit)
        assert store.rows(MINE) == before
        session.rollback()
        assert store.rows(MINE) == before

    def test_no_later_statement_mends_a_failed_transaction(self, store: Store) -> None:
        session = store.session(MINE)
        session.begin()
        refusal(lambda: session.write(Insert(SPECIMENS, [{}])))
        try:
            session.write(Insert(SPECIMENS, [specimen("later")]))
        except Exception:  # noqa: BLE001  # refusing the later statement too is as good
            assert store.rows(MINE) == []
        refusal(session.commit)
        session.rollback()
        assert store.rows(MINE) == []
        session.begin()
        session.write(Insert(SPECIMENS, [specimen("after")]))
        session.commit()
        assert ids_of(store.rows(MINE)) == ["after"]

    @pytest.mark.parametrize("end", ["commit", "rollback", "close"])
    def test_g12_a_session_opened_after_anothers_was_closed_keeps_nothing_of_it(self, store: Store, end: str) -> None:
        canary = store.fill(MINE)
        for other in OTHERS:
            session = store.session(MINE)
            session.begin()
            session.scan(Scan(SPECIMENS))
            session.write(Insert(SPECIMENS, [token_row(f"of {end} {other}".replace(" ", "-"), canary)]))
            getattr(session, end)()
            session.close()
            again = store.session(other)
            assert canary not in repr(again.scan(Scan(SPECIMENS)))
            assert again.write(Insert(SPECIMENS, [specimen("own", label=token())])) == 1
            again.rollback()
            again.close()
            assert ids_of(store.rows(other)) == ["own"]
        assert len(store.rows(MINE)) == (5 if end == "commit" else 3)

    def test_g12_a_session_left_open_keeps_its_tenant_while_others_come_and_go(self, store: Store) -> None:
        canaries = {tenant: store.fill(tenant) for tenant in (MINE, *OTHERS)}
        held = {tenant: store.session(tenant) for tenant in canaries}
        for latest in canaries:
            store.session(latest).scan(Scan(SPECIMENS))
            for tenant, canary in canaries.items():
                seen = by_id(held[tenant].scan(Scan(SPECIMENS)))
                assert seen == [token_row(row_id, canary) for row_id in "abc"]
