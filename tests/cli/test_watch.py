from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import partywall
from partywall.folder import DataFolder

Run = Callable[..., Any]
WAIT = 60.0


class Watching:
    """A running ``partywall watch``; its lines are read as they come."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.line())
        return event


@contextmanager
def watching(*options: str) -> Iterator[Watching]:
    command = [sys.executable, "-m", "partywall", "watch", *options]
    # A shell starts what runs in its background with Ctrl-C ignored, and children inherit that.
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, ours)
    with started as process:
        timer = threading.Timer(WAIT, process.kill)
        timer.start()
        try:
            yield Watching(process)
        finally:
            timer.cancel()
            process.kill()


def edit(folder: DataFolder, key: str, old: str, new: str) -> None:
    path = folder.tenancy / key
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_every_reload_of_a_running_engine_is_told_with_what_it_changed_and_for_whom(folder: DataFolder) -> None:
    with partywall.open(folder.root, watch=False) as engine, watching("--json", "--count", "4") as seen:
        first = seen.event()
        assert (first["event"], first["pid"], first["generation"]) == ("state", os.getpid(), 1)
        assert (first["digest"], first["tenants"]) == (engine.catalog.snapshot.digest, 1)
        edit(folder, "plans.yaml", "maxProjects: 10", "maxProjects: 20")
        engine.catalog.refresh()
        reload = seen.event()
        assert (reload["event"], reload["generation"]) == ("reload", 2)
        assert reload["plans"][0]["changes"] == [
            {"path": "quotas.projects", "before": 10, "after": 20, "tenants": 1},
        ]
        edit(folder, "tenants/acme.yaml", "status: active", "status: actve")
        engine.catalog.refresh()
        problem = seen.event()
        assert (problem["event"], problem["line"], problem["path"]) == ("problem", 8, "status")
        edit(folder, "tenants/acme.yaml", "status: actve", "status: active")
        engine.catalog.refresh()
        assert seen.event()["event"] == "solved"
        edit(folder, "engine.yaml", "durability: commit", "durability: interval")
        engine.catalog.refresh()
        assert seen.event()["event"] == "notice"
        assert seen.process.wait(WAIT) == 0


def test_the_status_that_is_told_is_the_one_in_force(folder: DataFolder) -> None:
    with partywall.open(folder.root, watch=False) as engine, watching("--count", "2") as seen:
        acme = engine.tenants.get_by_slug("acme")
        assert seen.line().endswith(", 1 tenant")
        engine.tenants.suspend(acme.id, reason="unpaid")
        head = f"generation 2, digest {engine.catalog.snapshot.digest[:12]}: tenant acme on starter: "
        assert seen.line().partition(" ")[2] == head + "status: active -> suspended"
        edit(folder, "tenants/acme.yaml", "status: suspended", "status: pending")
        edit(folder, "tenants/acme.yaml", 'name: "Acme"', 'name: "Apollo"')
        engine.catalog.refresh()
        assert seen.line().endswith("tenant acme on starter: name: Acme -> Apollo")
        assert seen.process.wait(WAIT) == 0


def test_an_engine_that_starts_and_stops_is_told_and_files_are_followed_without_one(folder: DataFolder) -> None:
    with watching() as seen:
        assert "no engine runs, digest " in seen.line()
        with partywall.open(folder.root, watch=False):
            assert f"an engine runs (pid {os.getpid()})" in seen.line()
        assert "no engine runs" in seen.line()
        edit(folder, "plans.yaml", "maxProjects: 10", "maxProjects: 20")
        assert seen.line().endswith("plan starter: quotas.projects: 10 -> 20 (1 tenant)")
        edit(folder, "tenants/acme.yaml", "status: active", "status: actve")
        assert "problem: system/tenancy/tenants/acme.yaml:8:9: expected one of active" in seen.line()
        seen.process.send_signal(signal.SIGINT)
        assert seen.process.wait(WAIT) == 0


def test_what_never_could_be_used_is_watched_until_it_can(folder: DataFolder) -> None:
    edit(folder, "plans.yaml", "price: 29", "price: cheap")
    with watching("--json") as seen:
        first = seen.event()
        assert (first["digest"], first["tenants"], len(first["problems"])) == (None, 0, 1)
        edit(folder, "plans.yaml", "price: cheap", "price: 29")
        assert [seen.event()["event"] for _ in range(2)] == ["reload", "solved"]


@pytest.mark.parametrize(("options", "code"), [([], 0), (["--count", "1"], 1)])
def test_a_watch_that_is_bounded_ends(here: Run, folder: DataFolder, options: list[str], code: int) -> None:
    ended = here("watch", "--timeout", "0", *options)
    assert (ended.code, ended.err) == (code, "")
    assert ended.out.count("\n") == 1


def test_a_watch_makes_nothing(here: Run, folder: DataFolder) -> None:
    assert here("watch", "--timeout", "0").code == 0
    assert not folder.var.exists()
    assert here("watch", "--data", str(Path("nowhere"))).code == 78
