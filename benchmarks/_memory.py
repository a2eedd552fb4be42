"""Bytes a key of one contestant, in a process of its own: ``python -m benchmarks._memory NAME``."""

from __future__ import annotations

import asyncio
import sys

from benchmarks._limiters import ACTIONS, CONTESTANTS, HOUR, TENANTS
from benchmarks._measure import resident

MANY = 100_000


def main(name: str) -> None:
    """Print the bytes that each of many keys added."""
    contestant = next(one for one in CONTESTANTS if one.name == name)
    keys = [(tenant, action) for action in ACTIONS for tenant in TENANTS][:MANY]
    check = contestant.make(1_000_000, HOUR).check

    async def awaited() -> None:
        for tenant, action in keys:
            await check(tenant, action)

    before = resident()
    if contestant.awaited:
        asyncio.run(awaited())
    else:
        for tenant, action in keys:
            check(tenant, action)
    print((resident() - before) / len(keys))


if __name__ == "__main__":
    main(sys.argv[1])
