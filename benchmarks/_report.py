"""One table for all benchmarks: each records lines while it runs, and what ran last prints and keeps them.

A benchmark that takes part says what it measured, for whom, and what is compared::

    _report.record(
        "ledger",
        "increment, 16 threads",
        "/s",
        rates,
        ours="usage.increment",
        floor="plain sqlite3",
        more_is_better=True,
    )

Whatever contestant is neither ours nor the floor is a peer; the best of them stands in a column of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import _measure


@dataclass(frozen=True, slots=True)
class Line:
    """One measure of several contestants."""

    room: str
    measure: str
    unit: str
    figures: Mapping[str, float]
    ours: str
    floor: str | None
    """The contestant that does nothing, or the least that could do."""
    aim: float | None
    """What ours should be at most (at least, where more is better): in floors if there is one, or else in the unit."""
    more_is_better: bool
    ratios: Mapping[str, float]
    """Each contestant's figure in floors, paired within rounds where the benchmark did so."""

    @property
    def peers(self) -> list[str]:
        """The peers' names, the best first."""
        names = [name for name in self.figures if name not in {self.ours, self.floor}]
        return sorted(names, key=self.worth, reverse=self.more_is_better)

    def worth(self, name: str) -> float:
        """What contestants are compared by: their ratio where there is a floor, or else their figure."""
        return self.ratios.get(name, self.figures[name])

    def ahead(self, name: str) -> float | None:
        """How many times better than a peer ours is; None where one of them is nothing."""
        better, worse = self.worth(self.ours), self.worth(name)
        if self.more_is_better:
            better, worse = worse, better
        return worse / better if better else None

    @property
    def reached(self) -> bool | None:
        """Whether ours reached the aim."""
        if self.aim is None:
            return None
        own = self.worth(self.ours)
        return own >= self.aim if self.more_is_better else own <= self.aim


LINES: list[Line] = []
"""What was recorded in this run."""
_HEADERS = ("measure", "ours", "x floor", "aim", "best peer", "ours is better by", "all peers, best first")


def record(
    room: str,
    measure: str,
    unit: str,
    figures: Mapping[str, float],
    *,
    ours: str,
    floor: str | None = None,
    aim: float | None = None,
    more_is_better: bool = False,
    ratios: Mapping[str, float] | None = None,
) -> Line:
    """Add a line to the table; ``ratios`` where rounds were paired, or else they follow from the floor's figure."""
    if ratios is None:
        base = figures[floor] if floor else 0
        ratios = {name: figure / base for name, figure in figures.items() if name != floor} if base else {}
    line = Line(room, measure, unit, dict(figures), ours, floor, aim, more_is_better, dict(ratios))
    LINES.append(line)
    return line


def show(name: str, versions: Mapping[str, str] | None = None) -> Path | None:
    """Print the table of all lines and keep them as JSON; nothing where nothing was recorded."""
    if not LINES:
        return None
    print()
    _measure.print_machine()
    print_lines(LINES)
    path = _measure.keep(name, document(LINES, versions))
    print(f"kept in {path}")
    return path


def document(lines: Sequence[Line], versions: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The lines as JSON holds them."""
    return {"versions": dict(versions or {}), "lines": [asdict(line) for line in lines]}


def print_lines(lines: Sequence[Line]) -> None:
    """One table, rooms in the order in which they were recorded."""
    rows = []
    for line in lines:
        best = line.peers[0] if line.peers else None
        rows.append(
            [
                f"{line.room}: {line.measure}",
                _figure(line.figures[line.ours], line.unit),
                _ratio(line.ratios.get(line.ours)),
                _aim(line),
                f"{best} {_figure(line.figures[best], line.unit)}" if best else "",
                _ratio(line.ahead(best)) if best else "",
                "  ".join(f"{peer} {_worth(line, peer)}" for peer in line.peers),
            ]
        )
    _measure.print_table(_HEADERS, rows, left={0, 4, 6})


def _figure(figure: float, unit: str) -> str:
    digits = 0 if figure >= 100 or figure == int(figure) else 1 if figure >= 10 else 2
    return f"{figure:,.{digits}f}{'' if unit.startswith(('/', '%')) else ' '}{unit}"


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:,.{0 if ratio >= 100 else 1 if ratio >= 10 else 2}f} x"


def _worth(line: Line, name: str) -> str:
    return _ratio(line.ratios[name]) if name in line.ratios else _figure(line.figures[name], "").strip()


def _aim(line: Line) -> str:
    if line.aim is None:
        return ""
    aim = f"{line.aim:g} x" if line.ratios else _figure(line.aim, line.unit)
    return f"{'>=' if line.more_is_better else '<='} {aim} {'ok' if line.reached else 'MISSED'}"
