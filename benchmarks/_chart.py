"""The limiter's figures for ``docs/benchmarks``: a summary, and a picture in plain SVG that follows light and dark."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from benchmarks import _report

DOCS = Path(__file__).parent.parent / "docs" / "benchmarks"
PANELS = ("hot key", "20,000 keys, uniform")
WIDTH, ROW, TOP, NAMES, BAR = 880, 26, 96, 128, 228
STYLE = """
text { font: 13px ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2937; }
.title { font-size: 17px; font-weight: 650; }
.panel { font-weight: 600; }
.quiet { fill: #6b7280; font-size: 12px; }
.bar { fill: #cbd5e1; }
.ours { fill: #0f766e; }
.name { text-anchor: end; }
.own { font-weight: 650; }
@media (prefers-color-scheme: dark) {
  text { fill: #e5e7eb; }
  .quiet { fill: #9ca3af; }
  .bar { fill: #475569; }
  .ours { fill: #2dd4bf; }
}
"""


def publish(kept: Path) -> None:
    """Write the summary and the picture of a run of the limiter's benchmark that was kept."""
    run = json.loads(kept.read_text())
    summary = {part: run[part] for part in ("machine", "versions", "lines")}
    lines = [_report.Line(**line) for line in run["lines"]]
    DOCS.mkdir(exist_ok=True)
    (DOCS / "limiter.json").write_text(json.dumps(summary, indent=1) + "\n")
    (DOCS / "limiter.svg").write_text(svg(lines, run["machine"]["python"]))


def svg(lines: Sequence[_report.Line], python: str) -> str:
    """Two panels of bars, the shortest first."""
    panels = [next(line for line in lines if line.measure == measure) for measure in PANELS]
    rows = max(len(line.ratios) for line in panels)
    height = TOP + rows * ROW + 36
    body = [
        text(24, 32, "One rate-limit check, as a multiple of an empty Python function call", "title"),
        text(24, 53, f"CPU time, peers side by side in one run, {python}; shorter is better", "quiet"),
        *(part for index, line in enumerate(panels) for part in panel(line, 24 + index * (WIDTH - 24) // 2)),
        text(24, height - 14, "make bench measures it on your machine", "quiet"),
    ]
    label = f"Bars: a check costs {panels[0].ratios[panels[0].ours]:.1f} times an empty call with partywall"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(label)}">\n<style>{STYLE}</style>\n' + "\n".join(body) + "\n</svg>\n"
    )


def panel(line: _report.Line, left: int) -> list[str]:
    """A bar for each contestant."""
    most = max(line.ratios.values())
    parts = [text(left, TOP - 14, line.measure, "panel")]
    for row, name in enumerate(sorted(line.ratios, key=line.worth)):
        ratio, y = line.ratios[name], TOP + row * ROW
        length = max(2.0, BAR * ratio / most)
        ours = name == line.ours
        parts += [
            text(left + NAMES - 10, y + 14, name, "name own" if ours else "name"),
            bar(left + NAMES, y, length, "ours" if ours else "bar"),
            text(
                left + NAMES + length + 7,
                y + 14,
                f"{ratio:.{0 if ratio >= 10 else 1}f} \u00d7",
                "own" if ours else "quiet",
            ),
        ]
    return parts


def bar(x: float, y: float, length: float, style: str) -> str:
    """One bar."""
    return f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{length:.1f}" height="18" rx="3"/>'


def text(x: float, y: float, words: str, style: str) -> str:
    """One line of text."""
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'
