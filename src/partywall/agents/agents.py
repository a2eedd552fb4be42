"""The agents of one engine: admitted, listed, stopped, and reaped after a crash."""

from __future__ import annotations

import asyncio
import builtins
import inspect
import logging
import os
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from partywall.agents.agent import Agent
from partywall.agents.commands import Command, CommandRun, parse_command
from partywall.agents.coroutines import CoroutineRun, LoopThread, running_loop
from partywall.agents.ladder import Ladder, StopReport
from partywall.agents.processes import processes
from partywall.agents.reaping import reap
from partywall.agents.run import STOPPED, Run, Runs
from partywall.clock import Clock
from partywall.context import TenantContext, current_tenant
from partywall.errors import BackendError, InvalidArgument, PartywallError
from partywall.ledger import AgentProcess, Ledger
from partywall.model import Status
from partywall.names import TenantId, parse_action

if TYPE_CHECKING:
    from partywall.audit import AuditLog
    from partywall.directory import Directory, DirectoryChange
    from partywall.limits import Limiter
    from partywall.quotas import Places

__all__ = ["Agents", "Work"]

Work: TypeAlias = Coroutine[Any, Any, Any] | Sequence[str]
"""A coroutine object, or a command as a sequence of texts."""

_log: Final = logging.getLogger("partywall.agents")
_SPAWNS: Final = parse_action("agent_spawns")
_GRACE: Final = 5.0


