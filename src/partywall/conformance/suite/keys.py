"""KEYS: a taken key is refused, in the tenant's own words, and nothing is written."""

from __future__ import annotations

import pytest

from partywall.backend import Capability, Delete, Insert, Row, Scan, Session, Update, Write
from partywall.conformance.suite.kit import MINE, OTHERS, Kit, Store, refusal, requires
from partywall.conformance.suite.sample import ACCOUNTS, account
from partywall.errors import ConstraintViolation

__all__ = ["Keys"]

TAKEN: list[Write] = [
    Insert(ACCOUNTS, [account("a", "new@x.test")]),
    Insert(ACCOUNTS, [account("new", "ann@x.test")]),
    Insert(ACCOUNTS, [account("new", None, "red", 1)]),
    Insert(ACCOUNTS, [account("good", "good@x.test"), account("new", "ann@x.test")]),
    Insert(ACCOUNTS, [account("twice"), account("twice")]),
    Insert(ACCOUNTS, [account("one", "same@x.test"), account("two", "same@x.test")]),
    Update(ACCOUNTS, ["b"], {"email": "ann@x.test"}),
    Update(ACCOUNTS, ["b"], {"seat": 1}),
    Update(ACCOUNTS, ["b", "c"], {"email": "same@x.test"}),
]


def filled(store: Store) -> tuple[Session, list[Row]]:
    """A session of a tenant with three accounts, among neighbours with other keys."""
    for tenant in OTHERS:
        store.session(tenant).write(Insert(ACCOUNTS, [account("new", "new@x.test", "blue", 9)]))
    rows = [account("a", "ann@x.test", "red", 1), account("b", "bea@x.test", "red", 2), account("c")]
    session = store.session(MINE)
    session.write(Insert(ACCOUNTS, rows))
    return session, rows


class Keys(Kit):
    """Only for those who claim it."""

    @requires(Capability.KEYS)
    @pytest.mark.parametrize("write", TAKEN, ids=[f"write{number}" for number in range(len(TAKEN))])
    def test_a_taken_key_is_refused_and_nothing_is_written(self, store: Store, write: Write) -> None:
        session, rows = filled(store)
        with pytest.raises(ConstraintViolation):
            session.write(write)
        assert store.rows(MINE, ACCOUNTS) == rows
        assert session.write(Insert(ACCOUNTS, [account("after")])) == 1

    @requires(Capability.KEYS)
    @pytest.mark.parametrize("write", TAKEN, ids=[f"write{number}" for number in range(len(TAKEN))])
    def test_a_taken_key_fails_the_transaction(self, store: Store, write: Write) -> None:
        session, rows = filled(store)
        session.begin()
        session.write(Insert(ACCOUNTS, [account("before")]))
        with pytest.raises(ConstraintViolation):
            session.write(write)
        refusal(session.commit)
        session.rollback()
        assert store.rows(MINE, ACCOUNTS) == rows

    @requires(Capability.KEYS)
    @pytest.mark.parametrize("write", TAKEN, ids=[f"write{number}" for number in range(len(TAKEN))])
    def test_i6_a_taken_key_is_told_without_values(self, store: Store, write: Write) -> None:
        session, _ = filled(store)
        with pytest.raises(ConstraintViolation) as refused:
            session.write(write)
        text = str(refused.value)
        assert "accounts" in text
        assert not any(word in text for word in ("@", "ten_", "/", "'red'", str(store.root)))

    @requires(Capability.KEYS)
    def test_missing_values_never_collide(self, store: Store) -> None:
        session, _ = filled(store)
        more = [account("d"), account("e", None, "red"), account("f", None, "red"), account("g", None, None, 1)]
        assert session.write(Insert(ACCOUNTS, more)) == 4
        assert session.write(Update(ACCOUNTS, ["a", "b"], {"email": None})) == 2

    @requires(Capability.KEYS)
    def test_a_key_is_free_again_once_its_row_is_gone_or_changed(self, store: Store) -> None:
        session, _ = filled(store)
        session.write(Delete(ACCOUNTS, ["a"]))
        session.write(Insert(ACCOUNTS, [account("a", "ann@x.test", "red", 1)]))
        session.write(Update(ACCOUNTS, ["a"], {"email": "ann2@x.test"}))
        session.write(Insert(ACCOUNTS, [account("d", "ann@x.test")]))
        session.begin()
        session.write(Insert(ACCOUNTS, [account("e", "eve@x.test")]))
        session.rollback()
        assert session.write(Insert(ACCOUNTS, [account("e", "eve@x.test")])) == 1

    @requires(Capability.KEYS)
    def test_a_row_may_keep_its_own_key(self, store: Store) -> None:
        session, rows = filled(store)
        assert session.write(Update(ACCOUNTS, ["a"], {"email": "ann@x.test", "team": "red", "seat": 1})) == 1
        assert session.write(Update(ACCOUNTS, ["a", "b"], {"team": "green"})) == 2
        assert len(session.scan(Scan(ACCOUNTS))) == len(rows)

    @requires(Capability.KEYS)
    def test_b7_a_key_is_taken_by_the_tenants_own_rows_only(self, store: Store) -> None:
        session, _ = filled(store)
        assert session.write(Insert(ACCOUNTS, [account("new", "new@x.test", "blue", 9)])) == 1
        with pytest.raises(ConstraintViolation):
            session.write(Insert(ACCOUNTS, [account("new", "new@x.test", "blue", 9)]))
