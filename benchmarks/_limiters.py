"""The contestants of the limiter's benchmark: ours and its peers, each in the cheapest call that admits or refuses.

Every contestant counts for a tenant and an action; those that take one text get ``tenant:action``. Most peers return
only whether the call is admitted; ours also says limit, remaining, retry_after and reset_after.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

import limits
import pyrate_limiter as pyrate
import token_bucket
from aiolimiter import AsyncLimiter
from rust_py_rate_limit import RateLimiter
from throttled import Throttled, per_duration, store

from partywall.clock import SystemClock
from partywall.limits import Limiter
from partywall.model import Grants, QuotaLimits, RateLimit, Strategy

TENANTS = [f"ten_{number:016x}" for number in random.Random(1).sample(range(16**15), 60_000)]
ACTIONS = ("api_requests", "agent_spawns")
HOUR = 3600
MOST_KEYS = 200_000


class Limiting(NamedTuple):
    """A limiter of one contestant: what counts a call, and how many keys it holds in memory."""

    check: Callable[[str, str], Any]
    held: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way to ask one limiter."""

    name: str
    distribution: str
    make: Callable[[int, int], Limiting]
    """From a limit and its window in seconds."""
    awaited: bool = False
    paced: bool = False
    """Whether permits come back evenly, as under GCRA, or in windows."""


class OnePlan:
    """The directory's interface over one plan; every tenant is in service."""

    def __init__(self, limit: int, seconds: int, algorithm: str) -> None:
        rate = RateLimit.model_validate({"maxRequests": limit, "windowMs": seconds * 1000, "algorithm": algorithm})
        unlimited = QuotaLimits(None, None, None, None, None)
        rates = dict.fromkeys(ACTIONS, rate)
        self._grants = Grants("bench", unlimited, frozenset(), rates, Strategy.ROW, 30, None)

    def require_active(self, tenant_id: str) -> str:
        return tenant_id

    def grants(self, _tenant_id: str) -> Grants:
        return self._grants

    def subscribe(self, _listener: Callable[..., None]) -> None:
        return


def partywall(algorithm: str) -> Callable[[int, int], Limiting]:
    def make(limit: int, seconds: int) -> Limiting:
        limiter = Limiter(OnePlan(limit, seconds, algorithm), SystemClock())
        return Limiting(limiter.check, lambda: len(limiter._shelves))

    return make


def limits_strategy(strategy: str) -> Callable[[int, int], Limiting]:
    def make(limit: int, seconds: int) -> Limiting:
        memory = limits.storage.MemoryStorage()
        item = limits.RateLimitItemPerSecond(limit, seconds)
        hit = getattr(limits.strategies, strategy)(memory).hit
        return Limiting(
            lambda tenant, action: hit(item, tenant, action), lambda: len(memory.storage) + len(memory.events)
        )

    return make


def throttled(using: str) -> Callable[[int, int], Limiting]:
    def make(limit: int, seconds: int) -> Limiting:
        # Its default forgets all but 1024 keys; these are enough for every key here.
        memory = store.MemoryStore(options={"MAX_SIZE": MOST_KEYS})
        quota = per_duration(timedelta(seconds=seconds), limit, burst=limit)
        check = Throttled(using=using, quota=quota, store=memory).limit
        return Limiting(lambda tenant, action: check(f"{tenant}:{action}"), lambda: len(memory._backend._client))

    return make


def pyrate_bucket(algorithm: type[Any]) -> Callable[[int, int], Limiting]:
    def bucket(rates: list[pyrate.Rate]) -> Any:
        if issubclass(algorithm, pyrate.StateAlgorithm):
            return pyrate.StateBucket(rates, algorithm())
        return pyrate.InMemoryBucket(rates)

    def make(limit: int, seconds: int) -> Limiting:
        class PerKey(pyrate.BucketFactory):
            def __init__(self) -> None:
                self.now = pyrate.MonotonicClock().now
                self.made: dict[str, Any] = {}

            def wrap_item(self, name: str, weight: int = 1) -> pyrate.RateItem:
                return pyrate.RateItem(name, self.now(), weight=weight)

            def get(self, item: pyrate.RateItem) -> Any:
                found = self.made.get(item.name)
                if found is None:
                    found = self.made[item.name] = bucket([pyrate.Rate(limit, seconds * 1000)])
                return found

        factory = PerKey()
        acquire = pyrate.Limiter(factory).try_acquire
        return Limiting(lambda tenant, action: acquire(f"{tenant}:{action}", blocking=False), lambda: len(factory.made))

    return make


def buckets(limit: int, seconds: int) -> Limiting:
    memory = token_bucket.MemoryStorage()
    consume = token_bucket.Limiter(limit / seconds, limit, memory).consume
    return Limiting(lambda tenant, action: consume(f"{tenant}:{action}"), lambda: len(memory._buckets))


def rust(method: str) -> Callable[[int, int], Limiting]:
    def make(limit: int, seconds: int) -> Limiting:
        limiter = RateLimiter(limit=limit, window_seconds=seconds)
        check = getattr(limiter, method)
        return Limiting(lambda tenant, action: check(f"{tenant}:{action}"), lambda: limiter.stats()["active_keys"])

    return make


def aiolimiter(limit: int, seconds: int) -> Limiting:
    limiters: dict[str, AsyncLimiter] = {}

    async def check(tenant: str, action: str) -> bool:
        key = f"{tenant}:{action}"
        limiter = limiters.get(key)
        if limiter is None:
            limiter = limiters[key] = AsyncLimiter(limit, seconds)
        if not limiter.has_capacity():
            return False
        await limiter.acquire()
        return True

    return Limiting(check, lambda: len(limiters))


OURS = "partywall"
CONTESTANTS = [
    Contestant(OURS, "partywall", partywall("sliding_window")),
    Contestant("partywall gcra", "partywall", partywall("gcra"), paced=True),
    Contestant("rust allow", "rust-py-rate-limit", rust("allow")),
    Contestant("rust check", "rust-py-rate-limit", rust("check")),
    Contestant("token-bucket", "token-bucket", buckets, paced=True),
    Contestant("aiolimiter", "aiolimiter", aiolimiter, awaited=True, paced=True),
    Contestant("limits fixed", "limits", limits_strategy("FixedWindowRateLimiter")),
    Contestant("limits sliding", "limits", limits_strategy("SlidingWindowCounterRateLimiter")),
    Contestant("throttled fixed", "throttled-py", throttled("fixed_window")),
    Contestant("throttled gcra", "throttled-py", throttled("gcra"), paced=True),
    Contestant("pyrate log", "pyrate-limiter", pyrate_bucket(pyrate.SlidingWindowLog)),
    Contestant("pyrate gcra", "pyrate-limiter", pyrate_bucket(pyrate.GCRA), paced=True),
]
