"""Backends that lose, keep or change what they were given, each in one way."""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from honest import DurableBackend, HonestBackend, HonestSession, Key
from suspects import caught_by

from partywall.backend import (
    Aggregate,
    Capability,
    Count,
    Placement,
    Row,
    Scan,
    Write,
)
from partywall.errors import BackendError, ConstraintViolation
from partywall.model import Table
from partywall.names import Region, TenantId
from partywall.operators import Operator, matching


@caught_by(
    "test_the_last_commit_is_there_after_a_restart",
    "test_every_acknowledged_commit_survives_a_kill",
    "test_what_was_acknowledged_is_there_after_a_restart_of_the_engine",
    durable=True,
)
class LosesTheLastCommit(DurableBackend):
    waiting: bytes | None = None

    def write_file(self, path: Path, content: bytes) -> None:
        if path.parent == self.setup.folder(None):
            content, self.waiting = self.waiting or b"", content
        if content:
            super().write_file(path, content)


@caught_by(
    "test_a_commit_after_a_failed_statement_raises_and_writes_nothing",
    "test_no_later_statement_mends_a_failed_transaction",
)
class CommitsNothingAndSaysItDid(HonestSession):
    def commit(self) -> None:
        if self.failed:
            self.rollback()
        else:
            super().commit()


@caught_by("test_a_commit_after_a_failed_statement_raises_and_writes_nothing")
class CommitsWhatCameBeforeTheFailure(HonestSession):
    def commit(self) -> None:
        self.failed = False
        super().commit()


@caught_by("test_a_statement_that_fails_writes_nothing")
class WritesHalfAStatement(HonestSession):
    def inserted(self, table: Table, rows: Sequence[Row]) -> dict[Key, Row | None]:
        if self.draft is None and len(rows) > 1:
            for row in rows:
                self.apply({table.name: super().inserted(table, [row])})
            return {}
        return super().inserted(table, rows)


@caught_by("test_e9_g10_a_place_made_again_after_a_drop_is_empty")
class ResurrectsDroppedRows(HonestBackend):
    def drop(self, placement: Placement) -> None:
        self.places.pop(placement.location, None)


@caught_by("test_several_tenants_that_are_dropped_at_once_are_gone_and_the_others_whole")
class DropsTheFirstOfSeveral(HonestBackend):
    def drop_many(self, placements: Sequence[Placement]) -> None:
        self.drop(placements[0])


@caught_by("test_e9_what_was_dropped_is_not_there_after_a_restart", durable=True)
class ForgetsADropAtTheNextStart(DurableBackend):
    def drop(self, placement: Placement) -> None:
        self.durable = False
        super().drop(placement)
        self.durable = True


@caught_by(
    "test_g11_after_a_drop_none_of_the_tenants_bytes_are_in_the_folder",
    "test_g11_after_a_purge_no_byte_of_the_tenants_rows_is_in_the_data_folder",
    durable=True,
)
class KeepsTheFileOfBefore(DurableBackend):
    def write_file(self, path: Path, content: bytes) -> None:
        if path.exists():
            path.replace(path.with_name("before"))
        super().write_file(path, content)


@caught_by("test_g11_after_a_drop_the_oracle_finds_nothing_of_the_tenant")
class HidesInsteadOfDestroying(HonestBackend):
    def drop(self, placement: Placement) -> None:
        for rows in self.tables.values():
            for key in [key for key in rows if key[0] == placement.location]:
                rows[f"hidden {key[0]}", key[1]] = rows.pop(key)
        super().drop(placement)


@caught_by("test_i6_errors_name_nothing_of_another_tenants", "test_i2_a_refusal_is_the_same_whatever_the_others_have")
class ShowsTheRowsAroundAnError(HonestSession):
    def changed(self, statement: Write) -> int:
        try:
            return super().changed(statement)
        except Exception as error:
            raise BackendError(f"failed beside {list(self.store.rows(statement.table).values())}") from error


@caught_by("test_a_taken_key_is_refused_whoever_checks_it", "test_i6_a_taken_key_is_told_without_values[write1]")
class NamesTheRowThatHasTheKey(HonestSession):
    def require_free(self, table: Table, changes: dict[Key, Row | None]) -> None:
        try:
            super().require_free(table, changes)
        except ConstraintViolation as error:
            raise ConstraintViolation(f"{error} in {table.name}: {list(self.store.rows(table).items())}") from None


@caught_by(
    "test_i2_what_a_tenant_sees_is_the_same_with_and_without_the_others",
)
class OrdersByWhatOthersHave(HonestSession):
    def read(self, statement: Scan) -> list[Row]:
        rows = super().read(statement)
        return rows[::-1] if len(self.store.rows(statement.table)) % 2 and not statement.order_by else rows


@caught_by(
    "test_i2_what_a_tenant_sees_is_the_same_with_and_without_the_others",
    "test_i2_i7_what_a_caller_is_told_is_the_same_with_and_without_the_others",
)
class NumbersRefusalsAcrossTenants(HonestSession):
    def require_free(self, table: Table, changes: dict[Key, Row | None]) -> None:
        try:
            super().require_free(table, changes)
        except ConstraintViolation as error:
            raise ConstraintViolation(f"{error} (row {len(self.store.rows(table)) + 1})") from None


@caught_by("test_a_rollback_undoes_every_write")
class IgnoresARollback(HonestSession):
    def rollback(self) -> None:
        draft, self.draft = self.draft, None
        self.apply(draft or {})

    def close(self) -> None:
        self.draft = None


