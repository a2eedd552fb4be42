"""Totals as bars: of text for a terminal, as SVG for a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

__all__ = ["Bar", "bar", "svg"]

Bar = tuple[str, str, int]
"""What stands before a bar, what stands behind it, and its length in whatever unit."""

_ROW, _LABEL, _WIDTH, _VALUE = 22, 90, 420, 130
"""Pixels: the height of a line, and the widths of its three parts."""


def bar(share: float, width: int = 20) -> str:
    """So much of the width filled; more than all of it is shown as all."""
    filled = min(width, round(share * width))
    return "#" * filled + "." * (width - filled)


def svg(title: str, charts: Sequence[tuple[str, Sequence[Bar]]]) -> str:
    """One document with a chart below the other, each under its name and with a scale of its own."""
    lines, row = [_text(0, title, bold=True)], 2
    for name, bars in charts:
        lines += [_text(row, name, bold=True), *_bars(row + 1, bars)]
        row += len(bars) + 2
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LABEL + _WIDTH + _VALUE}" height="{row * _ROW}"'
    return "\n".join([f'{head} font-family="sans-serif" font-size="13">', *lines, "</svg>", ""])


def _bars(row: int, bars: Sequence[Bar]) -> Iterator[str]:
    longest = max((length for _, _, length in bars), default=0) or 1
    for below, (label, value, length) in enumerate(bars):
        width = round(_WIDTH * length / longest)
        top = (row + below) * _ROW + 6
        shape = f'<rect x="{_LABEL}" y="{top}" width="{width}" height="{_ROW - 6}" fill="#4477aa"/>'
        behind = _text(row + below, value, x=_LABEL + width + 6)
        yield f"<g>{_text(row + below, label)}{shape}{behind}</g>"


def _text(row: int, text: str, *, x: int = 4, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{(row + 1) * _ROW - 4}"{weight}>{escape(text)}</text>'
