"""Backends that let one tenant reach another, each in one way."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from honest import HonestBackend, HonestSession, Key
from suspects import caught_by

from partywall.backend import (
    Count,
    Delete,
    Placement,
    Row,
    Scan,
    Session,
    Update,
    Write,
)
from partywall.errors import ConstraintViolation
from partywall.isolation.arrow import table_of
from partywall.model import Table
from partywall.names import Region, TenantId
from partywall.operators import Operator, matching


@caught_by(
    "test_b2_an_update_changes_the_tenants_own_rows_only",
    "test_a_mixture_of_calls_of_several_tenants_is_answered_as_a_model_says[0]",
)
class ForgetsTheTenantInUpdate(HonestSession):
    def changes(self, statement: Write) -> dict[Key, Row | None]:
        if isinstance(statement, Update):
            rows = self.store.rows(statement.table)
            return {key: {**row, **statement.changes} for key, row in rows.items() if key[1] in statement.ids}
        return super().changes(statement)


@caught_by("test_b4_a_delete_removes_the_tenants_own_rows_only")
class ForgetsTheTenantInDelete(HonestSession):
    def changes(self, statement: Write) -> dict[Key, Row | None]:
        if isinstance(statement, Delete):
            return {key: None for key in self.store.rows(statement.table) if key[1] in statement.ids}
        return super().changes(statement)


@caught_by("test_b4_a_scan_shows_the_tenants_own_rows_and_all_of_them")
class ForgetsTheTenantInScan(HonestSession):
    def read(self, statement: Scan) -> list[Row]:
        return [dict(row) for row in self.store.rows(statement.table).values()]


@caught_by("test_b7_a_row_with_another_tenants_id_is_a_row_of_ones_own")
class ReplacesOnIdAlone(HonestSession):
    def inserted(self, table: Table, rows: Sequence[Row]) -> dict[Key, Row | None]:
        taken = {row["id"] for row in rows}
        for key in [key for key in self.store.rows(table) if key[1] in taken and not self.owns(key)]:
            del self.store.rows(table)[key]
        return super().inserted(table, rows)


@caught_by("test_b7_an_upsert_never_reaches_another_tenants_row", "test_b7_another_tenants_key_is_free")
class KeysOfEveryoneAtOnce(HonestSession):
    def require_free(self, table: Table, changes: dict[Key, Row | None]) -> None:
        after = {**self.store.rows(table), **changes}
        for key in table.unique:
            taken = [tuple(row[column] for column in key) for row in after.values() if row is not None]
            taken = [values for values in taken if None not in values]
            if len(set(taken)) != len(taken):
                raise ConstraintViolation(f"{table.name}.{', '.join(key)} is already taken")


@caught_by(
    "test_b7_an_upsert_never_reaches_another_tenants_row",
    "test_a_mixture_of_calls_of_several_tenants_is_answered_as_a_model_says[0]",
)
class LeaksThroughAnUpsert(HonestSession):
    """Finds the row to change among everyone's, as an index of keys alone would."""

    def read(self, statement: Scan) -> list[Row]:
        if statement.limit != 1 or not statement.where:
            return super().read(statement)
        return matching([dict(row) for row in self.store.rows(statement.table).values()], statement.where)[:1]


class NeverReset(HonestSession):
    def close(self) -> None:
        self.store.pooled.append(self)  # type: ignore[attr-defined]


@caught_by("test_g12_a_session_opened_after_anothers_was_closed_keeps_nothing_of_it[close]")
class KeepsASessionsState(HonestBackend):
    session_type = NeverReset

    def __init__(self, setup: Any) -> None:
        super().__init__(setup)
        self.pooled: list[HonestSession] = []

    def session(self, placement: Placement) -> Session:
        fresh = super().session(placement)
        if not self.pooled:
            return fresh
        again = self.pooled.pop()
        again.place = placement.location
        return again


class OfWhoeverCameLast(HonestSession):
    @property
    def place(self) -> str:
        return self.store.latest  # type: ignore[attr-defined, no-any-return]

    @place.setter
    def place(self, place: str) -> None:
        self.store.latest = place  # type: ignore[attr-defined]


@caught_by("test_g12_a_session_left_open_keeps_its_tenant_while_others_come_and_go")
class OneTenantAtATime(HonestBackend):
    session_type = OfWhoeverCameLast


@caught_by("test_e12_ids_and_keys_that_differ_only_in_case_are_different", "test_every_legal_id_names_one_row")
class LetsCaseTwinsCollide(HonestSession):
    def key(self, row_id: str) -> Key:
        return self.place, row_id.casefold()


