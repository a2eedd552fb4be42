"""The handle to one agent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from partywall.agents.ladder import StopReport
from partywall.agents.run import AgentState, Kind, Output, Run
from partywall.clock import utc
from partywall.names import TenantId

__all__ = ["Agent"]


class Agent:
    """Something that runs, or ran, for a tenant."""

    __slots__ = ("_run", "_stop")

    def __init__(self, run: Run, stop: Callable[[Run, float], StopReport]) -> None:
        self._run = run
        self._stop = stop

    @property
    def id(self) -> str:
        """``agt_`` and 80 random bits."""
        return self._run.id

    @property
    def tenant_id(self) -> TenantId:
        """Whom it runs for."""
        return self._run.tenant_id

    @property
    def name(self) -> str:
        """The name it was started under; its id if it had none."""
        return self._run.name

    @property
    def kind(self) -> Kind:
        """``coroutine`` or ``command``."""
        return self._run.kind

    @property
    def started_at(self) -> datetime:
        """When it was admitted, in UTC."""
        return utc(self._run.started_at)

    @property
    def state(self) -> AgentState:
        """How far it has come."""
        return self._run.state

    def result(self, timeout: float | None = None) -> Any:
        """The coroutine's value, or the command's exit code (negative: the signal that ended it).

        Waits up to ``timeout`` seconds, then raises TimeoutError. Raises what the coroutine raised; for an
        agent that was stopped, TenantSuspended or its like if its tenant went out of service, and
        ``concurrent.futures.CancelledError`` otherwise.
        """
        return self._run.outcome.result(timeout)

    async def wait(self) -> Any:
        """The awaitable twin of ``result``; cancelling the wait leaves the agent alone."""
        return await asyncio.wrap_future(self._run.outcome)

    def output(self) -> Output:
        """What a command wrote last, at most 64 kB of each stream; nothing for a coroutine."""
        return self._run.output()

    def stop(self, *, grace: float = 5.0) -> StopReport:
        """Tell it to stop, and wait up to ``grace`` seconds until it has."""
        return self._stop(self._run, grace)

    def __repr__(self) -> str:
        return f"<Agent {self.id} {self.kind} {self.state}>"
