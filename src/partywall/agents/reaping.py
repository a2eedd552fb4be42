"""Commands that outlived their engine: found by what the ledger remembers of them, and killed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from partywall.agents.processes import Processes, kill
from partywall.ledger import AgentProcess, Ledger, Transaction

if TYPE_CHECKING:
    from partywall.audit import AuditLog

__all__ = ["reap"]

_SECONDS: Final = 5.0
"""How long a kill may take to be seen."""


def reap(ledger: Ledger, audit: AuditLog, processes: Processes) -> tuple[str, ...]:
    """Kill what the remembered commands left running, record it, and forget those that are gone."""
    records = ledger.read(lambda tx: tx.agents())
    if not records:
        return ()
    leaders = {record.agent_id: _leader(record, processes) for record in records}
    found = {agent_id for agent_id, family in processes.families(leaders).items() if family}
    left = _kill_until_gone({agent_id: leaders[agent_id] for agent_id in found}, processes)

    def settle(tx: Transaction) -> None:
        for record in records:
            if record.agent_id not in left:
                tx.forget_agent(record.agent_id)
            if record.agent_id in found:
                details = {"agent": record.agent_id, "pid": record.pid, "gone": record.agent_id not in left}
                audit.record(tx, "agent.reaped", tenant_id=record.tenant_id, actor="engine", details=details)

    ledger.write(settle)
    return tuple(sorted(found))


def _leader(record: AgentProcess, processes: Processes) -> int | None:
    """The recorded pid, unless it was given out again since, or never became known."""
    same = record.pid > 0 and processes.start_mark(record.pid) == record.started
    return record.pid if same else None


def _kill_until_gone(leaders: Mapping[str, int | None], processes: Processes) -> set[str]:
    """The agents of which something is there even after some seconds of SIGKILL."""
    deadline = time.monotonic() + _SECONDS
    while True:
        left = {agent_id: family for agent_id, family in processes.families(leaders).items() if family}
        if not left or time.monotonic() >= deadline:
            return set(left)
        for family in left.values():
            kill(family)
        time.sleep(0.01)
