"""What writers tell of the rows that come and go, so that they count against quotas."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

from partywall.errors import LedgerError
from partywall.names import TenantId

__all__ = ["RowChanges", "RowCounter"]

_log: Final = logging.getLogger("partywall.isolation")


class RowCounter(Protocol):
    """Who counts rows; the engine hands it in, because the wall knows nothing of plans."""

    @property
    def tables(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the tables that are counted, by metric."""

    def expect(
        self, tenant_id: TenantId, metric: str, change: int, *, first: bool = True, rows: int | None = None
    ) -> bool:
        """Be told what the writer at work will have added; False when the rows must be counted first."""

    def settle(self, tenant_id: TenantId, changes: Mapping[str, int]) -> None:
        """Count what the writer at work has committed, by metric; zeros when it wrote nothing."""

    def recounted(self, tenant_id: TenantId, rows: Mapping[str, int]) -> None:
        """Take it that there are so many rows, by metric, and no writer is at work."""

    def unsettled(self) -> list[TenantId]:
        """The tenants whose rows came or went, or not, when an engine ended."""

    def uncounted(self, tenant_ids: Iterable[TenantId]) -> list[TenantId]:
        """Those among the tenants whose rows were not counted since the present tables declare a quota."""


class RowChanges:
    """What one unit of work does to the number of a tenant's counted rows; used by the unit's own thread."""

    def __init__(self, tenant_id: TenantId, counter: RowCounter) -> None:
        self._tenant_id = tenant_id
        self._counter = counter
        self._net: dict[str, int] = {}
        self._committing = False
        self._committed = False

    def expect(self, metric: str, added: int, count: Callable[[tuple[str, ...]], int]) -> None:
        """Rows are about to be added, or removed if ``added`` is 0; ``count`` counts those of tables as they are.

        Raises QuotaExceeded when there is no room for them.
        """
        first = metric not in self._net
        change = self._net.get(metric, 0) + added
        if not self._counter.expect(self._tenant_id, metric, change, first=first):
            rows = count(self._counter.tables[metric])
            self._counter.expect(self._tenant_id, metric, change, rows=rows)
        self._net[metric] = change

    def removed(self, metric: str, rows: int) -> None:
        """So many rows were removed."""
        self._net[metric] -= rows

    def committing(self) -> None:
        """The commit begins: should it fail, nobody knows what there is until it is counted."""
        self._committing = True

    def committed(self) -> None:
        """The commit returned."""
        self._committed = True

    def end(self) -> None:
        """Tell what became of it, once nothing of it can be committed any more."""
        if not self._net or self._committing > self._committed:
            return
        outcome = self._net if self._committed else dict.fromkeys(self._net, 0)
        try:
            self._counter.settle(self._tenant_id, outcome)
        except LedgerError:
            # What the store did, it did; the tally stays open, and the tenant's next writer counts the rows.
            _log.warning("rows of %s could not be settled; they are counted anew", self._tenant_id, exc_info=True)
