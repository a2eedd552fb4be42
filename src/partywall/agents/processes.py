"""The operating system's processes: which belong to an agent, and whether a pid still means the same one.

An agent's processes are its process group, its session, and, where the system shows environments (Linux),
whatever carries its id there: a child that makes a session of its own does not get away.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

__all__ = ["AGENT_ID", "TENANT_ID", "LinuxProcesses", "Processes", "PsProcesses", "kill", "processes", "signal_group"]

AGENT_ID: Final = "PARTYWALL_AGENT_ID"
TENANT_ID: Final = "PARTYWALL_TENANT_ID"


class Processes(Protocol):
    """What must be known of the processes of this machine. Zombies count as gone."""

    def start_mark(self, pid: int) -> str | None:
        """A text that no later process of the same pid will have; None when there is no such process."""

    def families(self, leaders: Mapping[str, int | None]) -> dict[str, set[int]]:
        """By agent id: the processes in its leader's group, and those that carry its id."""


class LinuxProcesses:
    """Reads /proc."""

    def __init__(self, root: Path = Path("/proc")) -> None:
        self._root = root
        self._boot = (root / "sys/kernel/random/boot_id").read_text().strip()

    def start_mark(self, pid: int) -> str | None:
        """The boot, and the clock ticks from there to the process's start (field 22 of its stat)."""
        fields = self._stat(pid)
        return f"{self._boot}:{fields[19]}" if fields else None

    def families(self, leaders: Mapping[str, int | None]) -> dict[str, set[int]]:
        """Group, session and environment, by one walk over /proc."""
        by_leader = {str(leader): agent_id for agent_id, leader in leaders.items() if leader}
        by_mark = {f"{AGENT_ID}={agent_id}".encode(): agent_id for agent_id in leaders}
        found: dict[str, set[int]] = {agent_id: set() for agent_id in leaders}
        for pid in self._pids():
            fields = self._stat(pid)
            owners = [by_leader.get(number) for number in fields[2:4]]
            if fields and not any(owners):
                owners = [by_mark.get(entry) for entry in self._environment(pid)]
            for owner in filter(None, owners):
                found[owner].add(pid)
        return found

    def _pids(self) -> Iterator[int]:
        # Never this process, whatever its environment says: it may itself be somebody's agent.
        with os.scandir(self._root) as entries:
            pids = [int(entry.name) for entry in entries if entry.name.isdigit()]
        yield from (pid for pid in pids if pid != os.getpid())

    def _stat(self, pid: int) -> list[str]:
        """The fields from the third (state) on, for the second may hold blanks; empty for what is gone."""
        try:
            text = (self._root / str(pid) / "stat").read_text(errors="replace")
        except OSError:
            return []
        fields = text.rpartition(")")[2].split()
        return [] if fields[0] in "ZXx" else fields

    def _environment(self, pid: int) -> list[bytes]:
        with suppress(OSError):
            return (self._root / str(pid) / "environ").read_bytes().split(b"\0")
        return []


class PsProcesses:
    """Asks ``ps``, for systems without /proc. It does not see children that made a session of their own."""

    def start_mark(self, pid: int) -> str | None:
        """The second in which the process started."""
        for line in _ps("-o", "stat=", "-o", "lstart=", "-p", str(pid)):
            state, _, started = line.partition(" ")
            return None if state.startswith("Z") else started.strip()
        return None

    def families(self, leaders: Mapping[str, int | None]) -> dict[str, set[int]]:
        """Process groups only: ps shows no environments."""
        groups: dict[str, set[int]] = {}
        for line in _ps("-A", "-o", "pid=", "-o", "pgid=", "-o", "stat="):
            pid, group, state = line.split()[:3]
            if not state.startswith("Z"):
                groups.setdefault(group, set()).add(int(pid))
        return {agent_id: groups.get(str(leader) if leader else "", set()) for agent_id, leader in leaders.items()}


def _ps(*arguments: str) -> list[str]:
    done = subprocess.run(  # noqa: S603  # fixed arguments, no shell
        ["/bin/ps", *arguments], capture_output=True, text=True, check=False, env={"LC_ALL": "C"}
    )
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def processes() -> Processes:
    """The way in which this system is asked."""
    return LinuxProcesses() if Path("/proc/sys/kernel/random/boot_id").exists() else PsProcesses()


def kill(pids: Iterable[int]) -> None:
    """SIGKILL to each; those that are gone, or that this user may not kill, are passed over."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def signal_group(leader: int, number: signal.Signals) -> None:
    """A signal to every process of the leader's group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)
