"""One piece of running work, seen from the inside: started once, asked to stop, ended once."""

from __future__ import annotations

import secrets
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from enum import StrEnum
from typing import Any, ClassVar, Final, Literal, NamedTuple, TypeAlias

from partywall.names import TenantId

__all__ = ["STOPPED", "AgentState", "Kind", "Output", "Run", "Runs"]

STOPPED: Final = "the agent was stopped"
"""What the CancelledError of a plain stop says."""

Kind: TypeAlias = Literal["coroutine", "command"]


class AgentState(StrEnum):
    """How far an agent has come."""

    RUNNING = "running"
    FINISHED = "finished"
    """It returned, or exited with 0."""
    FAILED = "failed"
    """It raised, or exited with another code."""
    STOPPED = "stopped"
    """It ended after it was told to stop."""
    NOT_STOPPED = "not_stopped"
    """It was told to stop and is still there. It keeps its place until it ends."""


class Output(NamedTuple):
    """What a command wrote last, at most 64 kB of each stream."""

    stdout: bytes = b""
    stderr: bytes = b""


class Run(ABC):
    """What every kind of agent shares. Thread-safe: it is started, stopped and ended from different threads."""

    kind: ClassVar[Kind]

    def __init__(self, tenant_id: TenantId, name: str | None, started_at: float) -> None:
        self.id: Final = f"agt_{secrets.token_hex(10)}"
        self.tenant_id: Final = tenant_id
        self.name: Final = name or self.id
        self.started_at: Final = started_at
        self.outcome: Final[Future[Any]] = Future()
        # Running from the start, so that nobody who waits for the outcome can cancel it for the others.
        self.outcome.set_running_or_notify_cancel()
        self.over: Final = threading.Event()
        self.on_end: Callable[[Run], None] = _nobody
        self.lock: Final = threading.RLock()
        self._refusal: BaseException | None = None
        self._ended = False
        self._state = AgentState.RUNNING

    @property
    def state(self) -> AgentState:
        """How far it has come."""
        return self._state

    @property
    def condemned(self) -> bool:
        """Whether it was told to stop."""
        return self._refusal is not None

    @abstractmethod
    def start(self) -> None:
        """Begin, unless it was told to stop before it could."""

    @abstractmethod
    def ask(self, kill_at: float) -> None:
        """Tell it to stop; called again and again. After ``kill_at`` (monotonic) it will be killed."""

    @abstractmethod
    def kill(self) -> None:
        """Stop it by force, as far as there is one; called again and again."""

    def output(self) -> Output:
        """What it wrote last; nothing for a coroutine."""
        return Output()

    def waits_on_this_thread(self) -> bool:
        """Whether it can only make progress while the calling thread does not wait."""
        return False

    def condemn(self, refusal: BaseException) -> None:
        """Decide what ``result`` will raise once it has stopped; the first decision stands."""
        with self.lock:
            self._refusal = self._refusal or refusal

    def give_up(self) -> None:
        """Say that it could not be stopped in time."""
        with self.lock:
            if not self._ended:
                self._state = AgentState.NOT_STOPPED

    def end(self, value: Any = None, error: BaseException | None = None, *, failed: bool = False) -> None:
        """It is over. What it returned or raised counts only if nobody had told it to stop."""
        with self.lock:
            if self._ended:
                return
            self._ended = True
            error = self._refusal or error
            self._state = self._final(error, failed=failed)
        self.on_end(self)  # first, so that whoever hears of the end finds the place free
        if error is None:
            self.outcome.set_result(value)
        else:
            self.outcome.set_exception(error)
        self.over.set()

    def _final(self, error: BaseException | None, *, failed: bool) -> AgentState:
        if self.condemned:
            return AgentState.STOPPED
        return AgentState.FAILED if failed or error is not None else AgentState.FINISHED


def _nobody(_run: Run) -> None:
    return


class Runs:
    """The runs that are there, found by id and by tenant without looking at anybody else's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_id: dict[str, Run] = {}
        self._by_tenant: dict[TenantId, dict[str, Run]] = {}

    def add(self, run: Run) -> None:
        """From now on it is there."""
        with self._lock:
            self._by_id[run.id] = run
            self._by_tenant.setdefault(run.tenant_id, {})[run.id] = run

    def remove(self, run: Run) -> None:
        """It is gone; repeating it is no error."""
        with self._lock:
            self._by_id.pop(run.id, None)
            own = self._by_tenant.get(run.tenant_id, {})
            own.pop(run.id, None)
            if not own:
                self._by_tenant.pop(run.tenant_id, None)

    def get(self, run_id: str) -> Run | None:
        """One run, if it is there."""
        return self._by_id.get(run_id)

    def of(self, tenant_id: TenantId) -> list[Run]:
        """The tenant's, oldest first."""
        with self._lock:
            return list(self._by_tenant.get(tenant_id, {}).values())

    def all(self) -> list[Run]:
        """Everybody's, oldest first."""
        with self._lock:
            return list(self._by_id.values())
