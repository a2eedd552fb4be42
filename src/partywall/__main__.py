"""The command ``partywall``, also as ``python -m partywall``."""

from __future__ import annotations

import io
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line with the process's arguments, and exit with its code."""
    try:
        from partywall.cli import run  # noqa: PLC0415  # what is missing is told in one line, not in a traceback
    except ModuleNotFoundError as missing:
        package = str(missing.name).partition(".")[0]
        if package not in ("click", "rich"):
            raise
        sys.stderr.write(f"error: '{package}' is not installed; run: pip install 'partywall[cli]'\n")
        raise SystemExit(2) from None
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a tenant's name shows its characters spelled out.
            stream.reconfigure(errors="backslashreplace")
    raise SystemExit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
