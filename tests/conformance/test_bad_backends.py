"""The kit is proved by what it catches: every bad backend, by a test whose name says what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from bad_backends import SUSPECTS

HERE = Path(__file__).parent
KIT = Path(__file__).parents[2] / "src" / "partywall" / "conformance"

MODULE = """
from bad_backends import SUSPECTS
from partywall.conformance import Conformance

def oracle(self, backend, folder):
    for table, rows in backend.tables.items():
        for (place, _), row in rows.items():
            yield place.rpartition("@")[0], table, row

for name in SUSPECTS:
    members = {"backend": f"bad_backends:{name}", "shrink": False, "patience": 0.5, "oracle": oracle}
    globals()[f"Test{name}"] = type(f"Test{name}", (Conformance,), members)

class TestHonest(Conformance):
    backend = "honest:HONEST"
    oracle = oracle

class TestDurable(Conformance):
    backend = "honest:DURABLE"
    oracle = oracle
"""


def run_kit(folder: Path, *arguments: str) -> dict[tuple[str, str], str]:
    """How each test ended, by class and name: passed, failure, error or skipped."""
    (folder / "test_suspects.py").write_text(MODULE)
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-c", str(KIT / "pytest.ini"), "--rootdir", str(folder), "-q", "--tb=no"]
    options = ["-p", "no:cacheprovider", "-p", "partywall.conformance.plugin", f"--junitxml={report}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    done = subprocess.run(
        [*command, *options, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert report.exists(), done.stdout + done.stderr
    return {
        (case.get("classname", "").rpartition(".")[2], case.get("name", "")): case[0].tag if len(case) else "passed"
        for case in ET.parse(report).iter("testcase")
    }


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    """Every bad backend before the tests that must catch it."""
    named = [f"test_suspects.py::Test{name}::{test}" for name, each in SUSPECTS.items() for test in each.caught_by]
    return run_kit(tmp_path_factory.mktemp("bad"), "--operations", "1000", *named)


@pytest.mark.parametrize("name", SUSPECTS)
def test_a_bad_backend_is_caught_by_name(verdicts: dict[tuple[str, str], str], name: str) -> None:
    for test in SUSPECTS[name].caught_by:
        assert verdicts[f"Test{name}", test] == "failure"


@pytest.mark.parametrize("name", ["TestHonest", "TestDurable"])
def test_the_same_backend_without_its_fault_passes_everything(tmp_path: Path, name: str) -> None:
    ended = run_kit(tmp_path, "--operations", "500", f"test_suspects.py::{name}")
    assert len(ended) > 120
    assert {test: how for (_, test), how in ended.items() if how != "passed"} == {}
    caught = {test for each in SUSPECTS.values() if not each.durable for test in each.caught_by}
    interrupts = {test for test in caught if "interrupt" in test}
    assert caught - interrupts <= {test for _, test in ended}
