"""What goes in comes out: every type, hostile texts, extremes, whole rows, counts of writes."""

from __future__ import annotations

from typing import Any

import pytest

from partywall.backend import Delete, Insert, Scan, Update
from partywall.conformance.suite.kit import MINE, OTHERS, Kit, Store, by_id, ids_of
from partywall.conformance.suite.sample import (
    ACCOUNTS,
    EVERY_VALUE,
    PARTS,
    ROW_IDS,
    SPECIMENS,
    account,
    part,
    specimen,
    token_row,
)
from partywall.model import ID, ColumnType

__all__ = ["Values", "same"]


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal, of the same type, and both in UTC if they are moments."""
    # Moments of different offsets are equal, and the contract speaks of UTC. A zero may lose its sign.
    return type(one) is type(other) and one == other and (type(one) is float or repr(one) == repr(other))


class Values(Kit):
    """Rows as they were written."""

    @pytest.mark.parametrize("kind", list(ColumnType))
    def test_every_value_comes_back_as_it_was_written(self, store: Store, kind: ColumnType) -> None:
        column = next(name for name, each in SPECIMENS.columns.items() if each.type is kind)
        values = (*EVERY_VALUE[kind], None)
        session = store.session(MINE)
        rows = [specimen(f"r{number:03d}", **{column: value}) for number, value in enumerate(values)]
        assert session.write(Insert(SPECIMENS, rows)) == len(rows)
        for row, value in zip(store.rows(MINE), values, strict=True):
            assert same(row[column], value), f"{row[column]!r:.80} is not {value!r:.80}"

    @pytest.mark.parametrize("kind", list(ColumnType))
    def test_an_update_sets_every_value_and_removes_it(self, store: Store, kind: ColumnType) -> None:
        column = next(name for name, each in SPECIMENS.columns.items() if each.type is kind)
        session = store.session(MINE)
        session.write(Insert(SPECIMENS, [specimen("a"), specimen("b", label="still")]))
        for value in (*EVERY_VALUE[kind], None):
            assert session.write(Update(SPECIMENS, ["a"], {column: value})) == 1
            changed, other = by_id(session.scan(Scan(SPECIMENS)))
            assert same(changed[column], value), f"{changed[column]!r:.80} is not {value!r:.80}"
            assert other == specimen("b", label="still")

    def test_every_legal_id_names_one_row(self, store: Store) -> None:
        session = store.session(MINE)
        session.write(Insert(SPECIMENS, [specimen(row_id, label=row_id) for row_id in ROW_IDS]))
        for row_id in ROW_IDS:
            assert session.write(Update(SPECIMENS, [row_id], {"label": f"changed {row_id}"})) == 1
        assert {row[ID]: row["label"] for row in store.rows(MINE)} == {each: f"changed {each}" for each in ROW_IDS}
        for row_id in ROW_IDS[::2]:
            assert session.write(Delete(SPECIMENS, [row_id])) == 1
        assert set(ids_of(store.rows(MINE))) == set(ROW_IDS[1::2])

    def test_e12_ids_and_keys_that_differ_only_in_case_are_different(self, store: Store) -> None:
        session = store.session(MINE)
        session.write(
            Insert(ACCOUNTS, [account("ann", "ann@x.test", "red", 1), account("ANN", "Ann@x.test", "Red", 1)])
        )
        assert session.write(Update(ACCOUNTS, ["Ann"], {"seat": 3})) == 0
        assert session.write(Update(ACCOUNTS, ["ANN"], {"seat": 2})) == 1
        assert store.rows(MINE, ACCOUNTS) == [
            account("ANN", "Ann@x.test", "Red", 2),
            account("ann", "ann@x.test", "red", 1),
        ]

    def test_a_row_holds_every_declared_column_and_no_other(self, store: Store) -> None:
        session = store.session(MINE)
        session.write(Insert(SPECIMENS, [specimen("a")]))
        session.write(Insert(PARTS, [part("p")]))
        assert {*session.scan(Scan(SPECIMENS))[0]} == {ID, *SPECIMENS.columns}
        assert {*session.scan(Scan(PARTS))[0]} == {ID, *PARTS.columns}

    def test_a_write_returns_the_number_of_rows_that_it_touched(self, store: Store) -> None:
        session = store.session(MINE)
        store.fill(OTHERS[0], ["a", "b", "c", "d"])
        assert session.write(Insert(SPECIMENS, [specimen(row_id) for row_id in "abc"])) == 3
        assert session.write(Update(SPECIMENS, ["a", "c", "d"], {"amount": 1})) == 2
        assert session.write(Update(SPECIMENS, ["a", "c"], {"amount": 1})) == 2
        assert session.write(Update(SPECIMENS, ["d"], {"amount": 1})) == 0
        assert session.write(Delete(SPECIMENS, ["b", "d"])) == 1
        assert session.write(Delete(SPECIMENS, ["b"])) == 0
        assert session.write(Delete(SPECIMENS, ["a", "c"])) == 2

    def test_many_rows_in_one_statement(self, store: Store) -> None:
        session = store.session(MINE)
        rows = [specimen(f"r{number:05d}", amount=number) for number in range(3_000)]
        assert session.write(Insert(SPECIMENS, rows)) == 3_000
        assert store.rows(MINE) == rows
        assert session.write(Update(SPECIMENS, [row[ID] for row in rows[::2]], {"flag": True})) == 1_500
        assert session.write(Delete(SPECIMENS, [row[ID] for row in rows if row["amount"] >= 10])) == 2_990
        assert [row["flag"] for row in store.rows(MINE)] == [True, None] * 5

    def test_rows_are_fully_read_and_the_callers_own(self, store: Store) -> None:
        store.fill(MINE, [f"r{number:04d}" for number in range(2_500)])
        session = store.session(MINE)
        seen = session.scan(Scan(SPECIMENS))
        written = token_row("kept", "kept")
        session.write(Delete(SPECIMENS, ids_of(seen)))
        session.write(Insert(SPECIMENS, [written]))
        session.close()
        assert len(seen) == 2_500
        assert len({row[ID] for row in seen}) == 2_500
        written["label"] = "changed by the caller"
        store.rows(MINE)[0]["label"] = "changed by the caller"
        assert store.rows(MINE) == [token_row("kept", "kept")]
