from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from partywall.clock import ManualClock
from partywall.directory import DirectoryChange
from partywall.errors import TenantDeleted, TenantNotFound, TenantPending, TenantSuspended
from partywall.limits import Limiter
from partywall.model import Grants, QuotaLimits, RateLimit, Status, Strategy
from partywall.names import Action, PlanName, TenantId

REFUSALS = {Status.SUSPENDED: TenantSuspended, Status.DELETED: TenantDeleted, Status.PENDING: TenantPending}
UNLIMITED = QuotaLimits(None, None, None, None, None)


def rate(requests: int, seconds: float = 60, algorithm: str = "sliding_window", **more: Any) -> RateLimit:
    """A rate limit; of GCRA, written ``gcra/3``, with a third of the requests as its burst."""
    name, _, part = algorithm.partition("/")
    burst = {"burst": max(1, requests // int(part))} if part and requests else {}
    return RateLimit.model_validate(
        {"maxRequests": requests, "windowMs": round(seconds * 1000), "algorithm": name, **burst, **more}
    )


class FixedDirectory:
    """The directory's own interface over plans and tenants that a test sets by hand."""

    def __init__(self) -> None:
        self.statuses: dict[str, Status] = {}
        self._plans: dict[str, Mapping[Action, RateLimit]] = {}
        self._plan_of: dict[str, str] = {}
        self._listeners: list[Callable[[DirectoryChange], None]] = []

    def require_active(self, tenant_id: str) -> TenantId:
        status = self.statuses.get(tenant_id)
        if status is Status.ACTIVE:
            return TenantId(tenant_id)
        raise (REFUSALS[status] if status else TenantNotFound)("refused")

    def grants(self, tenant_id: str) -> Grants:
        plan = self._plan_of[tenant_id]
        return Grants(PlanName(plan), UNLIMITED, frozenset(), self._plans[plan], Strategy.ROW, 30, None)

    def subscribe(self, listener: Callable[[DirectoryChange], None]) -> None:
        self._listeners.append(listener)

    def set_plan(self, plan: str, **rates: RateLimit) -> None:
        self._plans[plan] = {Action(action): limit for action, limit in rates.items()}
        self._tell(DirectoryChange({}, plans=frozenset([PlanName(plan)])))

    def set_tenant(self, tenant_id: str, plan: str) -> None:
        self._plan_of[tenant_id] = plan
        self.set_status(tenant_id, Status.ACTIVE)

    def set_status(self, tenant_id: str, status: Status | None) -> None:
        before = self.statuses.get(tenant_id)
        if status is None:
            self.statuses.pop(tenant_id, None)
        else:
            self.statuses[tenant_id] = status
        known = TenantId(tenant_id)
        self._tell(DirectoryChange({known: (before, status)}, tenants=frozenset([known])))

    def _tell(self, change: DirectoryChange) -> None:
        for listener in self._listeners:
            listener(change)


class SequentialWindows:
    """Each algorithm as its definition says it, one key, whole nanoseconds, no shortcuts."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit, self.window = limit.max_requests, limit.window_ms * 1_000_000
        self.sliding = limit.algorithm.value == "sliding_window"
        self.counts: dict[int, int] = {}

    def left(self, now: int) -> int:
        number, elapsed = divmod(now, self.window)
        before = self.counts.get(number - 1, 0) if self.sliding else 0
        weight = -(-before * (self.window - elapsed) // self.window)
        return self.limit - self.counts.get(number, 0) - weight

    def admit(self, now: int, cost: int) -> bool:
        if cost > self.left(now):
            return False
        number = now // self.window
        self.counts[number] = self.counts.get(number, 0) + cost
        return True


class SequentialGcra:
    """GCRA as its definition says it, by theoretical arrival time, in nanoseconds times the number of requests."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit, self.rate = limit.at_once, limit.max_requests
        self.interval = limit.window_ms * 1_000_000
        self.arrival = 0

    def left(self, now: int) -> int:
        ahead = max(self.arrival, now * self.rate) - now * self.rate
        return (self.limit * self.interval - ahead) // self.interval

    def admit(self, now: int, cost: int) -> bool:
        arrival = max(self.arrival, now * self.rate) + cost * self.interval
        if arrival - now * self.rate > self.limit * self.interval:
            return False
        self.arrival = arrival
        return True


def sequential(limit: RateLimit) -> SequentialWindows | SequentialGcra:
    return SequentialGcra(limit) if limit.algorithm.value == "gcra" else SequentialWindows(limit)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(monotonic=12_345.678)


@pytest.fixture
def directory() -> FixedDirectory:
    directory = FixedDirectory()
    directory.set_plan("free", api_requests=rate(100), agent_spawns=rate(10))
    for tenant in ("ten_acme", "ten_beta"):
        directory.set_tenant(tenant, "free")
    return directory


@pytest.fixture
def limiter(directory: Any, clock: ManualClock) -> Limiter:
    return Limiter(directory, clock)


@pytest.fixture(scope="session", name="rate")
def _rate() -> Callable[..., RateLimit]:
    return rate


@pytest.fixture(scope="session", name="reference")
def _reference() -> Callable[[RateLimit], SequentialWindows | SequentialGcra]:
    return sequential


@pytest.fixture(scope="session")
def limited_to() -> Callable[..., tuple[Limiter, ManualClock, FixedDirectory]]:
    """A limiter of its own for one plan with one rate, for the tenants ten_acme and ten_beta."""

    def make(limit: RateLimit, start: float = 12_345.678, **more: Any) -> tuple[Limiter, ManualClock, FixedDirectory]:
        clock, directory = ManualClock(monotonic=start), FixedDirectory()
        directory.set_plan("free", api_requests=limit)
        for tenant in ("ten_acme", "ten_beta"):
            directory.set_tenant(tenant, "free")
        return Limiter(directory, clock, **more), clock, directory  # type: ignore[arg-type]  # our own interface

    return make


@pytest.fixture
def spend(limiter: Limiter) -> Callable[..., int]:
    """Makes a number of calls and returns how many were admitted."""

    def spending(calls: int, tenant: str = "ten_acme", action: str = "api_requests", **more: Any) -> int:
        return sum(limiter.check(tenant, action, **more).allowed for _ in range(calls))

    return spending
