"""``partywall watch``: reloads and problems as they come, beside a running engine or without one."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import click

from partywall.catalog import Snapshot, last_good, look, reported, stamp
from partywall.cli.app import Call, command, partywall
from partywall.cli.comparison import Comparison, StatusOf, compare
from partywall.cli.documents import moment
from partywall.cli.output import harmless
from partywall.cli.sight import statuses_in_force
from partywall.clock import SystemClock
from partywall.errors import ConfigError, Problem
from partywall.folder import DataFolder

__all__ = ["watch"]

_LOOK: Final = 0.2
"""Seconds between two looks."""


@command(partywall)
@click.option("--count", type=click.IntRange(min=1), help="End after so many events.")
@click.option("--timeout", type=click.FloatRange(min=0), help="End after so many seconds; 1 if --count was not met.")
def watch(call: Call, count: int | None, timeout: float | None) -> int:
    """Follow reloads and problems.

    Shows where things stand, and then every event: what a reload changed and for whom, what is wrong in which file,
    what was put right, and whether an engine runs. With no engine running, shows what the files say.

    Ends with Ctrl-C. With --json, one document on each line.
    """
    call.folder.require()
    deadline = None if timeout is None else time.monotonic() + timeout
    eye = _Eye(call.folder)
    told = 0
    try:
        _tell(call, eye.first())
        while count is None or told < count:
            if deadline is not None and time.monotonic() >= deadline:
                return 0 if count is None else 1
            time.sleep(_LOOK)
            for event in eye.look():
                _tell(call, event)
                told += 1
    except KeyboardInterrupt:
        return 0  # the way in which it is meant to end
    return 0


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one look found."""

    pid: int | None
    generation: int | None = None
    digest: str | None = None
    problems: tuple[Problem, ...] = ()
    notices: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class _Event:
    """Something to tell: in words, and as a document."""

    name: str
    lines: tuple[str, ...]
    details: dict[str, Any]


class _Eye:
    """Looks again and again, and tells what is new."""

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder
        self._snapshot: Snapshot | None = None
        self._stamps: tuple[object, object] = (None, None)
        self._seen = _Seen(None)
        self._status_of: StatusOf = lambda spec: spec.status

    def first(self) -> _Event:
        """Where things stand."""
        self._seen, self._snapshot = self._now(_Seen(None), anew=True)
        self._status_of = statuses_in_force(self._folder)
        seen = self._seen
        tenants = len(self._snapshot) if self._snapshot is not None else 0
        known = ", ".join(_known(seen))
        line = f"{_engine(seen.pid)}, {known}, {tenants:,} tenant{'' if tenants == 1 else 's'}"
        lines = (line, *(f"problem: {each}" for each in seen.problems), *(f"notice: {each}" for each in seen.notices))
        return _Event("state", lines, {**_facts(seen), "tenants": tenants, **_wrong(seen)})

    def look(self) -> Iterator[_Event]:
        """What is new since the last look."""
        before, old = self._seen, self._snapshot
        self._seen, self._snapshot = self._now(before)
        seen = self._seen
        if seen.pid != before.pid:
            yield _Event("engine", (_engine(seen.pid),), {"running": seen.pid is not None, "pid": seen.pid})
        again = seen.pid == before.pid and seen.generation != before.generation
        if seen.digest is not None and (seen.digest != before.digest or again):
            yield self._reload(old)
        for name, problems in (
            ("problem", _without(seen.problems, before.problems)),
            ("solved", _without(before.problems, seen.problems)),
            ("notice", _without(seen.notices, before.notices)),
        ):
            for problem in problems:
                yield _Event(name, (f"{name}: {problem}",), asdict(problem))

    def _reload(self, old: Snapshot | None) -> _Event:
        seen, new = self._seen, self._snapshot
        was, self._status_of = self._status_of, statuses_in_force(self._folder)
        changes = compare(old, new, self._status_of, was) if old is not None and new is not None else Comparison((), ())
        head = ", ".join(_known(seen))
        lines = tuple(f"{head}: {line}" for line in changes.lines()) or (head,)
        return _Event("reload", lines, {**_facts(seen), **changes.document()})

    def _now(self, before: _Seen, *, anew: bool = False) -> tuple[_Seen, Snapshot | None]:
        pid = self._folder.owner()
        health = reported(self._folder.root) if pid is not None else None
        if health is not None and health.pid == pid:
            seen = _Seen(pid, health.generation, health.digest, health.problems, health.notices)
            same = seen.digest == before.digest and not anew
            return seen, self._snapshot if same else last_good(self._folder.root) or self._snapshot
        if pid is not None:  # it is opening, and has told nothing yet
            return _Seen(pid, None, before.digest, before.problems, before.notices), self._snapshot
        return self._files(before, anew=anew or before.pid is not None)

    def _files(self, before: _Seen, *, anew: bool) -> tuple[_Seen, Snapshot | None]:
        """What the files say, once nobody has written to them between two looks."""
        looked_at, last = self._stamps
        now = stamp(self._folder.root)
        due = anew or (now != looked_at and now == last)
        self._stamps = (now if due else looked_at, now)
        if not due:
            return _Seen(None, None, before.digest, before.problems, before.notices), self._snapshot
        try:
            found = look(self._folder.root)
        except ConfigError as error:
            return _Seen(None, None, before.digest, tuple(error.problems)), self._snapshot
        return _Seen(None, None, found.snapshot.digest, found.problems), found.snapshot


def _known(seen: _Seen) -> list[str]:
    digest = f"digest {seen.digest[:12]}" if seen.digest else "nothing usable yet"
    return [f"generation {seen.generation}", digest] if seen.generation is not None else [digest]


def _engine(pid: int | None) -> str:
    return "no engine runs" if pid is None else f"an engine runs (pid {pid})"


def _facts(seen: _Seen) -> dict[str, Any]:
    return {"running": seen.pid is not None, "pid": seen.pid, "generation": seen.generation, "digest": seen.digest}


def _wrong(seen: _Seen) -> dict[str, Any]:
    return {
        "problems": [asdict(problem) for problem in seen.problems],
        "notices": [asdict(notice) for notice in seen.notices],
    }


def _without(problems: tuple[Problem, ...], others: tuple[Problem, ...]) -> list[Problem]:
    known = set(others)
    return [problem for problem in problems if problem not in known]


def _tell(call: Call, event: _Event) -> None:
    at = moment(SystemClock().now())
    if call.output.as_json:
        sys.stdout.write(json.dumps({"at": at, "event": event.name, **event.details}) + "\n")
    else:
        sys.stdout.write("".join(f"{at} {harmless(line)}\n" for line in event.lines))
    sys.stdout.flush()  # whoever reads a pipe sees an event when it happens
