"""The arithmetic of a rate limit, in whole permits and nanoseconds; nothing here changes or waits.

Windows of a rule lie end to end from the limiter's start, the same for all keys. A fixed window admits
the limit in each. The sliding-window counter subtracts what is left of the window before, by how much of
it a window that ends now would still cover: of ``previous`` permits the part ``1 - elapsed / window``,
rounded up. Between two edges neither admits more than the limit. Across an edge a fixed window admits up to
twice the limit at once; the sliding one, after a full burst just before the edge, admits no more than the
limit times the part of the new window that has passed.
"""

from __future__ import annotations

from typing import NamedTuple

from partywall.limits.timeline import Timeline
from partywall.model import Algorithm, RateLimit

__all__ = ["Rule", "Spent"]


class Spent(NamedTuple):
    """What one key has used: in the window with this number, and in the one before."""

    number: int
    previous: int
    used: int


class Rule:
    """One rate limit, shared by every key that it holds for; ``window`` is in nanoseconds."""

    __slots__ = ("_edge", "limit", "sliding", "timeline", "window")

    def __init__(self, limit: RateLimit, timeline: Timeline) -> None:
        self.limit = limit.max_requests
        self.window = limit.window_ms * 1_000_000
        self.sliding = limit.algorithm is Algorithm.SLIDING_WINDOW
        self.timeline = timeline
        self._edge = (-1, 0.0)

    def edge(self, number: int) -> float:
        """The reading of the clock at which the window with this number begins; one object for all keys."""
        known, reading = self._edge
        if known != number:
            reading = self.timeline.reading(number * self.window)
            self._edge = (number, reading)
        return reading

    def nothing(self, now: int) -> Spent:
        """The account of a key that was not seen before."""
        return Spent(now // self.window, 0, 0)

    def rolled(self, spent: Spent, now: int) -> Spent:
        """The same account in the window of now."""
        number = now // self.window
        if number == spent.number:
            return spent
        return Spent(number, spent.used if number == spent.number + 1 else 0, 0)

    def carried(self, spent: Spent, before: Rule, now: int) -> Spent:
        """The account, counted under the rule before, under this one: neither forgotten nor charged anew.

        Under another window length, what weighs now counts as used in the current window.
        """
        if before.window == self.window:
            return self.rolled(spent, now)
        spent = before.rolled(spent, now)
        return Spent(now // self.window, 0, before.weight(spent, now) + spent.used)

    def weight(self, spent: Spent, now: int) -> int:
        """The permits of the window before that still count, never more than the limit."""
        if not self.sliding:
            return 0
        ahead = self.window - now % self.window
        return -(-min(spent.previous, self.limit) * ahead // self.window)

    def left(self, spent: Spent, now: int) -> int:
        """The permits that are left now; grows until the window ends, unless some are taken."""
        return max(0, self.limit - self.weight(spent, now) - spent.used)

    def retry_at(self, spent: Spent, now: int, cost: int) -> int:
        """When ``cost`` permits, at most the limit, are there if none is taken meanwhile; now if they are.

        A limit of 0 never has any: a window from now.
        """
        if cost <= self.left(spent, now):
            return now
        if not self.limit:
            return now + self.window
        if not self.sliding:
            return (spent.number + 1) * self.window
        # Use under a higher limit, before an edit, counts no further than this limit: it locks nobody out.
        used = min(spent.used, self.limit)
        if used + cost <= self.limit:
            return self._eased(spent.number, min(spent.previous, self.limit), used + cost)
        return self._eased(spent.number + 1, used, cost)

    def fresh_at(self, spent: Spent) -> int:
        """When the whole limit is there again if none is taken meanwhile; the past if it is there now."""
        if spent.used:
            return (spent.number + (2 if self.sliding else 1)) * self.window
        return (spent.number + (1 if self.sliding and spent.previous else 0)) * self.window

    def over_at(self, number: int) -> int:
        """When a key that was last used in the window with this number is as good as new."""
        return (number + 2) * self.window

    def _eased(self, number: int, previous: int, wanted: int) -> int:
        """When so much of the window before is past that ``wanted`` permits fit beside the rest."""
        return (number + 1) * self.window - (self.limit - wanted) * self.window // previous
