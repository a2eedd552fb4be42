"""``partywall diff``: what the files would change, and for whom."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

from partywall.catalog import Look, look
from partywall.cli.app import Call, command, partywall
from partywall.cli.comparison import Change, Comparison, changes_between, compare
from partywall.cli.revisions import at_revision
from partywall.cli.sight import statuses_in_force
from partywall.folder import DataFolder

__all__ = ["diff"]


@command(partywall)
@click.argument("against", metavar="[FOLDER_OR_REVISION]", required=False)
def diff(call: Call, against: str | None) -> int:
    """Tell what the files would change.

    Compares what was last in force with the files as they stand now; or another data folder, or a git revision such
    as HEAD or main, with them. Values are what they come to for tenants: an edit of a plan is one line, with the
    number of tenants that it reaches.

    Exit code 0 when nothing differs, 1 when something does.
    """
    call.folder.require()
    statuses = statuses_in_force(call.folder)
    if against is None:
        now = look(call.folder.root, give_ids=True)
        comparison, startup = compare(now.before, now.snapshot, statuses), []
    else:
        now = look(call.folder.root, last_good=False, give_ids=True)
        with _other(call.folder, against) as root:
            other = look(root, last_good=False, give_ids=True)
        comparison, startup = compare(other.snapshot, now.snapshot, statuses), list(_at_start(other, now))
    _tell(call, comparison, startup, now)
    return 1 if comparison or startup else 0


@contextmanager
def _other(folder: DataFolder, against: str) -> Iterator[Path]:
    if Path(against).is_dir():
        other = DataFolder(against)
        other.require()
        yield other.root
        return
    with at_revision(folder, against) as root:
        yield root


def _at_start(before: Look, now: Look) -> Iterator[tuple[str, Change]]:
    """What differs in the files that are read when the engine opens."""
    for change in changes_between(_plain(before.config), _plain(now.config)):
        yield "engine.yaml", change
    tables = [{str(name): _plain(table) for name, table in seen.tables.items()} for seen in (before, now)]
    for change in changes_between(*tables):
        yield "tables.yaml", change


def _plain(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True)


def _tell(call: Call, comparison: Comparison, startup: list[tuple[str, Change]], now: Look) -> None:
    if call.output.as_json:
        call.output.document(
            {
                "changed": bool(comparison or startup),
                **comparison.document(),
                "at_start": [{"file": file, **asdict(change)} for file, change in startup],
                "problems": [asdict(problem) for problem in now.problems],
            }
        )
        return
    for line in comparison.lines():
        call.output.line(line)
    for file, change in startup:
        call.output.line(f"{file}, at the next start: {change}")
    for problem in now.problems:
        call.output.line(f"not in the comparison: {problem}")
    if not (comparison or startup or now.problems):
        call.output.line("no difference")
