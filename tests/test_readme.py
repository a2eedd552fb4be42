"""The README's examples run as they stand, one after another, in a folder made by `partywall init`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def test_the_python_examples_run(tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "partywall", "init"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    examples = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(examples) >= 2
    for example in examples:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{example}\n{done.stderr}"


def test_the_commands_of_the_first_screen_are_make_targets() -> None:
    text = README.read_text()
    makefile = (README.parent / "Makefile").read_text()
    targets = re.findall(r"^\$ make ([a-z-]+)", text, re.MULTILINE)
    assert targets[:2] == ["demo", "test"]
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
    first_screen = "\n".join(text.splitlines()[:24])
    assert "make demo" in first_screen
    assert "make test" in first_screen


def test_every_link_of_the_readme_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README.read_text()):
        assert (README.parent / target).exists(), target
