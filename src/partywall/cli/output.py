"""What a command prints: a table or a few lines for people, or one JSON document for programs.

What tenants and files say is printed as text only: control characters are spelled out, so that nobody's
name or reason can colour, move or rewrite what an operator reads.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

__all__ = ["Output", "harmless", "write_json"]

_UNBOUNDED: Final = 100_000
_STYLES: Final = {
    "active": "green",
    "pending": "yellow",
    "suspended": "red",
    "deleted": "dim",
}


def harmless(value: object) -> str:
    """The value as one line of text, with every character that is not printable spelled out."""
    text = "-" if value is None else str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def write_json(document: Any, stream: TextIO) -> None:
    """Write one JSON document."""
    stream.write(json.dumps(document, indent=2) + "\n")


class Output:
    """Standard output, in the form that was asked for."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def document(self, document: Any) -> None:
        """Print the JSON document."""
        write_json(document, sys.stdout)

    def line(self, text: str) -> None:
        """Print one line for people."""
        sys.stdout.write(harmless(text) + "\n")

    def fields(self, fields: Mapping[str, object]) -> None:
        """Print names and values, one below the other."""
        width = max(map(len, fields))
        for name, value in fields.items():
            self.line(f"{name:<{width}}  {harmless(value)}")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print a table in which no cell is ever cut: whole lines for a pipe, folded cells in a terminal."""
        if sys.stdout.isatty():
            _print_pretty(columns, rows)
        else:
            _print_plain(columns, rows)


def _print_plain(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    lines = [[harmless(cell) for cell in row] for row in [columns, *rows]]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for line in lines:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        sys.stdout.write(f"{text.rstrip()}\n")


def _print_pretty(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=index == 0)
    for row in rows:
        table.add_row(*(Text(harmless(cell), style=_STYLES.get(str(cell), "")) for cell in row))
    console = Console(file=sys.stdout, highlight=False)
    # In a terminal too narrow for the longest words the terminal itself breaks the lines: rich would cut them.
    needed = Measurement.get(console, console.options.update(width=_UNBOUNDED), table).minimum
    console.width = max(console.width, needed)
    console.print(table)
