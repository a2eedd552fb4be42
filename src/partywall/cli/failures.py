"""How a command fails: what is printed to standard error, and the exit code."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import click

from partywall.cli.output import harmless, write_json
from partywall.errors import ConfigError, LedgerError, PartywallError, Problem, TenantConflict

__all__ = ["INTERRUPTED", "Failed", "Failure", "failure_from", "failure_of", "report"]

INTERRUPTED: Final = 130
"""The exit code after Ctrl-C, as shells have it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One refusal, wherever it was made."""

    code: str
    message: str
    exit_code: int
    problems: Sequence[Problem] = ()
    diff: str | None = None
    """What changed since the caller looked, as a unified diff."""


class Failed(Exception):  # carries a failure; it is not one of the library's errors
    """Ends a command."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def failure_of(error: Exception) -> Failure | None:
    """What to print for an exception; None for one that is a mistake in this program."""
    failure: Failure | None = None
    match error:
        case Failed():
            failure = error.failure
        case ConfigError():
            failure = Failure(error.code, str(error).partition("\n")[0], error.exit_code, error.problems)
        case TenantConflict():
            failure = Failure(error.code, str(error), error.exit_code, diff=error.diff)
        case LedgerError():
            failure = Failure(error.code, f"{error}{_because(error.__cause__)}", error.exit_code)
        case PartywallError():
            failure = Failure(error.code, str(error), error.exit_code)
        case click.Abort():
            failure = Failure("interrupted", "interrupted", INTERRUPTED)
        case click.ClickException():
            failure = Failure("usage", _usage(error), error.exit_code)
        case OSError():
            named = f": {error.filename}" if error.filename else ""
            failure = Failure("os-error", f"{error.strerror or 'input or output failed'}{named}", 1)
    return failure


def failure_from(document: Mapping[str, Any]) -> Failure:
    """The failure that another process recorded in the ledger."""
    code = str(document.get("code", PartywallError.code))
    exit_codes = {each.code: each.exit_code for each in _errors(PartywallError)}
    exit_code = exit_codes.get(code, PartywallError.exit_code)
    return Failure(code, str(document.get("message", "")), exit_code, diff=document.get("diff"))


def report(failure: Failure, *, as_json: bool) -> None:
    """Print the failure to standard error."""
    if as_json:
        document: dict[str, Any] = {"code": failure.code, "message": failure.message}
        if failure.problems:
            document["problems"] = [asdict(problem) for problem in failure.problems]
        if failure.diff is not None:
            document["diff"] = failure.diff
        write_json({"error": document}, sys.stderr)
        return
    first, *more = failure.message.split("\n")
    lines = [f"error: {first}", *more, *map(str, failure.problems), *(failure.diff or "").splitlines()]
    sys.stderr.write("".join(f"{harmless(line)}\n" for line in lines))


def _because(cause: BaseException | None) -> str:
    """What the store said: an operator may know, although tenants are told nothing of it."""
    return f" ({cause})" if isinstance(cause, sqlite3.Error | OSError) else ""


def _usage(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"{error.format_message()} (see: {context.command_path} --help)" if context else error.format_message()


def _errors(base: type[PartywallError]) -> Iterator[type[PartywallError]]:
    yield base
    for each in base.__subclasses__():
        yield from _errors(each)
