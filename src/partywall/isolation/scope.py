"""One tenant's way to its data, and the work in progress on it.

Every statement runs in a ``Unit``: one session, registered with its tenant's ``Scope`` while it lives, so
that a suspension can interrupt it, roll it back, and know when nothing is left. A unit commits only if the
tenant is still in service at that moment. A tenant's writers take turns, which closes the lost updates
and the racing references that snapshot isolation allows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import NoReturn, TypeVar

from partywall.backend import Backend, Capability, Placement, Session
from partywall.directory import Directory
from partywall.errors import BackendError, PartywallError, QueryError, TenantConflict
from partywall.isolation.counting import RowChanges, RowCounter

__all__ = ["CancelToken", "Retired", "Scope", "TurnTaken", "Unit", "cancel_token", "may_wait", "unit_of"]

T = TypeVar("T")

_SLICE = 0.05
"""Seconds between two looks, while waiting for a turn, at whether waiting still makes sense."""
_HOLD = 1.0
"""Seconds for which a move that waits for a long statement holds up others, before it lets them through again."""


class CancelToken:
    """Reaches the unit that a call in a worker thread is busy with, for whoever awaits that call."""

    def __init__(self) -> None:
        self._unit: Unit | None = None
        self.cancelled = False

    def attach(self, unit: Unit) -> None:
        """Name the unit that is at work now."""
        self._unit = unit
        if self.cancelled:
            unit.cancel()

    def cancel(self) -> None:
        """Interrupt the unit: what it wrote is rolled back, unless its commit has begun."""
        self.cancelled = True
        unit = self._unit
        if unit is not None:
            unit.cancel()


class TurnTaken(Exception):
    """Another writer of the tenant is at work; nothing was begun, and the call can be made again."""


class Retired(Exception):
    """The tenant lives in another place by now; nothing was begun, and its scope has to be looked up again."""


may_wait: ContextVar[bool] = ContextVar("partywall_may_wait", default=True)
"""Whether a writer may hold its thread while it waits for its turn; where not, TurnTaken is raised."""
cancel_token: ContextVar[CancelToken | None] = ContextVar("partywall_cancel", default=None)
"""Set around a call by whoever may want to cancel it from another thread."""


class Unit:
    """One transaction or one statement in progress; used by one thread at a time."""

    def __init__(self, scope: Scope, session: Session, *, writes: bool, transactional: bool) -> None:
        self._scope = scope
        self._session = session
        self._writes = writes
        self._transactional = transactional
        self._busy = threading.Lock()
        self._committing = False
        self._failed = False
        self._cancelled = False
        self._closed = False
        self.rows = RowChanges(scope.placement.tenant_id, scope.rows) if writes else None
        """What it does to the number of rows that quotas count; None for a unit that only reads."""
        self.owner = threading.get_ident()
        self.over = False
        """Whether its block has ended; contexts that were copied within the block still name it."""

    @property
    def cancelled(self) -> bool:
        """Whether it was stopped from another thread: what it still does is for nobody."""
        return self._cancelled

    def run(self, work: Callable[[Session], T]) -> T:
        """Run statements on the session; a failure spoils the whole unit."""
        self._scope.require_active()
        token = cancel_token.get()
        if token is not None:
            token.attach(self)
        with self._busy:
            self._require_usable()
            try:
                result = work(self._session)
            except QueryError:
                self._failed = self._transactional
                raise
            except PartywallError:
                self._failed = True
                if self._cancelled:
                    self._refuse_cancelled()
                raise
            except Exception as error:
                self._failed = True
                self._scope.require_active()
                raise BackendError("the store could not carry out the statement; nothing was written") from error
            except BaseException:  # Ctrl-C
                self._failed = True
                raise
            if self._cancelled and not self._writes:
                self._refuse_cancelled()
            return result

    def finish(self) -> None:
        """Commit, if the tenant is still in service and nothing failed; otherwise raise, with nothing written."""
        with self._busy:
            self._require_usable()
            if not self._transactional:
                return
            self._committing = True
            try:
                self._scope.require_active()
                self._commit()
            except PartywallError:
                raise
            except Exception as error:
                raise BackendError("the store could not commit; nothing was written") from error
            finally:
                self._committing = False

    def abandon(self) -> None:
        """Close the session for good; whatever is not committed is rolled back."""
        self.over = True
        with self._busy:
            self._close()
        if self.rows is not None:
            self.rows.end()

    def cancel(self) -> None:
        """Stop the unit from another thread: interrupt what runs, and roll back as soon as it stands still."""
        if self._committing:
            return
        self._cancelled = True
        if self._scope.interrupts:
            self._session.interrupt()
        if self._busy.acquire(timeout=1.0):
            try:
                self._close()
            finally:
                self._busy.release()

    def _commit(self) -> None:
        if self.rows is not None:
            self.rows.committing()
        self._session.commit()
        if self.rows is not None:
            self.rows.committed()

    def _require_usable(self) -> None:
        if threading.get_ident() != self.owner:
            raise QueryError("a transaction belongs to the thread that began it; begin another one here")
        if self._cancelled or self._closed:
            self._refuse_cancelled()
        if self._failed:
            raise BackendError("an earlier statement of this transaction failed; nothing of it is written")

    def _refuse_cancelled(self) -> NoReturn:
        self._scope.require_active()
        raise BackendError("the statement was interrupted; nothing was written")

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._session.close()
            self._scope.forget(self)


class Scope:
    """One tenant's placement, its open backend, and its work in progress."""

    def __init__(
        self,
        directory: Directory,
        placement: Placement,
        backend: Callable[[], Backend],
        capabilities: frozenset[Capability],
        rows: RowCounter,
    ) -> None:
        self._directory = directory
        self._backend = backend
        self._writing = threading.Lock()
        self._writer: int | None = None
        self._units: set[Unit] = set()
        self._idle = threading.Condition()
        self.rows = rows
        self._beginning = 0
        self._moving = False
        self._held = False
        self._retired = False
        self.placement = placement
        self.capabilities = capabilities
        self.interrupts = Capability.INTERRUPTS in capabilities

    def require_active(self) -> None:
        """Raise the tenant's own refusal unless it is in service."""
        self._directory.require_active(self.placement.tenant_id)

    def session(self) -> Session:
        """A session of the tenant's, of which no suspension knows: for the engine's own work before any other's."""
        try:
            return self._backend().session(self.placement)
        except PartywallError:
            raise
        except Exception as error:
            raise BackendError("the store could not be reached; nothing was written") from error

    @contextmanager
    def unit(self, *, writes: bool, transactional: bool, timeout: float) -> Iterator[Unit]:
        """A unit of work, committed at the end of the block; an exception rolls it back.

        A writer waits at most ``timeout`` seconds for the tenant's other writers, then BackendError.
        """
        self.require_active()
        if writes:
            self._await_turn(timeout)
        try:
            unit = self._begin(writes=writes, transactional=transactional, timeout=timeout)
            try:
                yield unit
                unit.finish()
            finally:
                unit.abandon()
        finally:
            if writes:
                self._writer = None
                self._writing.release()

    def _await_turn(self, timeout: float) -> None:
        token = cancel_token.get()
        deadline = time.monotonic() + timeout
        if self._writing.acquire(blocking=False):
            self._writer = threading.get_ident()
            return
        if self._writer == threading.get_ident():
            raise QueryError("this thread's own transaction has the write lock; use the handle that began it")
        if not may_wait.get():
            raise TurnTaken("another transaction of this tenant holds the write lock")
        while not self._writing.acquire(timeout=_SLICE):
            self.require_active()
            if token is not None and token.cancelled:
                raise BackendError("the statement was interrupted; nothing was written")
            if time.monotonic() >= deadline:
                holder = "a move" if self._moving else "another transaction"
                raise BackendError(f"{holder} of this tenant has held the write lock for {timeout:g} s")
        self._writer = threading.get_ident()

    def cancel(self) -> None:
        """Stop all work in progress without waiting for it; for a tenant that just left service."""
        with self._idle:
            units = tuple(self._units)
        for unit in units:
            unit.cancel()

    def settle(self, timeout: float) -> bool:
        """Wait until no work is in progress; False when some is left after ``timeout`` seconds."""
        with self._idle:
            return self._idle.wait_for(self._is_idle, timeout)

    @contextmanager
    def writers_stopped(self, timeout: float) -> Iterator[None]:
        """No write of the tenant's is under way in the block, and none begins; readers go on.

        TenantConflict when a transaction is still open after ``timeout`` seconds, or is this thread's own.
        """
        own = self._writer == threading.get_ident()
        if own or not self._writing.acquire(timeout=timeout):
            raise TenantConflict("a transaction of the tenant is open; nothing was moved, try again when it has ended")
        self._moving = True
        try:
            yield
        finally:
            self._moving = False
            self._writing.release()

    @contextmanager
    def emptied(self, timeout: float) -> Iterator[None]:
        """Nothing at all is in progress in the block; whoever comes waits, and is then sent to the tenant's new place.

        TenantConflict, with everything as it was, when a statement is left after ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        with self._idle:
            self._held = True
            while not self._idle.wait_for(self._is_idle, min(_HOLD, timeout)):
                self._held = False
                self._idle.notify_all()
                if time.monotonic() >= deadline:
                    raise TenantConflict("a statement of the tenant has not ended; nothing was moved, try again")
                self._idle.wait(_SLICE)
                self._held = True
        try:
            yield
        finally:
            with self._idle:
                self._retired = True
                self._idle.notify_all()

    def forget(self, unit: Unit) -> None:
        """The unit's session is closed: it is no longer in progress."""
        with self._idle:
            self._units.discard(unit)
            self._idle.notify_all()

    def _is_idle(self) -> bool:
        return not self._units and not self._beginning

    def _enter(self, timeout: float) -> None:
        with self._idle:
            if not self._idle.wait_for(lambda: self._retired or not self._held, timeout):
                raise BackendError("the tenant is being moved; nothing was written, try again")
            if self._retired:
                raise Retired
            self._beginning += 1

    def _registered(self, *, writes: bool, transactional: bool) -> Unit:
        unit = Unit(self, self.session(), writes=writes, transactional=transactional)
        with self._idle:
            self._units.add(unit)
        return unit

    def _begin(self, *, writes: bool, transactional: bool, timeout: float) -> Unit:
        self._enter(timeout)
        try:
            unit = self._registered(writes=writes, transactional=transactional)
        finally:
            with self._idle:
                self._beginning -= 1
                self._idle.notify_all()
        try:
            # Asked again now that a suspension would find the unit: it sees one of the two.
            self.require_active()
            if transactional:
                unit.run(lambda bound: bound.begin(read_only=not writes))
            token = cancel_token.get()
            if token is not None:
                token.attach(unit)
        except BaseException:
            unit.abandon()
            raise
        return unit


@contextmanager
def unit_of(
    find: Callable[[], Scope], *, writes: bool, transactional: Callable[[Scope], bool], timeout: float
) -> Iterator[tuple[Scope, Unit]]:
    """A unit of the scope that is the tenant's when it begins, which may be another than when it was asked for."""
    while True:
        scope = find()
        with ExitStack() as entered:
            try:
                unit = entered.enter_context(
                    scope.unit(writes=writes, transactional=transactional(scope), timeout=timeout)
                )
            except Retired:
                continue
            yield scope, unit
            return
