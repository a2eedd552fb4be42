"""The kit as authors meet it: by name, by subclass, as a function; and what it costs those who do not use it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from partywall import BackendNotFound
from partywall.conformance import check

HERE = Path(__file__).parent
EXAMPLE = Path(__file__).parents[2] / "examples" / "ephemeral-backend"
CHECK = "import sys; from partywall.conformance import check; sys.exit(check(sys.argv[1]))"
SUBCLASS = """
from partywall.conformance import Conformance

class TestMine(Conformance):
    backend = "honest:HONEST"
"""


def run(*command: str, cwd: Path, path: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    searched = os.pathsep.join([*filter(None, [path]), *sys.path])
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": searched, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def kit(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    options = ["-p", "partywall.pytest_plugin", "-p", "no:cacheprovider", "-q"]
    return run("-m", "pytest", *options, *arguments, cwd=cwd, **environment)


def test_the_example_plugin_passes_the_check(tmp_path: Path) -> None:
    pip = ["pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(tmp_path / "site")]
    assert run("-m", *pip, str(EXAMPLE), cwd=tmp_path).returncode == 0
    done = run("-c", CHECK, "ephemeral-dict", cwd=tmp_path, path=str(tmp_path / "site"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ephemeral-dict claims nothing beyond the required part" in done.stdout
    assert "durable is not claimed" in done.stdout


@pytest.mark.parametrize("mode", ["prepend", "importlib"])
def test_a_subclass_needs_neither_options_nor_an_import_mode(tmp_path: Path, mode: str) -> None:
    (tmp_path / "test_mine.py").write_text(SUBCLASS)
    done = kit(f"--import-mode={mode}", "-k", "stamp or interrupt", "-W", "error", cwd=tmp_path, path=str(HERE))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "honest:HONEST claims aggregates, arrow, filters, keys, sql" in done.stdout


def test_a_failing_backend_is_shown_with_what_was_compared(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(SUBCLASS.replace("honest:HONEST", "bad_backends:CountsEveryonesRows"))
    done = kit("-k", "test_i3", cwd=tmp_path, path=str(HERE))
    assert done.returncode == 1
    assert "assert 9 == 3" in done.stdout


def test_a_difference_of_the_mixture_tells_seed_and_step_and_is_found_again_by_its_command(tmp_path: Path) -> None:
    named = ["--pyargs", "partywall.conformance", "--backend", "bad_backends:LeaksThroughAnUpsert", "-k", "mixture"]
    first = run("-m", "pytest", "-q", *named, cwd=tmp_path, path=str(HERE)).stdout
    difference = next(line for line in first.splitlines() if line.startswith("seed "))
    again = next(line for line in first.splitlines() if line.startswith("again: pytest"))
    _, _, command = again.partition("pytest")
    assert re.match(r"seed \d+, step \d+: '(mine|other-1|other1)' called", difference)
    assert difference in run("-m", "pytest", *command.split(), cwd=tmp_path, path=str(HERE)).stdout


def test_without_the_plugin_what_is_not_claimed_fails_and_never_passes_unseen(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(SUBCLASS)
    alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = run("-m", "pytest", "-q", "-k", "survives_a_kill", cwd=tmp_path, path=str(HERE), **alone)
    assert done.returncode == 1
    assert "pytest -p partywall.pytest_plugin" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [([], "--backend NAME"), (["--backend", "nobody"], "duckdb-row"), (["--backend", "nowhere:SPEC"], "nowhere")],
)
def test_a_backend_that_is_not_named_or_not_there_is_one_clear_line(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    done = kit("--pyargs", "partywall.conformance", *arguments, cwd=tmp_path)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert words in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_check_of_what_is_not_installed_tells_what_is() -> None:
    with pytest.raises(BackendNotFound, match="duckdb-row"):
        check("nobody")


def test_other_runs_of_pytest_get_no_options_and_import_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text(
        "import sys\ndef test_it():\n    assert not {'partywall.backend', 'partywall.conformance'} & set(sys.modules)\n"
    )
    assert kit(cwd=tmp_path).returncode == 0
    assert "--operations" not in kit("--help", cwd=tmp_path).stdout


@pytest.mark.parametrize("statement", ["import partywall", "from partywall.conformance import check"])
def test_only_the_kit_itself_imports_pytest(statement: str) -> None:
    code = f"{statement}\nimport sys\nassert not {{'pytest', '_pytest', 'hypothesis'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_pytest_the_check_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import importlib.util as util\nfind = util.find_spec\n"
        "util.find_spec = lambda name: None if name == 'hypothesis' else find(name)\n"
    )
    done = run("-c", code + CHECK, "duckdb-row", cwd=tmp_path)
    assert done.returncode == 2
    assert "pip install 'partywall[conformance]'" in done.stdout
