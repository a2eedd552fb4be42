"""Rows that count: a table that declares a quota is counted by its rows, whatever becomes of the process.

A writer says beforehand that rows may come or go (the tally is open, and what they may need is held), and
afterwards what became of it. A tally that is still open when the next writer comes, or the next engine, tells that
nobody knows: the rows are counted anew. Callers see to it that one writer of a tenant is at work at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from partywall.clock import Clock, month_of
from partywall.ledger import Ledger, RowTally, Transaction
from partywall.model import Table
from partywall.names import TableName, TenantId
from partywall.quotas.admission import require_room
from partywall.quotas.counters import hold, standing
from partywall.quotas.counting import Counting
from partywall.quotas.reservations import Reservations, Sweep
from partywall.quotas.tenants import Tenants, require_in_service

__all__ = ["CountedRows"]


class CountedRows:
    """Counts the rows of tables that declare a quota. Thread-safe."""

    def __init__(
        self,
        ledger: Ledger,
        tenants: Tenants,
        clock: Clock,
        counting: Counting,
        reservations: Reservations,
        tables: Mapping[TableName, Table],
    ) -> None:
        self._ledger = ledger
        self._tenants = tenants
        self._clock = clock
        self._counting = counting
        self._reservations = reservations
        by_metric: dict[str, list[str]] = defaultdict(list)
        for name, table in sorted(tables.items()):
            if table.quota is not None:
                by_metric[table.quota].append(name)
        self._tables = {metric: tuple(names) for metric, names in by_metric.items()}

    @property
    def tables(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the tables that are counted, by metric."""
        return self._tables

    def expect(
        self, tenant_id: TenantId, metric: str, change: int, *, first: bool = True, rows: int | None = None
    ) -> bool:
        """Be told that the writer at work will have added ``change`` rows in all, fewer than none if it removes some.

        False, with nothing done, when it is not known how many rows there are: the writer counts them before it
        writes and says so with ``rows``. ``first`` is whether it is the writer's first word on the metric. Raises
        QuotaExceeded, the refusals of a tenant that is not in service, LedgerError.
        """

        def work(tx: Transaction, sweep: Sweep) -> bool:
            known = require_in_service(self._tenants, tx, tenant_id)
            tally = self._tally(tx, known, metric)
            if first and not self._known(tally):
                if rows is None:
                    return False
                tally = self._close(tx, tally, rows)
            more = max(0, change - tally.held)
            if more:
                sweep(tx, known)
                month = month_of(self._clock.now())
                require_room(standing(tx, known, month), {metric: more}, self._tenants.grants(known))
                hold(tx, known, month, {metric: more})
            tx.put_row_tally(replace(tally, held=tally.held + more, open=True))
            return True

        known = self._reservations.swept(work)
        self._ledger.sync()  # that the tally is open is on disk before any row is
        return known

    def settle(self, tenant_id: TenantId, changes: Mapping[str, int]) -> None:
        """Count what the writer at work has committed, by metric; zeros when it wrote nothing. Raises LedgerError."""

        def work(tx: Transaction) -> None:
            for tally in tx.row_tallies(tenant_id):
                if tally.metric in changes:
                    self._close(tx, tally, tally.rows + changes[tally.metric])

        self._ledger.write(work)

    def recounted(self, tenant_id: TenantId, rows: Mapping[str, int]) -> None:
        """Take it that there are so many rows, by metric, and no writer is at work. Raises LedgerError."""

        def work(tx: Transaction) -> None:
            imposed = tx.lifecycle(tenant_id)
            if imposed is None or imposed.purged_at is None:
                for metric, counted in rows.items():
                    self._close(tx, self._tally(tx, tenant_id, metric), counted)

        self._ledger.write(work)

    def unsettled(self) -> list[TenantId]:
        """The tenants whose rows came or went, or not, when an engine ended."""
        tallies = self._ledger.read(lambda tx: tx.row_tallies())
        return sorted({tally.tenant_id for tally in tallies if tally.open and tally.metric in self._tables})

    def uncounted(self, tenant_ids: Iterable[TenantId]) -> list[TenantId]:
        """Those among the tenants whose rows were not counted since the present tables declare a quota."""
        if not self._tables:
            return []
        tallies = {(tally.tenant_id, tally.metric): tally for tally in self._ledger.read(lambda tx: tx.row_tallies())}

        def missing(tenant_id: TenantId, metric: str) -> bool:
            tally = tallies.get((tenant_id, metric))
            return tally is None or tally.tables != self._tables[metric]

        return [known for known in tenant_ids if any(missing(known, metric) for metric in self._tables)]

    def retire(self) -> None:
        """Give back the rows of quotas that no table declares any more."""

        def stale(tx: Transaction) -> list[RowTally]:
            return [tally for tally in tx.row_tallies() if tally.metric not in self._tables]

        def work(tx: Transaction) -> None:
            for tally in stale(tx):
                self._close(tx, tally, 0)
                tx.forget_row_tally(tally.tenant_id, tally.metric)

        if self._ledger.read(stale):
            self._ledger.write(work)

    def _tally(self, tx: Transaction, tenant_id: TenantId, metric: str) -> RowTally:
        found = {tally.metric: tally for tally in tx.row_tallies(tenant_id)}
        return found.get(metric) or RowTally(tenant_id, metric, (), 0)

    def _known(self, tally: RowTally) -> bool:
        return not tally.open and tally.tables == self._tables[tally.metric]

    def _close(self, tx: Transaction, tally: RowTally, rows: int) -> RowTally:
        month = month_of(self._clock.now())
        self._counting.let_go(tx, tally.tenant_id, month, {tally.metric: tally.held})
        # What was counted by hand stands beside the rows; it may have been corrected to less than the rows alone.
        counted = standing(tx, tally.tenant_id, month).counted[tally.metric]
        change = max(rows - tally.rows, -counted)
        if change:
            self._counting.count(tx, tally.tenant_id, {tally.metric: change}, kind="rows", settling=True)
        tables = self._tables.get(tally.metric, ())
        closed = replace(tally, tables=tables, rows=rows, held=0, open=False)
        tx.put_row_tally(closed)
        return closed
