"""Runs every benchmark, or those that are named: `python -m benchmarks [imports limits ...]`; then prints one table."""

from __future__ import annotations

import sys
from importlib import import_module

from benchmarks import _report

ALL = ("limits", "wall", "ledger", "catalog", "imports")


def main() -> int:
    """Run them one after another."""
    chosen = sys.argv[1:] or ALL
    unknown = [name for name in chosen if name not in ALL]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(ALL)}", file=sys.stderr)
        return 2
    for name in chosen:
        import_module(f"benchmarks.{name}").main()
    _report.show("bench" if len(chosen) > 1 else chosen[0])
    return 0


if __name__ == "__main__":
    sys.exit(main())
