"""The rate limiter: how often each tenant may do something, counted in memory on the monotonic clock."""

from partywall.limits.bound import BoundLimit
from partywall.limits.decision import Decision
from partywall.limits.limiter import Limiter

__all__ = ["BoundLimit", "Decision", "Limiter"]
