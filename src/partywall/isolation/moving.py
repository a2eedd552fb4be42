"""Moving a tenant's data to another strategy or region: copied, compared, switched, and then destroyed behind it.

A move is an operation in the ledger. Until the placement is switched the tenant is where it was, and an
interruption undoes the move: the new place is emptied. From the switch on the tenant is in its new place, and
an interruption leaves only the old place to be destroyed. The switch is one transaction of the ledger.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Final

from partywall.backend import Capability, Placement
from partywall.directory import Directory
from partywall.errors import BackendError, ConfigError, InvalidArgument, PartywallError, TenantConflict, TenantNotFound
from partywall.isolation.copying import End, copy_rows
from partywall.isolation.pending import pending_moves
from partywall.isolation.places import Places
from partywall.isolation.scope import Scope, cancel_token
from partywall.isolation.stores import Stores
from partywall.journal import Journal
from partywall.ledger import Operation, OperationState, Transaction
from partywall.model import Status, Strategy, Table
from partywall.names import Region, TenantId

__all__ = ["Batch", "Move", "Moves"]

_log: Final = logging.getLogger("partywall.moves")
_PATIENCE: Final = 30.0
"""Seconds that a move waits for open transactions, and then for statements in progress."""

Edit = Callable[[TenantId, Mapping[str, object]], None]
"""Writes settings of a tenant's file."""


@dataclass(frozen=True, slots=True)
class Move:
    """A tenant whose data lives in its new place."""

    tenant_id: TenantId
    source: Placement
    target: Placement
    """Equal to ``source`` when the data was there already."""
    rows: int
    """How many rows were copied."""
    destroyed: bool
    """Whether nothing is left in the old place; the engine goes on trying once a minute until then."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of all pending moves. Those that failed changed nothing, and are pending still."""

    moved: Sequence[Move]
    failed: Mapping[TenantId, PartywallError] = field(default_factory=dict)


