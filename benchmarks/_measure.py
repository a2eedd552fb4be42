"""What the benchmarks share: batches side by side in one run, ratios, the machine, tables, and results on disk."""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FunctionType
from typing import Any

RESULTS = Path(__file__).parent / "results"

Batch = Callable[[], object]
"""Does the same amount of work every time it is called."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one contestant took: the least disturbed batch, and the median of its ratios to the floor."""

    nanoseconds: float
    ratio: float


def unshared(function: FunctionType) -> FunctionType:
    """The function with code of its own: the interpreter adapts code to what it calls, here to one contestant only."""
    code = function.__code__.replace()
    return FunctionType(code, function.__globals__, function.__name__, function.__defaults__, function.__closure__)


def cpu_time(batch: Batch) -> int:
    """Nanoseconds of CPU that the whole process spent on the batch; other processes don't count."""
    before = time.process_time_ns()
    batch()
    return time.process_time_ns() - before


def side_by_side(batches: Mapping[str, Batch], floor: Batch, calls: int, rounds: int) -> dict[str, Sample]:
    """Runs every batch once a round, each between two runs of the floor, so that noise falls on both."""
    gc.collect()
    gc.freeze()
    took: dict[str, list[int]] = {name: [] for name in batches}
    ratios: dict[str, list[float]] = {name: [] for name in batches}
    for _ in range(rounds):
        for name, batch in batches.items():
            before, spent, after = cpu_time(floor), cpu_time(batch), cpu_time(floor)
            took[name].append(spent)
            ratios[name].append(2 * spent / (before + after))
    gc.unfreeze()
    return {name: Sample(min(took[name]) / calls, statistics.median(ratios[name])) for name in batches}


def together(works: list[Callable[[], object]]) -> float:
    """Seconds from the moment when all threads may begin until the last has ended."""
    begin = threading.Barrier(len(works) + 1)

    def run(work: Callable[[], object]) -> None:
        begin.wait()
        work()

    started = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in started:
        thread.start()
    begin.wait()
    begun = time.perf_counter()
    for thread in started:
        thread.join()
    return time.perf_counter() - begun


def installed(distribution: str) -> str:
    """The version of an installed distribution, or a dash."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "-"


def resident() -> int:
    """Bytes of memory that this process holds, garbage aside."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def machine() -> dict[str, Any]:
    """Where and on what the figures were taken."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "build": " ".join(platform.python_compiler().split()),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def print_machine() -> None:
    """One line about the machine."""
    print(", ".join(f"{key} {value}" for key, value in machine().items() if value not in (None, "")))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> None:
    """The rows under their headers; the columns ``left`` to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (headers, *rows)) for column in range(len(headers))]
    for row in (headers, ["-" * width for width in widths], *rows):
        cells = [
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def keep(name: str, figures: Mapping[str, Any]) -> Path:
    """Writes the figures, with the machine and the command, to the ignored folder ``results``."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.json"
    document = {"benchmark": name, "machine": machine(), "command": sys.argv, **figures}
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path
