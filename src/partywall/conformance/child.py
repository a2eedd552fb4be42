"""A process that writes until it is killed, and says what was acknowledged. Started by the kit, never imported."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from partywall.backend import Delete, Insert, Update

__all__ = ["main"]


def main() -> None:
    """Read the job from standard input; after each commit write its number as one line."""
    job = json.loads(sys.stdin.readline())
    sys.path[:] = job["path"]
    from partywall.conformance.resolve import resolve  # noqa: PLC0415  # on the path that the job names
    from partywall.conformance.suite.kit import MINE, OTHERS, Store  # noqa: PLC0415  # as above
    from partywall.conformance.suite.sample import PARTS, SPECIMENS, part, specimen  # noqa: PLC0415  # as above

    store = Store(resolve(job["backend"]), Path(job["folder"]), job["options"])
    sessions = {tenant: store.session(tenant) for tenant in (MINE, OTHERS[0])}
    number = int(job["first"])
    while True:
        for session in sessions.values():
            session.begin()
            session.write(Insert(SPECIMENS, [specimen(f"n{number:06d}", amount=number), specimen(f"x{number:06d}")]))
            session.write(Insert(PARTS, [part(f"n{number:06d}", f"n{number:06d}")]))
            session.write(Delete(SPECIMENS, [f"x{number:06d}"]))
            session.write(Update(SPECIMENS, [f"n{number:06d}"], {"label": "done"}))
            session.commit()
        if number % 5 == 0:
            store.backend.maintain()
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        number += 1


if __name__ == "__main__":
    main()
