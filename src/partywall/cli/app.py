"""The command ``partywall`` itself: its global options, and what every command shares."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import update_wrapper
from pathlib import Path
from typing import Any, Final

import click

from partywall.cli.failures import failure_of, report
from partywall.cli.output import Output, harmless
from partywall.folder import DataFolder

__all__ = ["Call", "command", "command_group", "partywall", "run"]

_DATA_HELP: Final = "The data folder; default: $PARTYWALL_DATA, or orchestrator-data."


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a command: the folder that it is about, and where its answer goes."""

    folder: DataFolder
    output: Output


def _data_option(default: Path | None, **more: Any) -> Callable[[Any], Any]:
    return click.option(
        "--data",
        metavar="FOLDER",
        type=click.Path(path_type=Path),
        default=default,
        help=_DATA_HELP,
        **more,
    )


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@_data_option(Path("orchestrator-data"), envvar="PARTYWALL_DATA")
@click.version_option(package_name="partywall", prog_name="partywall", message="%(prog)s %(version)s")
@click.pass_context
def partywall(context: click.Context, data: Path) -> None:
    """Many tenants in one process, and a wall between them.

    What changes something is done by the engine that owns the data folder, if one runs, and by this command
    itself otherwise. What only reads never disturbs a running engine.
    """
    context.obj = data


def command(group: click.Group, name: str | None = None) -> Callable[[Callable[..., int | None]], click.Command]:
    """Add a function to the group as a command with ``--json`` and ``--data``.

    The function is given a ``Call`` and its own options, and may return an exit code.
    """
    return lambda function: group.command(name)(_with_call(function))


def command_group(group: click.Group, name: str) -> Callable[[Callable[..., int | None]], click.Group]:
    """Add a function as ``command`` does, under a name that may be followed by further commands."""
    return lambda function: group.group(name, invoke_without_command=True)(_with_call(function))


def _with_call(function: Callable[..., int | None]) -> Callable[..., int | None]:
    def called(data: Path | None, as_json: bool, **options: Any) -> int | None:
        context = click.get_current_context()
        if context.invoked_subcommand is not None:
            return None
        root: Path = data or context.obj
        return function(Call(DataFolder(root), Output(as_json=as_json)), **options)

    with_data: Callable[..., int | None] = _data_option(None)(update_wrapper(called, function))
    with_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
    return with_json(with_data)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit code, with the error told on standard error."""
    as_json = "--json" in arguments
    try:
        with _warnings(as_json=as_json):
            code = partywall.main(list(arguments), prog_name="partywall", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as help_instead:
        sys.stderr.write(f"{help_instead.format_message()}\n")
        return help_instead.exit_code
    except BrokenPipeError:
        # Whoever read the output has enough; the interpreter must not try to write the rest when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        failure = failure_of(error)
        if failure is None:
            raise
        report(failure, as_json=as_json)
        return failure.exit_code
    return code if isinstance(code, int) else 0


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return harmless(f"{record.levelname.lower()}: {record.getMessage()}")


@contextmanager
def _warnings(*, as_json: bool) -> Iterator[None]:
    """Tell what the engine logs as lines on standard error, where programs expect nothing but an error."""
    handler = logging.NullHandler() if as_json else logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_Lines())
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
