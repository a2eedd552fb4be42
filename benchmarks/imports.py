"""What does `import partywall` cost, beside what it keeps from loading?

Each import runs in a fresh interpreter, in turn with the others; the ratio is to starting an interpreter that
imports nothing.
"""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

from benchmarks import _report

ROUNDS = 9
CASES = {
    "nothing": "pass",
    "import partywall": "import partywall",
    "... and its errors and operators": "from partywall import PartywallError, gt",
    "... and the engine": "from partywall import open",
    "import pydantic": "import pydantic",
    "import sqlite3": "import sqlite3",
    "import duckdb": "import duckdb",
}


def once(statement: str) -> float:
    """Seconds for one fresh interpreter."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - begun


def main() -> None:
    """Measure, and add to the table."""
    seconds: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(ROUNDS):
        for name, statement in CASES.items():
            seconds[name].append(once(statement))
    found = {name: median(times) * 1000 for name, times in seconds.items()}
    ours = "import partywall"
    _report.record("imports", ours, "ms", found, ours=ours, floor="nothing")


if __name__ == "__main__":
    main()
    _report.show("imports")