class Moves:
    """Moves tenants, one at a time each; what a crash interrupts is undone or finished at the next start."""

    KIND: Final = "tenant.move"

    def __init__(
        self,
        places: Places,
        directory: Directory,
        stores: Stores,
        journal: Journal,
        tables: Mapping[Any, Table],
        edit: Edit,
    ) -> None:
        self._places = places
        self._directory = directory
        self._stores = stores
        self._journal = journal
        self._tables = tables
        self._edit = edit
        self._busy: set[TenantId] = set()
        self._choosing = threading.Lock()

    def move(self, tenant_id: TenantId, strategy: Strategy | None, region: Region | None) -> Move:
        """Move the tenant where it is told, or where its plan and file wish when it is told nothing."""
        with self._alone(tenant_id):
            self._finish_left(tenant_id)
            source = self._places.provision(tenant_id)
            named = [part for part, told in (("strategy", strategy), ("region", region)) if told is not None]
            wished = self._places.wanted(tenant_id)
            to = (strategy or source.strategy, region or source.region) if named else wished
            self._places.check_placeable(*to)
            target = Placement(tenant_id, to[0], self._stores.chosen(to[0]).spec.name, to[1], "")
            if _door(source) == _door(target):
                self._keep_wish(source, named)
                return Move(tenant_id, source, source, 0, destroyed=True)
            operation = self._journal.begin(
                self.KIND,
                tenant_id,
                {"source": asdict(source), "target": asdict(target), "named": named, "switched": False},
                also=partial(self._require_movable, tenant_id),
            )
            return self._carry_out(operation)

    def move_pending(self) -> Batch:
        """Carry out every pending move of tenants that are not deleted; one that fails keeps none of the others."""
        moved: list[Move] = []
        failed: dict[TenantId, PartywallError] = {}
        for pending in list(pending_moves(self._directory, self._journal.ledger)):
            if self._directory.status(pending.tenant_id) in (None, Status.DELETED):
                continue
            try:
                moved.append(self.move(pending.tenant_id, None, None))
            except PartywallError as error:
                _log.warning("%s was not moved: %s", pending.tenant_id, error)
                failed[pending.tenant_id] = error
        return Batch(moved, failed)

    def settle(self, tenant_id: TenantId) -> None:
        """Finish what an earlier move left; TenantConflict while one is under way."""
        with self._alone(tenant_id):
            self._finish_left(tenant_id)

    def finish_left(self) -> None:
        """Finish or undo the moves that nobody is at work on any more; one that cannot be is tried again."""
        for operation in self._unfinished():
            tenant_id = TenantId(str(operation.tenant_id))
            if tenant_id in self._busy:
                continue
            try:
                self.settle(tenant_id)
            except PartywallError as error:
                _log.warning("the move of %s could not be finished yet: %s", tenant_id, error)

    @contextmanager
    def _alone(self, tenant_id: TenantId) -> Iterator[None]:
        with self._choosing:
            if tenant_id in self._busy:
                raise TenantConflict("the tenant is being moved; try again when that has ended")
            self._busy.add(tenant_id)
        try:
            yield
        finally:
            self._busy.discard(tenant_id)

    def _unfinished(self) -> list[Operation]:
        return [operation for operation in self._journal.unfinished() if operation.kind == self.KIND]

    def _finish_left(self, tenant_id: TenantId) -> None:
        for operation in self._unfinished():
            if operation.tenant_id != tenant_id:
                continue
            if operation.arguments["switched"]:
                self._conclude(operation)
            else:
                self._undo(operation, BackendError("the engine stopped during the move; the tenant is where it was"))

    def _require_movable(self, tenant_id: TenantId, tx: Transaction) -> None:
        record = tx.lifecycle(tenant_id)
        status = self._directory.status(tenant_id)
        if status is None:
            raise TenantNotFound("no such tenant")
        if status is Status.DELETED or (record is not None and record.status is Status.DELETED):
            raise TenantConflict("the tenant is deleted; restore it first")
        steps = ("tenant.create", "tenant.purge")
        if any(each.tenant_id == tenant_id and each.kind in steps for each in tx.operations(OperationState.RUNNING)):
            raise TenantConflict("another step of the tenant's life is under way; try again when that has ended")

    def _carry_out(self, operation: Operation) -> Move:
        tenant_id = TenantId(str(operation.tenant_id))
        with self._journal.undoing(lambda error: self._undo_unless_switched(operation, error)):
            scope = self._places.scope(tenant_id)
            with scope.writers_stopped(_PATIENCE):
                operation, counts = self._copy(operation)
                operation = self._switch(operation, scope, counts)
        move = Move(tenant_id, _source(operation), _target(operation), sum(counts.values()), destroyed=True)
        try:
            self._conclude(operation)
        except PartywallError as error:
            _log.warning("the old place of %s could not be destroyed yet: %s", tenant_id, error)
            return Move(tenant_id, move.source, move.target, move.rows, destroyed=False)
        return move

    def _copy(self, operation: Operation) -> tuple[Operation, dict[str, int]]:
        source, target = _source(operation), _target(operation)
        backend = self._stores.backend(target.backend)
        location = backend.provision(target.tenant_id, target.region)
        target = Placement(**{**asdict(target), "location": location})
        operation = self._journal.advance(operation, "copying", {"target": asdict(target)})
        if backend.stamp(target) != target.tenant_id:
            raise BackendError("the new place does not say that it is the tenant's; nothing was moved")
        with (
            closing(self._places.ready(source).session(source)) as reading,
            closing(backend.session(target)) as writing,
        ):
            ends = (End(reading, self._filters(source)), End(writing, self._filters(target)))
            return operation, copy_rows(*ends, self._tables.values(), lambda _: self._require_there(source.tenant_id))

    def _switch(self, operation: Operation, scope: Scope, counts: Mapping[str, int]) -> Operation:
        target = _target(operation)
        details = {"from": _told(_source(operation)), "to": _told(target), "rows": counts}
        switched: list[Operation] = []

        def also(tx: Transaction) -> None:
            tx.put_placement(target)
            self._journal.audit.record(
                tx, "tenant.moved", tenant_id=target.tenant_id, actor=operation.actor, details=details
            )

        def commit() -> None:
            switched.append(self._journal.advance(operation, "switched", {"switched": True}, also=also))

        with scope.emptied(_PATIENCE):
            self._places.switch(target.tenant_id, commit)
        return switched[0]

    def _undo_unless_switched(self, operation: Operation, error: Exception) -> None:
        current = self._journal.ledger.read(lambda tx: tx.operation(operation.id))
        if current is not None and not current.arguments["switched"]:
            self._undo(current, error)

    def _undo(self, operation: Operation, error: Exception) -> None:
        target = _target(operation)
        backend = self._stores.backend(target.backend)
        location = target.location or backend.provision(target.tenant_id, target.region)
        backend.drop(Placement(**{**asdict(target), "location": location}))
        self._journal.fail(operation, error)

    def _conclude(self, operation: Operation) -> None:
        source, target = _source(operation), _target(operation)
        self._keep_wish(target, operation.arguments["named"])
        self._stores.backend(source.backend).drop(source)
        self._journal.finish(operation, "tenant.place_destroyed", _told(source))

    def _keep_wish(self, placement: Placement, named: Sequence[str]) -> None:
        """Let the tenant's file wish for what was named, so that no pending move leads back."""
        tenant_id = placement.tenant_id
        if not named or self._directory.status(tenant_id) is None:
            return
        strategy, region = self._places.wanted(tenant_id)
        edits: dict[str, object] = {}
        if "strategy" in named and strategy is not placement.strategy:
            edits["isolation"] = placement.strategy.value
        if "region" in named and region != placement.region:
            edits["settings.dataResidency"] = placement.region
        try:
            if edits:
                self._edit(tenant_id, edits)
        except (ConfigError, InvalidArgument, TenantConflict, OSError) as error:
            # The placement is the truth; a source that cannot be written shows as a pending move.
            _log.warning("the file of %s could not be written after its move: %s", tenant_id, error)

    def _require_there(self, tenant_id: TenantId) -> None:
        token = cancel_token.get()
        if token is not None and token.cancelled:
            raise BackendError("the move was interrupted; nothing was moved")
        if self._directory.status(tenant_id) is None:
            raise BackendError("the tenant's file is gone, or the engine is closing; nothing was moved")

    def _filters(self, placement: Placement) -> bool:
        return Capability.FILTERS in self._places.capabilities(placement)


def _door(placement: Placement) -> tuple[str, Region | None]:
    return placement.backend, placement.region


def _told(placement: Placement) -> dict[str, Any]:
    return {"strategy": str(placement.strategy), "backend": placement.backend, "region": placement.region}


def _placement(document: Mapping[str, Any]) -> Placement:
    return Placement(**{**document, "strategy": Strategy(document["strategy"])})


def _source(operation: Operation) -> Placement:
    return _placement(operation.arguments["source"])


def _target(operation: Operation) -> Placement:
    return _placement(operation.arguments["target"])
