"""The kit as a function call, for the command line and for scripts."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from partywall.conformance.resolve import resolve

__all__ = ["LONG", "SHORT", "check"]

SHORT: Final = 1_000
"""Operations of the random histories, unless told otherwise."""
LONG: Final = 1_000_000


def check(name: str, *, long: bool = False) -> int:
    """Run the kit over a backend in a process of its own; its report goes to standard output.

    Returns 0 when the backend passes and 1 when it does not. ``long`` makes the random histories a million
    operations long. BackendNotFound when no such backend is installed. Without the extra
    ``partywall[conformance]`` it says so and returns 2.
    """
    resolve(name)
    missing = [needed for needed in ("pytest", "hypothesis") if find_spec(needed) is None]
    if missing:
        sys.stdout.write(f"the kit needs {' and '.join(missing)}: pip install 'partywall[conformance]'\n")
        return 2
    sys.stdout.flush()
    return int(subprocess.run(_command(name, LONG if long else SHORT), check=False).returncode != 0)  # noqa: S603  # this very interpreter, no shell


def _command(name: str, operations: int) -> list[str]:
    # Settings of the folder that this is called in are about its own tests, and plugins that it needs may
    # be missing here: the kit runs with neither.
    settings = Path(__file__).with_name("pytest.ini")
    options = ["-q", "--no-header", "--tb=short", "-p", "no:cacheprovider", "-c", str(settings)]
    about = ["--backend", name, "--operations", str(operations)]
    plugin = ["-p", "partywall.conformance.plugin"]
    return [sys.executable, "-m", "pytest", *plugin, "--pyargs", "partywall.conformance", *about, *options]
