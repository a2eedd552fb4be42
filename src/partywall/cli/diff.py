"""``partywall diff``: what the files would change, and for whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import click
from pydantic import BaseModel

from partywall.catalog import Look, Snapshot, engine_config, load, look
from partywall.cli.app import Call, command, partywall
from partywall.cli.comparison import Change, Comparison, changes_between, compare
from partywall.cli.revisions import at_revision
from partywall.cli.sight import statuses_in_force
from partywall.errors import ConfigError, Problem
from partywall.folder import DataFolder
from partywall.model import EngineConfig
from partywall.names import TenantId

__all__ = ["diff"]

_FILES: Final = "system/tenancy"
_TENANTS: Final = f"{_FILES}/tenants"


@command(partywall)
@click.argument("against", metavar="[FOLDER_OR_REVISION]", required=False)
def diff(call: Call, against: str | None) -> int:
    """Tell what the files would change.

    Compares what was last in force with the files as they stand now; or another data folder, or a git revision such
    as HEAD or main, with them. Values are what they come to for tenants: an edit of a plan is one line, with the
    number of tenants that it reaches.

    What is wrong on either side is left out and told; plans that are wrong leave nothing to compare.

    Exit code 0 when nothing differs, 1 when something does.
    """
    call.folder.require()
    statuses = statuses_in_force(call.folder)
    if against is None:
        now = look(call.folder.root, give_ids=True)
        comparison = compare(now.before, now.snapshot, statuses)
        return _tell(call, _Difference(comparison, [], now.problems))
    with _other(call.folder, against) as (root, lost):
        sides = _sides((against, root), ("the files now", call.folder.root))
        before, now = sides
        wrong_before = [*lost, *before.problems]
        doubtful = {
            *_doubtful(wrong_before, root, before.snapshot, now.snapshot),
            *_doubtful(now.problems, call.folder.root, now.snapshot, before.snapshot),
        }
    comparison = compare(before.snapshot, now.snapshot, statuses, without=doubtful)
    wrong = {problem.file for problem in [*wrong_before, *now.problems]}
    startup = [(file, change) for file, change in _at_start(before, now) if f"{_FILES}/{file}" not in wrong]
    return _tell(call, _Difference(comparison, startup, now.problems, against, wrong_before))


@dataclass(frozen=True, slots=True)
class _Difference:
    """What is told."""

    comparison: Comparison
    startup: Sequence[tuple[str, Change]]
    problems: Sequence[Problem]
    """What is wrong in the files as they stand now."""
    against: str = ""
    other_problems: Sequence[Problem] = ()
    """What is wrong in those that they are compared with."""

    def __bool__(self) -> bool:
        return bool(self.comparison or self.startup)


@contextmanager
def _other(folder: DataFolder, against: str) -> Iterator[tuple[Path, list[Problem]]]:
    if Path(against).is_dir():
        other = DataFolder(against)
        other.require()
        yield other.root, []
        return
    with at_revision(folder, against) as found:
        yield found.root, found.problems


def _sides(*named: tuple[str, Path]) -> list[Look]:
    """A look at each side; where an engine.yaml is wrong, that of the other side tells which regions there are."""
    configs = [config for _, root in named if (config := engine_config(root))]
    return [_side(name, root, (configs or [EngineConfig()])[0]) for name, root in named]


def _side(name: str, root: Path, stand_in: EngineConfig) -> Look:
    try:
        return look(root, last_good=False, give_ids=True, stand_in=stand_in)
    except ConfigError as error:
        message = f"nothing can be compared: the plans of {name} cannot be used"
        raise ConfigError(message, error.problems) from None


def _doubtful(problems: Sequence[Problem], root: Path, side: Snapshot, other: Snapshot) -> Iterator[TenantId]:
    """Tenants of whom this side cannot tell what it says: the other side's of the files that are wrong here.

    Where a file can be read, its id counts too: on the other side the file may have another name.
    """
    files = {problem.file for problem in problems}
    unlistable = _TENANTS in files and not len(side)
    for tenant_id in other.ids() if files else ():
        if side.entry(tenant_id) is None and (unlistable or f"{_TENANTS}/{other.file_of(tenant_id)}" in files):
            yield tenant_id
    for file in files:
        with suppress(OSError):
            data = load(file, (root / file).read_bytes()).data
            named = data.get("id") if isinstance(data, dict) else None
            if isinstance(named, str) and side.entry(named) is None:
                yield TenantId(named)


def _at_start(before: Look, now: Look) -> Iterator[tuple[str, Change]]:
    """What differs in the files that are read when the engine opens."""
    for change in changes_between(_plain(before.config), _plain(now.config)):
        yield "engine.yaml", change
    tables = [{str(name): _plain(table) for name, table in seen.tables.items()} for seen in (before, now)]
    for change in changes_between(*tables):
        yield "tables.yaml", change


def _plain(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True)


def _tell(call: Call, found: _Difference) -> int:
    if call.output.as_json:
        call.output.document(
            {
                "changed": bool(found),
                **found.comparison.document(),
                "at_start": [{"file": file, **asdict(change)} for file, change in found.startup],
                "problems": [asdict(problem) for problem in found.problems],
                "other_problems": [asdict(problem) for problem in found.other_problems],
            }
        )
        return bool(found)
    for line in found.comparison.lines():
        call.output.line(line)
    for file, change in found.startup:
        call.output.line(f"{file}, at the next start: {change}")
    for problem in found.other_problems:
        call.output.line(f"not in the comparison, wrong in {found.against}: {problem}")
    for problem in found.problems:
        call.output.line(f"not in the comparison: {problem}")
    if not (found or found.problems or found.other_problems):
        call.output.line("no difference")
    return bool(found)
