"""How much does a rate-limit check cost, beside an empty call and beside the limiters that people use?

``python -m benchmarks.limits [--rounds 7]``. Every contestant counts for a tenant and an action; those that take one
text get ``tenant:action``. Each batch runs between two batches of an empty Python function over the same arguments, in
one process, in turns; the figure is the median ratio of CPU times. Peers run their cheapest call that admits or
refuses; most return only a bool, while ours says allowed, limit, remaining, retry_after and reset_after.
"""

from __future__ import annotations

import argparse
import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import limits
import token_bucket
from aiolimiter import AsyncLimiter
from pyrate_limiter import BucketFactory, InMemoryBucket, MonotonicClock, Rate, RateItem
from pyrate_limiter import Limiter as PyrateLimiter
from rust_py_rate_limit import RateLimiter
from throttled import Throttled, per_hour, store

from benchmarks import _measure
from partywall.clock import SystemClock
from partywall.limits import Limiter
from partywall.model import Grants, QuotaLimits, RateLimit, Strategy

CALLS = 20_000
TENANTS = [f"ten_{number:016x}" for number in random.Random(1).sample(range(16**15), 10_000)]
ACTIONS = ("api_requests", "agent_spawns")
KEYS = [(tenant, action) for tenant in TENANTS for action in ACTIONS]
HOUR = 3600
AMPLE, SCARCE = 1_000_000, 10

Check = Callable[[str, str], Any]
Calls = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way to ask one limiter."""

    name: str
    distribution: str
    make: Callable[[int], Check]
    """From the limit in an hour to a function that counts one call."""
    awaited: bool = False
    answers: str = "bool"


class OnePlan:
    """The directory's interface over one plan; every tenant is in service."""

    def __init__(self, limit: int) -> None:
        rate = RateLimit.model_validate({"maxRequests": limit, "windowMs": HOUR * 1000})
        unlimited = QuotaLimits(None, None, None, None, None)
        rates = dict.fromkeys(ACTIONS, rate)
        self._grants = Grants("bench", unlimited, frozenset(), rates, Strategy.ROW, 30, None)

    def require_active(self, tenant_id: str) -> str:
        return tenant_id

    def grants(self, _tenant_id: str) -> Grants:
        return self._grants

    def subscribe(self, _listener: Callable[..., None]) -> None:
        return


def partywall(limit: int) -> Check:
    return Limiter(OnePlan(limit), SystemClock()).check


def limits_strategy(strategy: str) -> Callable[[int], Check]:
    def make(limit: int) -> Check:
        item = limits.RateLimitItemPerHour(limit)
        hit = getattr(limits.strategies, strategy)(limits.storage.MemoryStorage()).hit
        return lambda tenant, action: hit(item, tenant, action)

    return make


def throttled(using: str) -> Callable[[int], Check]:
    def make(limit: int) -> Check:
        # Its default forgets all but 1024 keys; these are enough for every key here.
        memory = store.MemoryStore(options={"MAX_SIZE": 100_000})
        check = Throttled(using=using, quota=per_hour(limit, burst=limit), store=memory).limit
        return lambda tenant, action: check(f"{tenant}:{action}")

    return make


def pyrate(limit: int) -> Check:
    class PerKey(BucketFactory):
        def __init__(self) -> None:
            self.now = MonotonicClock().now
            self.made: dict[str, InMemoryBucket] = {}

        def wrap_item(self, name: str, weight: int = 1) -> RateItem:
            return RateItem(name, self.now(), weight=weight)

        def get(self, item: RateItem) -> InMemoryBucket:
            bucket = self.made.get(item.name)
            if bucket is None:
                bucket = self.made[item.name] = InMemoryBucket([Rate(limit, HOUR * 1000)])
            return bucket

    acquire = PyrateLimiter(PerKey()).try_acquire
    return lambda tenant, action: acquire(f"{tenant}:{action}", blocking=False)


def buckets(limit: int) -> Check:
    consume = token_bucket.Limiter(limit / HOUR, limit, token_bucket.MemoryStorage()).consume
    return lambda tenant, action: consume(f"{tenant}:{action}")


def rust(method: str) -> Callable[[int], Check]:
    def make(limit: int) -> Check:
        check = getattr(RateLimiter(limit=limit, window_seconds=HOUR), method)
        return lambda tenant, action: check(f"{tenant}:{action}")

    return make


def aiolimiter(limit: int) -> Check:
    limiters: dict[str, AsyncLimiter] = {}

    async def check(tenant: str, action: str) -> bool:
        key = f"{tenant}:{action}"
        limiter = limiters.get(key)
        if limiter is None:
            limiter = limiters[key] = AsyncLimiter(limit, HOUR)
        if limit == SCARCE and not limiter.has_capacity():
            return False
        await limiter.acquire()
        return True

    return check