@caught_by(
    "test_closing_a_session_rolls_its_transaction_back_and_never_raises",
    "test_a_mixture_of_calls_of_several_tenants_is_answered_as_a_model_says[0]",
)
class CommitsAtClose(HonestSession):
    def close(self) -> None:
        self.apply(self.draft or {})
        self.rollback()


@caught_by("test_nobody_sees_a_transaction_before_its_commit", "test_a_rollback_undoes_every_write")
class WritesThroughBeforeTheCommit(HonestSession):
    def begin(self, *, read_only: bool = False) -> None:
        self.open = True

    def commit(self) -> None:
        if self.failed:
            raise BackendError("failed")


@caught_by("test_e10_a_store_whose_files_are_replaced_by_links_is_refused", durable=True)
class FollowsALink(DurableBackend):
    def file(self, region: Region | None) -> Path:
        return self.setup.folder(region) / "rows"

    def write_file(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)


@caught_by("test_regions_keep_the_rows_of_one_tenant_apart", durable=True)
class KeepsEveryRegionAtHome(DurableBackend):
    def file(self, region: Region | None) -> Path:
        return self.setup.folder(None) / f"rows-{region or ''}"


@caught_by(
    "test_like_and_missing_values_mean_what_they_mean_in_python",
    "test_a_mixture_of_calls_of_several_tenants_is_answered_as_a_model_says[0]",
)
class FoldsCaseInLike(HonestSession):
    def read(self, statement: Scan) -> list[Row]:
        folded = [
            replace(each, value=each.value.casefold()) if each.operator is Operator.LIKE else each
            for each in statement.where
        ]
        rows = [
            {**row, "label": row["label"] and row["label"].casefold()} for row in self.mine(statement.table).values()
        ]
        wanted = {row["id"] for row in matching(rows, folded)}
        return [row for row in super().read(replace(statement, where=())) if row["id"] in wanted]


@caught_by(
    "test_like_and_missing_values_mean_what_they_mean_in_python",
    "test_i8_every_condition_holds_for_the_rows_that_python_says[amount-integer]",
)
class TakesMissingForDifferent(HonestSession):
    def read(self, statement: Scan) -> list[Row]:
        unlike = [each for each in statement.where if each.operator is Operator.NE]
        rows = super().read(statement)
        missing = [
            dict(row) for row in self.mine(statement.table).values() if any(row[c.column] is None for c in unlike)
        ]
        return rows + missing


@caught_by("test_i3_a_count_is_of_the_tenants_own_rows")
class CountsEveryonesRows(HonestSession):
    def count(self, statement: Count) -> int:
        return len(matching(list(self.store.rows(statement.table).values()), statement.where))


@caught_by("test_i8_measures_are_what_python_says_over_the_tenants_own_rows[group_by0]")
class MeasuresBeforeItFilters(HonestSession):
    def aggregate(self, statement: Aggregate) -> Sequence[Row]:
        total = sum(row["amount"] or 0 for row in self.store.rows(statement.table).values())
        if total >= 2**63:
            raise OverflowError("out of range")
        return super().aggregate(statement)


@caught_by("test_the_stamp_of_a_dropped_place_is_nobodys")
class LiesInItsStamp(HonestBackend):
    def stamp(self, placement: Placement) -> TenantId | None:
        return placement.tenant_id


@caught_by("test_g7_a_session_that_outlives_the_drop_reads_and_writes_nothing")
class WritesAfterTheDrop(HonestSession):
    def require_place(self) -> None:
        return


@caught_by("test_rows_are_fully_read_and_the_callers_own")
class HandsOutItsOwnRows(HonestSession):
    def read(self, statement: Scan) -> list[Row]:
        super().read(statement)
        return list(self.mine(statement.table).values())


@caught_by("test_every_value_comes_back_as_it_was_written[float]")
class RoundsFloats(HonestSession):
    def inserted(self, table: Table, rows: Sequence[Row]) -> dict[Key, Row | None]:
        for row in rows:
            if isinstance(row.get("score"), float) and abs(row["score"]) < 1e38:
                row["score"] = struct.unpack("f", struct.pack("f", row["score"]))[0]
        return super().inserted(table, rows)


class OverwritesTheOthers(HonestSession):
    def commit(self) -> None:
        draft, seen = self.draft or {}, self.seen
        self.rollback()
        for table, rows in draft.items():
            self.store.tables[table] = seen.get(table, {})
            self.apply({table: rows})

    def begin(self, *, read_only: bool = False) -> None:
        super().begin()
        self.seen = {table: dict(rows) for table, rows in self.store.tables.items()}
        self.store.rendezvous()  # type: ignore[attr-defined]


@caught_by("test_writers_of_several_tenants_at_once_keep_to_their_own")
class LosesRacingCommits(HonestBackend):
    session_type = OverwritesTheOthers

    def __init__(self, setup: Any) -> None:
        super().__init__(setup)
        self.together = threading.Barrier(2)

    def rendezvous(self) -> None:
        with suppress(threading.BrokenBarrierError):
            self.together.wait(0.05)


@caught_by("test_an_interrupted_statement_fails_soon_and_its_transaction_writes_nothing", claims=Capability.INTERRUPTS)
class IsDeafToInterrupts(HonestSession):
    """Honest, but for its claim."""