@caught_by("test_a7_tenants_whose_ids_look_alike_share_nothing")
class CutsLongTenantIds(HonestBackend):
    def provision(self, tenant_id: TenantId, region: Region | None) -> str:
        place = f"{tenant_id[:34]}@{region or ''}"
        self.places[place] = tenant_id
        return place


@caught_by("test_b5_no_ids_are_nobodys_rows")
class TakesNoIdsForAll(HonestSession):
    def changes(self, statement: Write) -> dict[Key, Row | None]:
        if isinstance(statement, Delete) and not statement.ids:
            return dict.fromkeys(self.store.rows(statement.table))
        return super().changes(statement)


@caught_by("test_b5_no_condition_is_the_tenants_own_rows_and_not_everyones")
class DropsTheTenantWithTheConditions(HonestSession):
    def count(self, statement: Count) -> int:
        return super().count(statement) if statement.where else len(self.store.rows(statement.table))


class OfNobodyInParticular(HonestSession):
    def read(self, statement: Scan) -> list[Row]:
        if self.place:
            return super().read(statement)
        return [dict(row) for row in self.store.rows(statement.table).values()]


@caught_by("test_b5_what_is_no_tenant_id_at_all_gets_no_session")
class DropsTheFilterWhenTheTenantIsEmpty(HonestBackend):
    session_type = OfNobodyInParticular

    def session(self, placement: Placement) -> Session:
        if not placement.tenant_id:
            return self.session_type(self, "")
        return super().session(placement)


@caught_by("test_e10_a_place_of_another_tenant_is_refused_or_shows_none_of_its_rows")
class TrustsThePlacement(HonestBackend):
    def session(self, placement: Placement) -> Session:
        return self.session_type(self, placement.location)


@caught_by("test_h10_a_statement_shows_the_tenants_own_rows_and_no_others")
class RunsStatementsOverEveryonesRows(HonestSession):
    def shown(self, table: Table) -> list[Row]:
        rows = self.store.rows(table)
        return [{**row, "id": key[1] if self.owns(key) else f"{key}"} for key, row in rows.items()]


@caught_by("test_h4_no_statement_changes_anything_or_shows_what_is_not_the_tenants")
class LetsStatementsWrite(HonestSession):
    def allowed(self, action: int, first: str | None, second: str | None, *_: object) -> int:
        if action == sqlite3.SQLITE_DELETE and first in self.store.setup.tables:
            self.store.tables[first].clear()
        return sqlite3.SQLITE_OK


@caught_by("test_b4_an_arrow_table_holds_the_tenants_own_rows_and_all_of_them")
class ForgetsTheTenantInArrow(HonestSession):
    def arrow(self, statement: Scan) -> Any:
        return table_of(statement.table, list(self.store.rows(statement.table).values()))


@caught_by("test_b4_an_arrow_table_holds_the_tenants_own_rows_and_all_of_them")
class ForgetsTheTenantInLaterPagesOfArrow(HonestSession):
    def arrow(self, statement: Scan) -> Any:
        if statement.after is None:
            return super().arrow(statement)
        return table_of(statement.table, [dict(row) for row in self.store.rows(statement.table).values()])


@caught_by("test_b4_a_transaction_that_only_reads_shows_the_tenants_own_rows")
class ForgetsTheTenantWhereNothingIsWritten(HonestSession):
    reads_only = False

    def begin(self, *, read_only: bool = False) -> None:
        super().begin(read_only=read_only)
        self.reads_only = read_only

    def owns(self, key: Key) -> bool:
        return self.reads_only or super().owns(key)


@caught_by("test_b5_a_long_list_of_ids_finds_the_tenants_own_rows_only")
class ForgetsTheTenantInLongLists(HonestSession):
    def count(self, statement: Count) -> int:
        if not any(condition.operator is Operator.IN and len(condition.value) > 50 for condition in statement.where):
            return super().count(statement)
        return len(matching([dict(row) for row in self.store.rows(statement.table).values()], statement.where))


@caught_by("test_h10_each_table_of_a_statement_holds_the_tenants_own_rows")
class FiltersTheFirstTableOfAStatement(HonestSession):
    def shown(self, table: Table) -> list[Row]:
        if table.name == "specimens":
            return super().shown(table)
        return [{**row, "id": f"{key}"} for key, row in self.store.rows(table).items()]
