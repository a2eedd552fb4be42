"""Run the conformance kit over every installed backend; ends with 1 if one of them does not pass.

``python tools/conformance.py [--long]``. ``--long`` makes the random histories a million operations long.
"""

from __future__ import annotations

import sys

from partywall.conformance import check
from partywall.registry import Registry


def main() -> int:
    """Examine the backends one after another."""
    registry = Registry()
    for problem in registry.problems:
        print(f"error: {problem}")
    failed = [name for name in sorted(registry.backends) if not passes(name)]
    print(f"failed: {', '.join(failed)}" if failed else f"passed: {', '.join(sorted(registry.backends))}")
    return int(bool(failed or registry.problems))


def passes(name: str) -> bool:
    """Whether a backend passes the kit."""
    print(f"== {name}", flush=True)
    return check(name, long="--long" in sys.argv) == 0


if __name__ == "__main__":
    sys.exit(main())
