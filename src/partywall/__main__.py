"""The command ``partywall``, also as ``python -m partywall``."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line with the process's arguments, and exit with its code."""
    try:
        from partywall.cli import run  # noqa: PLC0415  # what is missing is told in one line, not in a traceback
    except ModuleNotFoundError as missing:
        if missing.name not in ("click", "rich"):
            raise
        sys.stderr.write(f"error: '{missing.name}' is not installed; run: pip install 'partywall[cli]'\n")
        raise SystemExit(2) from None
    raise SystemExit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
