"""An operator and an engine that is killed again and again edit one tenant's file: no edit of either is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import partywall

ENGINE = """
import sys
import partywall

folder, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with partywall.open(folder) as engine:
    acme = engine.tenants.get_by_slug("acme")
    for number in range(first, last + 1):
        engine.tenants.update_settings(acme.id, {"default_model": f"m{number}"})
        print(number, flush=True)
"""


class Operator(threading.Thread):
    """Counts up a quota in the file, as an editor would; waits for an edit that is not there yet."""

    def __init__(self, file: Path, edits: int) -> None:
        super().__init__(daemon=True)
        self.file = file
        self.edits = edits
        self.lost: list[int] = []
        self.pace = threading.Event()

    def run(self) -> None:
        for number in range(1, self.edits + 1):
            text = self.reading(number - 1)
            wanted = text.replace(f"maxUsers: {number - 1}\n", f"maxUsers: {number}\n")
            self.pace.wait(0.005 * (number % 3))
            if number % 2:
                self.file.write_text(wanted)
            else:
                temporary = self.file.with_name(".acme.yaml.swp")
                temporary.write_text(wanted)
                temporary.replace(self.file)
            self.pace.wait(0.02)

    def reading(self, number: int) -> str:
        """The file with the last edit in it; a killed engine puts it back at its next start at the latest."""
        until = time.monotonic() + 60
        while f"maxUsers: {number}\n" not in (text := self.file.read_text()):
            if time.monotonic() > until:
                self.lost.append(number)
                return text
            self.pace.wait(0.01)
        return text


def run_killed(folder: Path, edits: int, kills: int, chance: random.Random) -> list[str]:
    """Edits of the engine, which is killed so many times; returns what it acknowledged."""
    acknowledged: list[str] = []
    marks = sorted(chance.sample(range(2, edits), kills))
    while len(acknowledged) < edits:
        command = [sys.executable, "-c", ENGINE, str(folder), str(len(acknowledged) + 1), str(edits)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as engine:
            assert engine.stdout is not None
            for line in engine.stdout:
                acknowledged.append(line.strip())
                if marks and len(acknowledged) >= marks[0]:
                    del marks[0]
                    threading.Event().wait(chance.random() * 0.02)
                    os.kill(engine.pid, signal.SIGKILL)
        assert engine.returncode in (0, -signal.SIGKILL)
    assert not marks
    return acknowledged


def chain(pairs: Iterable[list[Any]], start: object) -> object:
    """Where the changes lead to, each from where the one before it led."""
    at = start
    for before, after in pairs:
        assert before == at
        at = after
    return at


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("edits", "kills"), [(40, 2), pytest.param(300, 25, marks=pytest.mark.long)])
def test_no_edit_and_no_record_is_lost_between_an_operator_and_an_engine_that_is_killed(
    data_folder: Path, edits: int, kills: int
) -> None:
    file = data_folder / "system" / "tenancy" / "tenants" / "acme.yaml"
    file.write_text(file.read_text().replace("model-large\n", "m0\n", 1) + "quotas:\n  maxUsers: 0\n")
    partywall.open(data_folder).close()
    operator = Operator(file, edits)
    operator.start()
    acknowledged = run_killed(data_folder, edits, kills, random.Random(7))
    operator.join(120)
    assert operator.lost == []
    assert acknowledged == [str(number) for number in range(1, edits + 1)]
    with partywall.open(data_folder) as engine:
        found = engine.catalog.refresh().by_slug("acme")
        assert found is not None
        assert (found.quotas.max_users, found.settings.default_model) == (edits, f"m{edits}")
        records = engine.audit.records(found.id, limit=10_000)
    by_file = [record.details["changes"] for record in records if record.action == "tenant.file_changed"]
    by_call = [record.details["changes"] for record in records if record.action == "tenant.settings_changed"]
    assert chain((change["quotas.maxUsers"] for change in by_file if "quotas.maxUsers" in change), 0) == edits
    models = [change["settings.defaultModel"][1] for change in by_call if change]
    assert [model for model in models if models.count(model) > 1] == []
    assert models == [f"m{number}" for number in range(1, edits + 1)]
    assert [path.name for path in file.parent.iterdir() if path.name.startswith(".")] == []
