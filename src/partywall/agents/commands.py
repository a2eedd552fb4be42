"""Commands as agents: a process group of its own, a minimal environment, and the last words of its output."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from partywall.agents.processes import AGENT_ID, TENANT_ID, Processes, kill, signal_group
from partywall.agents.run import Output, Run
from partywall.errors import InvalidArgument, PartywallError
from partywall.names import TenantId

__all__ = ["Command", "CommandRun", "parse_command"]

_KEPT: Final = 65_536
"""Bytes of each stream that are remembered."""
_INHERITED: Final = ("PATH", "HOME", "LANG", "TMPDIR", "TZ")
_DRAIN_SECONDS: Final = 1.0
"""How long the output of a command that has ended may still be read."""


@dataclass(frozen=True, slots=True)
class Command:
    """What is run, and where."""

    arguments: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: Path | None = None


def parse_command(work: object, env: Mapping[str, str] | None, cwd: str | os.PathLike[str] | None) -> Command:
    """The command, or InvalidArgument. One text is refused: no shell will take it apart."""
    if isinstance(work, (str, bytes)) or not isinstance(work, Sequence) or not work:
        raise InvalidArgument("work is a coroutine, or a command as a sequence of texts such as ['python', 'agent.py']")
    if not all(isinstance(word, str) and "\0" not in word for word in work):
        raise InvalidArgument("a command's words are texts without NUL")
    for name, value in (env or {}).items():
        if not name or "=" in name or "\0" in f"{name}{value}":
            raise InvalidArgument("env names are not empty and without '=', and nothing in env holds NUL")
    return Command(tuple(work), dict(env or {}), None if cwd is None else Path(cwd))


def _inherited() -> dict[str, str]:
    """The little of this process's environment that a command needs; none of it is a secret."""
    return {name: value for name, value in os.environ.items() if name in _INHERITED or name.startswith("LC_")}


class _Tail:
    """The last bytes of a stream, read on a thread of its own."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._kept = bytearray()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._read, name="partywall-output", daemon=True)
        self._thread.start()

    def last(self) -> bytes:
        with self._lock:
            return bytes(self._kept)

    def finish(self) -> None:
        """Wait for the last bytes, unless somebody else still holds the other end."""
        self._thread.join(_DRAIN_SECONDS)

    def _read(self) -> None:
        with self._stream as stream:
            while chunk := os.read(stream.fileno(), _KEPT):
                with self._lock:
                    self._kept += chunk
                    del self._kept[:-_KEPT]


class CommandRun(Run):
    """A command that runs as a subprocess."""

    kind = "command"

    def __init__(
        self,
        command: Command,
        tenant_id: TenantId,
        processes: Processes,
        *,
        remember: Callable[[CommandRun], None],
        forget: Callable[[CommandRun], None],
        name: str | None,
        started_at: float,
    ) -> None:
        super().__init__(tenant_id, name, started_at)
        self._command = command
        self._processes = processes
        self._remember = remember
        self._forget = forget
        self._process: subprocess.Popen[bytes] | None = None
        self._tails: tuple[_Tail, ...] = ()
        self._asked = False
        self._kill_at = 0.0
        self.pid = 0
        """0 until the process is there."""
        self.start_mark = ""

    def start(self) -> None:
        """Run the command. It is in the ledger before this returns, and its id there before it runs."""
        self._remember(self)
        try:
            with self.lock:
                if not self.condemned:
                    self._process = self._opened()
                    self.pid = self._process.pid
            if self._process is not None:
                self._watched(self._process)
        except BaseException:
            self._abandon()
            raise
        if self._process is None:
            self._forget(self)
            self.end()

    def ask(self, kill_at: float) -> None:
        """SIGTERM to the group, once; what outlives the command itself has until ``kill_at``."""
        with self.lock:
            self._kill_at = kill_at
            if self._process is not None and self._process.returncode is None and not self._asked:
                self._asked = True
                signal_group(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to everything that belongs to the agent."""
        with self.lock:
            self._kill_at = 0.0
            if self._process is not None and self._process.returncode is None:
                kill(self._family())

    def output(self) -> Output:
        """The last 64 kB of stdout and of stderr."""
        return Output(*(tail.last() for tail in self._tails))

    def _opened(self) -> subprocess.Popen[bytes]:
        # Ours come last: the caller's env cannot make an agent pass for another one, or for nobody's.
        env = {**_inherited(), **self._command.env, TENANT_ID: self.tenant_id, AGENT_ID: self.id}
        try:
            return subprocess.Popen(  # noqa: S603  # running the embedder's command is the purpose; no shell
                self._command.arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=env,
                cwd=self._command.cwd,
                start_new_session=True,
            )
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            raise InvalidArgument(f"the command cannot be run: {error.strerror}") from None
        except OSError as error:
            raise PartywallError(f"the command could not be started: {error.strerror}") from None

    def _watched(self, process: subprocess.Popen[bytes]) -> None:
        self.start_mark = self._processes.start_mark(process.pid) or ""
        self._remember(self)
        self._tails = tuple(_Tail(stream) for stream in (process.stdout, process.stderr) if stream is not None)
        threading.Thread(target=self._watch, args=[process], name="partywall-command", daemon=True).start()

    def _abandon(self) -> None:
        if self._process is not None:
            kill(self._family())
            self._process.wait()
            for stream in () if self._tails else (self._process.stdout, self._process.stderr):
                if stream is not None:
                    stream.close()
        self._forget(self)

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        if hasattr(os, "waitid"):
            # Not reaped yet: while it is a zombie its pid, and so its group, cannot become somebody else's.
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        else:
            process.wait()
        self._clear()
        with self.lock:
            code = process.wait()
        for tail in self._tails:
            tail.finish()
        self._forget(self)
        self.end(code, failed=code != 0)

    def _family(self) -> set[int]:
        return self._processes.families({self.id: self.pid})[self.id]

    def _clear(self) -> None:
        """End what the command left behind: it would run on, counted by nobody."""
        pause = 0.005
        while left := self._family():
            if time.monotonic() >= self._kill_at:
                kill(left)
            time.sleep(pause)
            pause = min(pause * 2, 0.25)