CONTESTANTS = [
    Contestant("partywall", "partywall", partywall, answers="all four"),
    Contestant("rust allow", "rust-py-rate-limit", rust("allow")),
    Contestant("rust check", "rust-py-rate-limit", rust("check"), answers="all four"),
    Contestant("token-bucket", "token-bucket", buckets),
    Contestant("aiolimiter", "aiolimiter", aiolimiter, awaited=True, answers="waits"),
    Contestant("limits fixed", "limits", limits_strategy("FixedWindowRateLimiter")),
    Contestant("limits sliding", "limits", limits_strategy("SlidingWindowCounterRateLimiter")),
    Contestant("throttled fixed", "throttled-py", throttled("fixed_window"), answers="all four"),
    Contestant("throttled gcra", "throttled-py", throttled("gcra"), answers="all four"),
    Contestant("pyrate", "pyrate-limiter", pyrate),
]
PEERS = [contestant.name for contestant in CONTESTANTS if contestant.distribution != "partywall"]
AIMS = {"hot key": 6.0, "20,000 keys": 12.0}


def empty(tenant: str, action: str) -> None:
    """The floor: a call that does nothing."""


def batch_of(contestant: Contestant, check: Check, calls: Calls, loop: asyncio.AbstractEventLoop) -> _measure.Batch:
    """All calls, once; awaited ones on the loop."""

    def run() -> None:
        for tenant, action in calls:
            check(tenant, action)

    async def run_awaited() -> None:
        for tenant, action in calls:
            await check(tenant, action)

    if contestant.awaited:
        return lambda: loop.run_until_complete(run_awaited())
    return _measure.unshared(run)


def workloads() -> Iterator[tuple[str, int, Calls, Calls]]:
    """A name, the limit, the calls that come before, and those that are measured."""
    rng = random.Random(2)
    hot, neighbour = KEYS[16], KEYS[18]
    # A neighbour on the same plan has made its calls: what a plan shares is there, as in a running engine.
    yield "hot key", AMPLE, [*[neighbour] * 8 * CALLS, hot], [hot] * CALLS
    yield "20,000 keys", AMPLE, KEYS, rng.choices(KEYS, k=CALLS)
    yield "denied", SCARCE, [hot] * (SCARCE + 2), [hot] * CALLS


def measure(rounds: int) -> dict[str, dict[str, _measure.Sample]]:
    """Every contestant under every workload."""
    loop = asyncio.new_event_loop()
    figures = {}
    for name, limit, before, calls in workloads():
        batches = {}
        for contestant in CONTESTANTS:
            check = contestant.make(limit)
            batch_of(contestant, check, before, loop)()
            batches[contestant.name] = batch_of(contestant, check, calls, loop)
        floor = batch_of(CONTESTANTS[0], empty, calls, loop)
        figures[name] = _measure.side_by_side(batches, floor, len(calls), rounds)
    loop.close()
    return figures


def print_figures(figures: dict[str, dict[str, _measure.Sample]]) -> None:
    """One table, and what it says of us."""
    rows = []
    for contestant in CONTESTANTS:
        samples = [figures[name][contestant.name] for name in figures]
        version = _measure.installed(contestant.distribution)
        nanoseconds = [f"{sample.nanoseconds:,.0f}" for sample in samples]
        ratios = [f"{sample.ratio:.1f}" for sample in samples]
        rows.append([contestant.name, version, contestant.answers, *nanoseconds, *ratios])
    headers = [*(f"{name}, ns" for name in figures), *(f"{name}, x empty" for name in figures)]
    _measure.print_table(["limiter", "version", "answers", *headers], rows)
    for name, samples in figures.items():
        own = samples["partywall"]
        best = min(PEERS, key=lambda peer: samples[peer].ratio)
        aim = f" (aim: at most {AIMS[name]:g})" if name in AIMS else ""
        ahead = samples[best].ratio / own.ratio
        print(f"{name}: partywall {own.ratio:.1f} x an empty call{aim}; the best peer, {best}: {ahead:.2f} x ours")


def main(rounds: int = 7) -> None:
    """Measure, print, keep."""
    print("\nRate limits: CPU time of one check, gross of the loop, as a multiple of an empty Python call")
    _measure.print_machine()
    figures = measure(rounds)
    print_figures(figures)
    versions = {one.distribution: _measure.installed(one.distribution) for one in CONTESTANTS}
    plain = {name: {who: asdict(sample) for who, sample in samples.items()} for name, samples in figures.items()}
    print(f"kept in {_measure.keep('limits', {'rounds': rounds, 'versions': versions, 'figures': plain})}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    main(parser.parse_args().rounds)
