"""What do 100,000 tenants cost: to start, to hold, to edit by file and by call, beside one tenant and 1,000?

``python -m benchmarks.catalog [--tenants 1 1000 100000] [--edits 300]``. Each figure comes from a process of its own.
A start without the cache reads and checks every file, one with it looks at each and reads those that changed. Memory
is what the process grew by while it opened the catalog, by tenant. In force is the time from the writer's rename, in
another process, until the new snapshot is published; an engine's write is on disk and in force when it returns.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks import _report
from benchmarks._measure import resident
from partywall.catalog import Catalog, CatalogChange
from partywall.names import TenantId

SAMPLE = Path(__file__).parent.parent / "orchestrator-data" / "system" / "tenancy"
SIZES = (1, 1_000, 100_000)
START_AIM, MEMORY_AIM, IN_FORCE_AIM, FLAT_AIM, WRITE_AIM = 10.0, 1_500.0, 10.0, 2.0, 5.0
"""Seconds, bytes, milliseconds, times the smallest size, milliseconds."""
TENANT = """\
# Made for a benchmark.
id: ten_{number:012d}
name: "Tenant number {number}"
slug: tenant-{number:06d} # may change
type: {plan}
status: active # pending, active, suspended or deleted
createdAt: "2026-01-05T09:00:00Z"
owner:
  userId: u-{number}
  email: owner{number}@tenant-{number}.test
  name: "Owner of {number}"
settings:
  defaultModel: model-large
  allowedModels: [model-large, model-small]
  complianceFrameworks: [gdpr, soc2]
quotas:
  maxUsers: 0 # ours
  maxProjects: 100
billing:
  billingEmail: billing{number}@tenant-{number}.test
domains: [app.tenant-{number}.test]
"""
WRITER = """
import os, sys, time
from pathlib import Path

folder, tenants, edits = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
for edit in range(1, edits + 1):
    path = folder / f"tenant-{(edit * 7919) % tenants:06d}.yaml"
    lines = [f"  maxUsers: {edit}" if "maxUsers" in line else line for line in path.read_text().splitlines()]
    temporary = path.with_name("." + path.name)
    temporary.write_text("\\n".join(lines) + "\\n")
    temporary.replace(path)
    print(edit, time.monotonic(), flush=True)
    time.sleep(0.02)
"""


def make(root: Path, tenants: int) -> None:
    """A data folder with so many tenants."""
    folder = root / "system" / "tenancy" / "tenants"
    folder.mkdir(parents=True)
    for name in ("engine.yaml", "plans.yaml", "tables.yaml"):
        shutil.copy(SAMPLE / name, folder.parent / name)
    plans = list(yaml.safe_load((SAMPLE / "plans.yaml").read_text())["plans"])
    for number in range(tenants):
        text = TENANT.format(number=number, plan=plans[number % len(plans)])
        (folder / f"tenant-{number:06d}.yaml").write_text(text)


def in_force(catalog: Catalog, root: Path, tenants: int, edits: int) -> list[float]:
    """Milliseconds from each save of another process until it was published."""
    seen: dict[int, float] = {}
    done = threading.Event()

    def hear(change: CatalogChange) -> None:
        now = time.monotonic()
        for tenant_id in change.tenants:
            spec = change.snapshot.tenant(tenant_id)
            if spec is not None and isinstance(spec.quotas.max_users, int):
                seen.setdefault(spec.quotas.max_users, now)
        if edits in seen:
            done.set()

    catalog.subscribe(hear)
    folder = root / "system" / "tenancy" / "tenants"
    command = [sys.executable, "-c", WRITER, str(folder), str(tenants), str(edits)]
    saved = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    done.wait(30)
    return [
        1000 * (seen[int(edit)] - float(at))
        for edit, at in zip(saved[::2], saved[1::2], strict=True)
        if int(edit) in seen
    ]


def writes(catalog: Catalog, tenants: int, edits: int) -> list[float]:
    """Milliseconds of each edit by a call."""
    took = []
    for edit in range(1, edits + 1):
        begun = time.perf_counter()
        catalog.edit_tenant(TenantId(f"ten_{(edit * 6101) % tenants:012d}"), {"quotas.maxProjects": edit}, audited=True)
        took.append(1000 * (time.perf_counter() - begun))
    return took


def child(root: Path, tenants: int, edits: int) -> None:
    """Measure one start, and edits if any, in this process."""
    before, begun = resident(), time.perf_counter()
    catalog = Catalog(root)
    started = time.perf_counter() - begun
    figures: dict[str, Any] = {"start": started, "memory": (resident() - before) / tenants}
    if edits:
        catalog.start()
        figures["in force"] = in_force(catalog, root, tenants, edits)
        figures["write"] = writes(catalog, tenants, edits)
    catalog.close()
    print(json.dumps(figures))


def run(root: Path, tenants: int, edits: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.catalog", "--child", str(root), str(tenants), str(edits)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def tail(figures: Sequence[float]) -> float:
    """The 99th percentile."""
    return sorted(figures)[min(len(figures) - 1, int(len(figures) * 0.99))]


def main(sizes: Sequence[int] = SIZES, edits: int = 300) -> None:
    """Measure, and add to the table."""
    print("\nCatalog: starting, holding and editing very many tenants")
    found: dict[int, dict[str, Any]] = {}
    for tenants in sizes:
        with tempfile.TemporaryDirectory() as made:
            root = Path(made)
            make(root, tenants)
            cold = run(root, tenants, 0)
            found[tenants] = run(root, tenants, edits) | {"cold": cold["start"]}
    smallest, largest = min(sizes), max(sizes)
    for tenants, figures in found.items():
        named = {"with the cache": figures["start"], "without": figures["cold"]}
        aim = START_AIM if tenants == largest else None
        _report.record(
            "catalog", f"start, {tenants:,} tenant{'s'[: tenants > 1]}", "s", named, ours="with the cache", aim=aim
        )
    holding = {f"{largest:,} tenants": found[largest]["memory"]}
    _report.record("catalog", "memory a tenant", "B", holding, ours=f"{largest:,} tenants", aim=MEMORY_AIM)
    for what, label, aim in (("in force", "saved to in force", IN_FORCE_AIM), ("write", "engine's write", WRITE_AIM)):
        for name, measure in (("median", statistics.median), ("p99", tail)):
            by_size = {f"{tenants:,} tenants": measure(figures[what]) for tenants, figures in found.items()}
            ours = f"{largest:,} tenants"
            reached = aim if what == "in force" or name == "median" else None
            _report.record("catalog", f"{label}, {name}", "ms", {ours: by_size[ours]}, ours=ours, aim=reached)
            _report.record(
                "catalog",
                f"{label}, {name}, beside fewer",
                "ms",
                by_size,
                ours=ours,
                floor=f"{smallest:,} tenants",
                aim=FLAT_AIM if name == "median" else None,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, nargs="+", default=SIZES)
    parser.add_argument("--edits", type=int, default=300)
    parser.add_argument("--child", nargs=3)
    arguments = parser.parse_args()
    if arguments.child:
        child(Path(arguments.child[0]), int(arguments.child[1]), int(arguments.child[2]))
    else:
        main(arguments.tenants, arguments.edits)
        _report.show("catalog")
