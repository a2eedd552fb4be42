"""Making room for tenants, saying whose room it is, and destroying it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest

from partywall.backend import Delete, Insert, Placement, Scan, Update
from partywall.conformance.suite.kit import ABROAD, MINE, OTHERS, Kit, Store, by_id, refusal, requires
from partywall.conformance.suite.sample import ALIKE, PARTS, SPECIMENS, part, token, token_row
from partywall.errors import ConfigError, IsolationBreach
from partywall.names import TenantId

__all__ = ["Placing"]


def opened_and_read(store: Store, place: Placement) -> object:
    """What a session at the place shows."""
    return store.at(place).scan(Scan(SPECIMENS))


class Placing(Kit):
    """Provision, stamp, session, drop."""

    def test_provisioning_again_finds_the_same_place_and_its_rows(self, store: Store) -> None:
        place = store.placed(MINE)
        store.fill(MINE)
        before = store.rows(MINE)
        assert [store.placed(MINE) for _ in range(3)] == [place] * 3
        assert store.rows(MINE) == before
        assert len(before) == 3

    def test_provisioning_from_many_threads_makes_one_place(self, store: Store) -> None:
        store.open()
        with ThreadPoolExecutor(8) as pool:
            places = set(pool.map(lambda _: store.placed(MINE), range(32)))
        assert len(places) == 1

    def test_a_stamp_says_whose_the_place_is(self, store: Store) -> None:
        places = [store.placed(tenant) for tenant in (MINE, *OTHERS)]
        assert [store.backend.stamp(place) for place in places] == [MINE, *OTHERS]

    def test_the_stamp_of_a_dropped_place_is_nobodys(self, store: Store) -> None:
        place, other = store.placed(MINE), store.placed(OTHERS[0])
        store.backend.drop(place)
        assert store.backend.stamp(place) is None
        assert store.backend.stamp(other) == OTHERS[0]

    def test_b5_a_tenant_that_was_never_provisioned_has_no_stamp_and_no_session(self, store: Store) -> None:
        place = store.placed(MINE)
        store.fill(MINE)
        for nobody in (TenantId("ten_nobody"), TenantId(MINE[:-1]), TenantId(f"{MINE}0")):
            forged = replace(place, tenant_id=nobody)
            assert store.backend.stamp(forged) != nobody
            with pytest.raises(IsolationBreach):
                store.at(forged)

    def test_b5_what_is_no_tenant_id_at_all_gets_no_session(self, store: Store) -> None:
        place = store.placed(MINE)
        store.fill(MINE)
        for nobody in ("", "%", "*", "ten_", MINE.upper(), f" {MINE}", f"{MINE}\n", "' OR 1=1 --"):
            refusal(partial(opened_and_read, store, replace(place, tenant_id=TenantId(nobody))))

    def test_e10_a_place_of_another_tenant_is_refused_or_shows_none_of_its_rows(self, store: Store) -> None:
        for tenant, other in ((MINE, OTHERS[0]), (OTHERS[0], MINE)):
            place = store.placed(tenant)
            canary = store.fill(other)
            before = store.rows(other)
            forged = replace(place, location=store.placed(other).location)
            if store.backend.stamp(forged) != tenant:
                with pytest.raises(IsolationBreach):
                    store.at(forged)
                continue
            session = store.at(forged)
            assert canary not in repr(session.scan(Scan(SPECIMENS)))
            assert session.write(Update(SPECIMENS, ["a"], {"label": "moved"})) == 0
            assert session.write(Delete(SPECIMENS, ["a"])) == 0
            assert store.rows(other) == before
            store.backend.drop(store.placed(other))

    def test_e1_a_location_that_was_never_given_out_is_refused(self, store: Store) -> None:
        place = store.placed(MINE)
        for location in ("", "..", "../x", "/etc", f"{place.location}x", f"../{place.location}", "'", "*"):
            forged = replace(place, location=location)
            refusal(partial(opened_and_read, store, forged))

    def test_a_drop_destroys_the_tenants_rows_and_leaves_the_others(self, store: Store) -> None:
        for tenant in (MINE, *OTHERS):
            store.fill(tenant)
        before = {tenant: store.rows(tenant) for tenant in OTHERS}
        store.backend.drop(store.placed(MINE))
        assert {tenant: store.rows(tenant) for tenant in OTHERS} == before

    def test_dropping_again_or_what_was_never_there_is_no_error(self, store: Store) -> None:
        place = store.placed(MINE)
        for _ in range(3):
            store.backend.drop(place)

    def test_e9_g10_a_place_made_again_after_a_drop_is_empty(self, store: Store) -> None:
        store.fill(MINE)
        store.session(MINE).write(Insert(PARTS, [part("p", "a", "old")]))
        store.backend.drop(store.placed(MINE))
        assert store.rows(MINE) == []
        assert store.rows(MINE, PARTS) == []
        store.fill(MINE, ["a"])
        assert len(store.rows(MINE)) == 1

    def test_g7_a_session_that_outlives_the_drop_reads_and_writes_nothing(self, store: Store) -> None:
        session, canary, place = store.session(MINE), store.fill(MINE), store.placed(MINE)
        store.backend.drop(place)
        for attempt in (
            lambda: session.write(Insert(SPECIMENS, [token_row("late", canary)])),
            lambda: session.write(Update(SPECIMENS, ["a"], {"label": canary})),
        ):
            refusal(attempt)
        try:
            seen = repr(session.scan(Scan(SPECIMENS)))
        except Exception:  # noqa: BLE001  # refused in whatever way: nothing was seen
            seen = ""
        assert canary not in seen
        assert store.backend.stamp(place) is None
        assert store.rows(MINE) == []

    def test_a7_tenants_whose_ids_look_alike_share_nothing(self, store: Store) -> None:
        canaries = {tenant: store.fill(tenant) for tenant in ALIKE}
        for tenant, canary in canaries.items():
            assert store.rows(tenant) == [token_row(row_id, canary) for row_id in "abc"]
        for dropped in ALIKE[::2]:
            store.backend.drop(store.placed(dropped))
        for tenant in ALIKE[1::2]:
            assert len(store.rows(tenant)) == 3
            assert store.backend.stamp(store.placed(tenant)) == tenant

    def test_regions_keep_the_rows_of_one_tenant_apart(self, store: Store) -> None:
        here, there = store.fill(MINE), store.fill(MINE, region=ABROAD)
        assert here not in repr(store.rows(MINE, region=ABROAD))
        assert there not in repr(store.rows(MINE))
        store.backend.drop(store.placed(MINE))
        assert len(store.rows(MINE, region=ABROAD)) == 3
        store.close()
        held = [path for path in store.holding(there) if path.is_relative_to(store.home(None))]
        assert held == []

    def test_unknown_options_are_refused(self, store: Store) -> None:
        with pytest.raises(ConfigError):
            store.open(options={token(): 1})

    def test_several_tenants_that_are_dropped_at_once_are_gone_and_the_others_whole(self, store: Store) -> None:
        for tenant in (MINE, *OTHERS):
            store.fill(tenant)
        before = store.rows(OTHERS[-1])
        going = [store.placed(tenant) for tenant in (MINE, *OTHERS[:-1])]
        for _ in range(2):
            store.backend.drop_many(going)
        assert [store.backend.stamp(place) for place in going] == [None] * len(going)
        assert store.rows(OTHERS[-1]) == before

    def test_housekeeping_changes_no_rows_and_finds_nothing_wrong(self, store: Store) -> None:
        session = store.session(MINE)
        session.begin()
        session.write(Insert(SPECIMENS, [token_row("open", token())]))
        store.fill(OTHERS[0])
        before = store.rows(OTHERS[0])
        store.backend.maintain()
        session.commit()
        store.backend.maintain()
        assert store.rows(OTHERS[0]) == before
        assert len(store.rows(MINE)) == 1
        assert dict(store.backend.health()) == {}

    @requires("oracle")
    def test_g11_after_a_drop_the_oracle_finds_nothing_of_the_tenant(self, store: Store) -> None:
        canary, kept = store.fill(MINE), store.fill(OTHERS[0])
        store.session(MINE).write(Insert(PARTS, [part("p", None, canary)]))
        assert self.oracle is not None
        before = list(self.oracle(store.backend, store.root))
        assert canary in repr(before), "the oracle does not see the rows that are there"
        for whose, table, row in before:
            assert (canary in repr(row)) == (whose == MINE), f"a row of {table} is not marked as its tenant's"
        store.backend.drop(store.placed(MINE))
        after = list(self.oracle(store.backend, store.root))
        assert canary not in repr(after)
        assert MINE not in {whose for whose, _, _ in after}
        assert by_id(row for _, _, row in after) == [token_row(row_id, kept) for row_id in "abc"]
