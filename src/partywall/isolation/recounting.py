"""Counts rows that quotas count, where nobody knows how many there are: after a kill, or under new tables."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from partywall.backend import Placement, Session
from partywall.directory import Directory
from partywall.errors import PartywallError
from partywall.isolation.counting import RowCounter
from partywall.isolation.execution import Execution
from partywall.isolation.scope import Scope, unit_of
from partywall.isolation.statements import Guard
from partywall.ledger import Ledger
from partywall.model import Status
from partywall.names import TenantId

__all__ = ["Recounting"]

_log: Final = logging.getLogger("partywall.isolation")
_SECONDS: Final = 0.2
"""How long one call counts, so that other upkeep is not kept waiting."""


class Recounting:
    """Counts at the start what a kill left open, and beside the work what nobody has counted before."""

    def __init__(
        self,
        directory: Directory,
        ledger: Ledger,
        guard: Guard,
        rows: RowCounter,
        scope: Callable[[TenantId], Scope],
        opened: Callable[[Placement], Scope],
        durable: Callable[[Placement], bool],
    ) -> None:
        self._directory = directory
        self._ledger = ledger
        self._guard = guard
        self._rows = rows
        self._scope = scope
        self._opened = opened
        self._durable = durable
        self._waiting: deque[TenantId] = deque()

    def recover(self) -> None:
        """Count the rows that came or went, or not, when the engine before this one ended; called before any work.

        A store that cannot be read is logged: the tenant's next writer counts then.
        """
        if not self._rows.tables:
            return
        placements = {each.tenant_id: each for each in self._ledger.read(lambda tx: tx.placements())}
        self._waiting.extend(self._rows.uncounted(placements))
        unsettled = frozenset(self._rows.unsettled())
        for tenant_id, placement in placements.items():
            try:
                if not self._durable(placement):
                    self._rows.recounted(tenant_id, dict.fromkeys(self._rows.tables, 0))
                elif tenant_id in unsettled:
                    self._recount(self._opened(placement))
            except PartywallError as error:
                _log.warning("the rows of %s could not be counted yet: %s", tenant_id, error)

    def go_on(self) -> None:
        """Count for a moment the rows of tenants in service whose tables declare a quota anew; called regularly."""
        until = time.monotonic() + _SECONDS
        for _ in range(len(self._waiting)):
            if time.monotonic() > until:
                return
            tenant_id = self._waiting.popleft()
            if self._directory.status(tenant_id) is not Status.ACTIVE or not self._counted_beside_work(tenant_id):
                self._waiting.append(tenant_id)

    def _counted_beside_work(self, tenant_id: TenantId) -> bool:
        try:
            find = partial(self._scope, tenant_id)
            with unit_of(find, writes=True, transactional=lambda _: True, timeout=0) as (scope, unit):
                self._rows.recounted(tenant_id, unit.run(partial(self._counted, scope)))
        except PartywallError as error:
            _log.debug("the rows of %s could not be counted yet: %s", tenant_id, error)
            return False
        return True

    def _recount(self, scope: Scope) -> None:
        session = scope.session()
        try:
            session.begin(read_only=True)
            self._rows.recounted(scope.placement.tenant_id, self._counted(scope, session))
        finally:
            session.close()

    def _counted(self, scope: Scope, session: Session) -> dict[str, int]:
        execution = Execution(self._guard, scope)
        return {metric: execution.counted(session, tables) for metric, tables in self._rows.tables.items()}
