"""The wall itself: nothing of one tenant's in another's rows, counts or errors, whatever anybody does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from partywall.backend import Capability, Count, Delete, Insert, Scan, Session, Update, Write
from partywall.conformance.suite.kit import MINE, OTHERS, Kit, Store, refusal, requires, texts_of
from partywall.conformance.suite.sample import (
    ACCOUNTS,
    PARTS,
    SPECIMENS,
    TABLES,
    account,
    part,
    specimen,
    tables_of,
    token,
    token_row,
)
from partywall.names import TenantId
from partywall.operators import Condition, Operator

__all__ = ["Wall", "failures"]

EVERYONE = (MINE, *OTHERS)


def failures(session: Session) -> list[Callable[[], object]]:
    """Statements that no store can carry out."""
    undeclared = tables_of({"undeclared": {"columns": {"label": {"type": "text"}}}})["undeclared"]  # type: ignore[index]
    wrong = {"amount": object(), "moment": object(), "raw": object()}
    return [
        lambda: session.write(Insert(SPECIMENS, [{}])),
        lambda: session.write(Insert(SPECIMENS, [specimen("a", **wrong)])),
        lambda: session.write(Update(SPECIMENS, ["a"], {"undeclared": 1, **wrong})),
        lambda: session.write(Insert(undeclared, [{}])),
        lambda: session.write(Delete(SPECIMENS, [object()])),  # type: ignore[list-item]  # wrong on purpose
        lambda: session.scan(Scan(undeclared)),
        lambda: [session.begin() for _ in range(2)],
        session.commit,
    ]


class Wall(Kit):
    """Several tenants, the same ids and keys, and a token in every value."""

    def test_b4_a_scan_shows_the_tenants_own_rows_and_all_of_them(self, store: Store) -> None:
        canaries = {tenant: store.fill(tenant) for tenant in EVERYONE}
        for tenant, canary in canaries.items():
            assert store.rows(tenant) == [token_row(row_id, canary) for row_id in "abc"]
            assert store.rows(tenant, PARTS) == []

    def test_b4_a_transaction_that_only_reads_shows_the_tenants_own_rows(self, store: Store) -> None:
        canaries = {tenant: store.fill(tenant) for tenant in EVERYONE}
        for tenant, canary in canaries.items():
            session = store.session(tenant)
            session.begin(read_only=True)
            assert sorted(row["label"] for row in session.scan(Scan(SPECIMENS))) == [canary] * 3
            assert session.count(Count(SPECIMENS)) == 3
            session.rollback()

    @requires(Capability.FILTERS)
    def test_b5_a_long_list_of_ids_finds_the_tenants_own_rows_only(self, store: Store) -> None:
        for tenant in EVERYONE:
            store.fill(tenant, ["a", *(f"{tenant}{number}" for number in range(50))])
        ids = tuple(f"{tenant}{number}" for tenant in EVERYONE for number in range(300))
        where = (Condition("id", Operator.IN, ids),)
        for tenant in EVERYONE:
            session = store.session(tenant)
            assert session.count(Count(SPECIMENS, where)) == 50
            assert all(row["id"].startswith(tenant) for row in session.scan(Scan(SPECIMENS, where)))

    def test_b2_an_update_changes_the_tenants_own_rows_only(self, store: Store) -> None:
        for tenant in EVERYONE:
            store.fill(tenant)
        before = {tenant: store.rows(tenant) for tenant in OTHERS}
        session = store.session(MINE)
        assert session.write(Update(SPECIMENS, ["a", "b"], {"label": "changed", "amount": 1})) == 2
        session.begin()
        assert session.write(Update(SPECIMENS, ["c"], {"label": "changed"})) == 1
        session.commit()
        assert {tenant: store.rows(tenant) for tenant in OTHERS} == before
        assert [row["label"] for row in store.rows(MINE)] == ["changed"] * 3

    def test_b4_a_delete_removes_the_tenants_own_rows_only(self, store: Store) -> None:
        for tenant in EVERYONE:
            store.fill(tenant)
        before = {tenant: store.rows(tenant) for tenant in OTHERS}
        session = store.session(MINE)
        assert session.write(Delete(SPECIMENS, ["a", "b"])) == 2
        session.begin()
        assert session.write(Delete(SPECIMENS, ["c"])) == 1
        session.commit()
        assert {tenant: store.rows(tenant) for tenant in OTHERS} == before
        assert store.rows(MINE) == []

    def test_b4_another_tenants_id_answers_like_one_that_does_not_exist(self, store: Store) -> None:
        store.fill(MINE, ["own"])
        store.fill(OTHERS[0], ["theirs"])
        before = store.rows(OTHERS[0])
        session = store.session(MINE)
        for row_id in ("theirs", "nobodys"):
            assert session.write(Update(SPECIMENS, [row_id], {"label": "taken"})) == 0
            assert session.write(Delete(SPECIMENS, [row_id])) == 0
        assert store.rows(OTHERS[0]) == before
        assert len(store.rows(MINE)) == 1

    def test_b7_a_row_with_another_tenants_id_is_a_row_of_ones_own(self, store: Store) -> None:
        mine = store.fill(MINE)
        theirs = store.fill(OTHERS[0])
        for _ in range(2):
            session = store.session(OTHERS[0])
            assert session.write(Update(SPECIMENS, ["a"], {"amount": 1})) == 1
            assert session.write(Delete(SPECIMENS, ["a"])) == 1
            assert session.write(Insert(SPECIMENS, [token_row("a", theirs)])) == 1
        assert store.rows(MINE) == [token_row(row_id, mine) for row_id in "abc"]
        assert store.rows(OTHERS[0]) == [token_row(row_id, theirs) for row_id in "abc"]

    def test_b7_another_tenants_key_is_free(self, store: Store) -> None:
        rows = [account("a", "ann@x.test", "red", 1), account("b", "bea@x.test", "red", 2)]
        for tenant in EVERYONE:
            assert store.session(tenant).write(Insert(ACCOUNTS, rows)) == 2
        session = store.session(MINE)
        session.write(Update(ACCOUNTS, ["a"], {"email": "new@x.test"}))
        assert store.session(OTHERS[0]).write(Update(ACCOUNTS, ["b"], {"email": "new@x.test"})) == 1
        assert store.rows(OTHERS[1], ACCOUNTS) == rows

    def test_b5_no_ids_are_nobodys_rows(self, store: Store) -> None:
        for tenant in EVERYONE:
            store.fill(tenant)
        before = {tenant: store.rows(tenant) for tenant in EVERYONE}
        session = store.session(MINE)
        assert session.write(Update(SPECIMENS, [], {"label": "everyone"})) == 0
        assert session.write(Delete(SPECIMENS, [])) == 0
        assert session.write(Insert(SPECIMENS, [])) == 0
        assert {tenant: store.rows(tenant) for tenant in EVERYONE} == before

    def test_b5_a_tenant_without_rows_sees_none(self, store: Store) -> None:
        store.fill(OTHERS[0])
        session = store.session(MINE)
        for table in TABLES.values():
            assert list(session.scan(Scan(table))) == []

    def test_b2_values_that_name_another_tenant_move_nothing(self, store: Store) -> None:
        store.fill(OTHERS[0])
        before = store.rows(OTHERS[0])
        session = store.session(MINE)
        session.write(Insert(SPECIMENS, [specimen("a", label=OTHERS[0], document=f'{{"tenant_id":"{OTHERS[0]}"}}')]))
        moves: list[Write] = [
            Insert(SPECIMENS, [{**specimen("x", label="spy"), "tenant_id": OTHERS[0]}]),
            Update(SPECIMENS, ["a"], {"tenant_id": OTHERS[0]}),
        ]
        for move in moves:
            try:
                session.write(move)
            except Exception:  # noqa: BLE001  # refused in whatever way; what counts is what is there afterwards
                session.rollback()
        assert store.rows(OTHERS[0]) == before
        assert len(store.rows(MINE)) >= 1

    def test_i6_errors_name_nothing_of_another_tenants(self, store: Store) -> None:
        canaries = [store.fill(tenant) for tenant in OTHERS]
        for tenant, canary in zip(OTHERS, canaries, strict=True):
            store.session(tenant).write(Insert(ACCOUNTS, [account("x", canary, canary, 1)]))
        store.fill(MINE)
        session = store.session(MINE)
        texts = []
        for attempt in failures(session):
            texts.append(texts_of(refusal_or_none(attempt)))
            session.rollback()
        session.write(Insert(ACCOUNTS, [account("x", "own@x.test")]))
        try:
            session.write(Insert(ACCOUNTS, [account("x", "other@x.test"), account("y", canaries[0])]))
        except Exception as error:  # noqa: BLE001  # without KEYS it may do as it likes, but not talk
            texts.append(texts_of(error))
        said = "\n".join(texts)
        assert said
        assert not any(word in said for word in (*canaries, *OTHERS))

    def test_i6_a_refused_place_names_nobody(self, store: Store) -> None:
        canary = store.fill(OTHERS[0])
        place = store.placed(OTHERS[0])
        said = texts_of(refusal(lambda: store.at(replace(place, tenant_id=TenantId("ten_stranger")))))
        assert not any(word in said for word in (canary, OTHERS[0], str(store.root)))

    def test_many_tenants_in_one_store_see_their_own_rows_only(self, store: Store) -> None:
        tenants = [TenantId(f"ten_crowd{number:03d}") for number in range(40)]
        canaries = {tenant: store.fill(tenant, ["a", "b"]) for tenant in tenants}
        for tenant in tenants[::3]:
            store.session(tenant).write(Delete(SPECIMENS, ["a"]))
        for number, (tenant, canary) in enumerate(canaries.items()):
            expected = ["b"] if number % 3 == 0 else ["a", "b"]
            assert store.rows(tenant) == [token_row(row_id, canary) for row_id in expected]

    def test_i2_a_refusal_is_the_same_whatever_the_others_have(self, store: Store) -> None:
        said = []
        for tenant, crowded in (("ten_quiet001", False), ("ten_loud0001", True)):
            if crowded:
                for other in OTHERS:
                    store.fill(other)
                    store.session(other).write(Insert(PARTS, [part("p", "a", token())]))
            session = store.session(TenantId(tenant))
            outcome = []
            for attempt in failures(session):
                error = refusal_or_none(attempt)
                outcome.append(f"{type(error).__name__}: {error}".replace(tenant, "me").partition(" at 0x")[0])
                session.rollback()
            said.append(outcome)
        assert said[0] == said[1]


def refusal_or_none(attempt: Callable[[], object]) -> Exception | None:
    """The error that the attempt ends in, if any."""
    try:
        attempt()
    except Exception as error:  # noqa: BLE001  # its text is what is looked at
        return error
    return None