class Agents:
    """What runs for tenants. Thread-safe."""

    def __init__(
        self, directory: Directory, ledger: Ledger, audit: AuditLog, limiter: Limiter, places: Places, clock: Clock
    ) -> None:
        self._directory = directory
        self._ledger = ledger
        self._audit = audit
        self._limiter = limiter
        self._clock = clock
        self._processes = processes()
        self._places = places
        self._runs = Runs()
        self._loop = LoopThread()
        self._lock = threading.Lock()
        self._suspensions: dict[TenantId, Ladder] = {}
        self._ladders: set[Ladder] = set()
        self._closed = False

    def spawn(
        self,
        tenant_id: str,
        work: Work,
        *,
        name: str | None = None,
        wait: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> Agent:
        """Run a coroutine or a command for the tenant, which must be in service.

        A coroutine runs in the tenant's context, on ``loop``, or else the caller's running loop, or else the
        engine's own. A command runs without a shell, in a process group of its own, with PATH, HOME, LANG,
        LC_*, TMPDIR, TZ, the ids of tenant and agent, and ``env``; what it leaves behind is killed when it ends.

        QuotaExceeded: no place is free, nor became free within ``wait`` seconds; RateLimited: the plan limits
        ``agent_spawns``. A coroutine that is refused is closed.
        """
        with _handed_over(work):
            tenant = self._directory.require_active(tenant_id)
            build = self._builder(work, name, env, cwd, loop)
            self._places.take(tenant, wait=wait)
            return self._started(tenant, build)

    async def spawn_async(
        self,
        tenant_id: str,
        work: Work,
        *,
        name: str | None = None,
        wait: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
    ) -> Agent:
        """The awaitable twin of ``spawn``; waiting for a place holds no thread, and may be cancelled."""
        with _handed_over(work):
            tenant = self._directory.require_active(tenant_id)
            build = self._builder(work, name, env, cwd, None)
            await self._places.take_async(tenant, wait=wait)
            if inspect.iscoroutine(work):
                return self._started(tenant, build)
            # Shielded: a command that has begun to start is started, or given up, whole.
            return await asyncio.shield(asyncio.to_thread(self._started, tenant, build))

    def list(self, tenant_id: str | None = None) -> builtins.list[Agent]:
        """The agents that run, or were told to stop and did not; of one tenant or of all, oldest first."""
        runs = self._runs.all() if tenant_id is None else self._runs.of(TenantId(tenant_id))
        return [self._handle(run) for run in runs]

    def count(self, tenant_id: str) -> int:
        """The number of agents that run for the tenant, and of places that are held with ``quotas.hold``."""
        return self._places.count(TenantId(tenant_id))

    def stop(self, agent_id: str, *, grace: float = _GRACE) -> StopReport:
        """Tell an agent to stop, and wait up to ``grace`` seconds; nothing is done for one that is gone."""
        run = self._runs.get(agent_id)
        return StopReport() if run is None else self._stop(run, grace)

    def stop_tenant(self, tenant_id: str, *, grace: float = _GRACE) -> StopReport:
        """Tell every agent of the tenant to stop, and wait up to ``grace`` seconds.

        After a suspension it reports the stop that the suspension began. Agents on the calling thread's own
        event loop cannot end while this waits: they are cancelled, and reported as not stopped yet.
        """
        tenant = TenantId(tenant_id)
        with self._lock:
            begun = self._suspensions.get(tenant)
        runs = self._runs.of(tenant)
        if begun is not None and not (begun.over.is_set() and runs):
            begun.hurry(grace)
            return begun.wait()
        return self._climb(runs, grace, partial(self._record, tenant, None)).wait()

    def on_change(self, change: DirectoryChange) -> None:
        """Begin to stop the agents of tenants that are out of service now; does not wait."""
        for tenant_id, (before, after) in change.statuses.items():
            if before is Status.ACTIVE:
                self._leave(tenant_id)
            elif after is Status.ACTIVE:
                with self._lock:
                    self._suspensions.pop(tenant_id, None)
        # A plan's change may touch any of its tenants; those that have somebody waiting are few.
        self._places.look_again(self._places.waiting())

    def reap(self) -> tuple[str, ...]:
        """Kill the commands that outlived an engine that was killed; returns the ids of their agents.

        Called once, before anything is spawned. Raises LedgerError.
        """
        return reap(self._ledger, self._audit, self._processes)

    def close(self, *, grace: float = _GRACE) -> None:
        """Stop every agent, and refuse new ones. Repeating it is no error."""
        with self._lock:
            self._closed = True
            begun = tuple(self._ladders)
        for tenant_id in self._places.waiting():
            self._places.refuse(tenant_id, _closed)
        for ladder in begun:
            ladder.hurry(grace)
            ladder.wait()
        for agent_id in self._climb(self._runs.all(), grace, _unrecorded).wait().not_stopped:
            _log.warning("agent %s has not stopped", agent_id)
        self._loop.close()

    def _handle(self, run: Run) -> Agent:
        return Agent(run, self._stop)

    def _builder(
        self,
        work: Work,
        name: str | None,
        env: Mapping[str, str] | None,
        cwd: str | os.PathLike[str] | None,
        loop: asyncio.AbstractEventLoop | None,
    ) -> Callable[[TenantId], Run]:
        """Refuse what no place could make right, before one is taken."""
        if inspect.iscoroutine(work):
            if inspect.getcoroutinestate(work) != inspect.CORO_CREATED:
                raise InvalidArgument("the coroutine has run already; hand over a new one")
            return partial(self._coroutine, work, name, loop or running_loop())
        return partial(self._command, parse_command(work, env, cwd), name)

    def _coroutine(
        self,
        work: Coroutine[Any, Any, Any],
        name: str | None,
        loop: asyncio.AbstractEventLoop | None,
        tenant_id: TenantId,
    ) -> Run:
        asking = current_tenant()
        own = asking if asking is not None and asking.tenant_id == tenant_id else None
        context = TenantContext(
            tenant_id,
            self._directory.tenant(tenant_id),
            user_id=own.user_id if own else None,
            permissions=own.permissions if own else frozenset(),
        )
        return CoroutineRun(work, context, loop or self._loop.loop(), name=name, started_at=self._clock.now())

    def _command(self, command: Command, name: str | None, tenant_id: TenantId) -> Run:
        return CommandRun(
            command,
            tenant_id,
            self._processes,
            remember=self._remember,
            forget=self._forget,
            name=name,
            started_at=self._clock.now(),
        )

    def _started(self, tenant: TenantId, build: Callable[[TenantId], Run]) -> Agent:
        """Start what has a place; the place is given back when it ends, or is refused."""
        try:
            self._directory.require_active(tenant)
            if _SPAWNS in self._directory.grants(tenant).rate_limits:
                self._limiter.require(tenant, _SPAWNS)
            run = build(tenant)
        except BaseException:
            self._places.give_back(tenant)
            raise
        run.on_end = self._ended
        try:
            self._add(run)
            # Again, now that a suspension would find it: one that came before is seen here, a later one stops it.
            self._directory.require_active(tenant)
            run.start()
        except BaseException as error:
            run.end(error=error)
            raise
        return self._handle(run)

    def _add(self, run: Run) -> None:
        with self._lock:
            if self._closed:
                raise _closed()
            self._runs.add(run)

    def _ended(self, run: Run) -> None:
        self._runs.remove(run)
        self._places.give_back(run.tenant_id)

    def _stop(self, run: Run, grace: float) -> StopReport:
        return self._climb([run], grace, _unrecorded).wait()

    def _leave(self, tenant_id: TenantId) -> None:
        self._places.refuse(tenant_id, partial(self._refusal, tenant_id))
        runs = self._runs.of(tenant_id)
        if runs:
            ladder = self._climb(runs, _GRACE, partial(self._record, tenant_id, "engine"))
            with self._lock:
                self._suspensions[tenant_id] = ladder

    def _climb(self, runs: Sequence[Run], grace: float, then: Callable[[StopReport], None]) -> Ladder:
        ladder = Ladder(runs, grace, then)
        with self._lock:
            self._ladders = {ladder, *(other for other in self._ladders if not other.over.is_set())}
        for run in runs:
            run.condemn(self._refusal(run.tenant_id))
        ladder.start()
        return ladder

    def _refusal(self, tenant_id: TenantId) -> Exception:
        try:
            self._directory.require_active(tenant_id)
        except BackendError:
            pass  # the engine is closing: a plain stop
        except PartywallError as refusal:
            return refusal
        return CancelledError(STOPPED)

    def _record(self, tenant_id: TenantId, actor: str | None, report: StopReport) -> None:
        if not (report.stopped or report.not_stopped):
            return
        details = {"agents": list(report.stopped), "not_stopped": list(report.not_stopped)}
        try:
            self._ledger.write(
                lambda tx: self._audit.record(tx, "agent.stopped", tenant_id=tenant_id, actor=actor, details=details)
            )
        except PartywallError:
            _log.exception("the stop of agents could not be recorded")

    def _remember(self, run: CommandRun) -> None:
        process = AgentProcess(run.id, run.tenant_id, run.pid, run.start_mark)
        self._ledger.write(lambda tx: tx.put_agent(process))

    def _forget(self, run: CommandRun) -> None:
        try:
            self._ledger.write(lambda tx: tx.forget_agent(run.id))
        except PartywallError:
            _log.warning("the end of agent %s could not be recorded; the next start will look for it", run.id)


@contextmanager
def _handed_over(work: object) -> Iterator[None]:
    """Close a coroutine that is refused: nobody else will await it."""
    try:
        yield
    except BaseException:
        if inspect.iscoroutine(work) and inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
            work.close()
        raise


def _closed() -> BackendError:
    return BackendError("the engine is closed")


def _unrecorded(_report: StopReport) -> None:
    return
