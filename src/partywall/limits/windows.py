"""Windows that lie end to end from the limiter's start, the same for all keys.

A fixed window admits the limit in each. The sliding-window counter subtracts what is left of the window
before, by how much of it a window that ends now would still cover: of ``previous`` permits the part
``1 - elapsed / window``, rounded up. Between two edges neither admits more than the limit. Across an edge a
fixed window admits up to twice the limit at once; the sliding one, after a full burst just before the edge,
admits no more than the limit times the part of the new window that has passed.
"""

from __future__ import annotations

from partywall.limits.rule import Rule, Spent
from partywall.limits.timeline import Timeline
from partywall.model import Algorithm, Rate

__all__ = ["WindowRule"]


class WindowRule(Rule):
    """A sliding or fixed window; the number of an account is that of its window."""

    __slots__ = ("_edge", "sliding")

    def __init__(self, rate: Rate, timeline: Timeline, action: str, scope: str) -> None:
        super().__init__(rate, timeline, action, scope)
        self.sliding = rate.algorithm is Algorithm.SLIDING_WINDOW
        self._edge = (-1, 0.0)

    def settled(self, spent: Spent, now: int) -> tuple[Spent, int]:
        """The same account in the window of now, and the permits that are left."""
        if spent[0] != now // self.window:
            spent = self.rolled(spent, now)
        # As ``left``, which the slow path would come to by three more calls.
        left = self.limit - spent[2] - (self.weight(spent, now) if spent[1] else 0)
        return spent, max(left, 0)

    def outlook(self, number: int, used: int) -> tuple[int, float]:  # noqa: ARG002  # the same however many are used
        """Many, until the next window begins; that reading is one object for all keys."""
        known, reading = self._edge
        if known != number:
            reading = self.timeline.reading((number + 1) * self.window)
            self._edge = (number, reading)
        return 1024, reading

    def nothing(self, now: int) -> Spent:
        """The account of a key that was not seen before."""
        return (now // self.window, 0, 0)

    def rolled(self, spent: Spent, now: int) -> Spent:
        """The same account in the window of now."""
        before, _, used = spent
        number = now // self.window
        if number == before:
            return spent
        return (number, used if number == before + 1 else 0, 0)

    def counts_like(self, before: Rule) -> bool:
        """Whether its windows have the same edges."""
        return isinstance(before, WindowRule) and before.window == self.window

    def owed(self, spent: Spent, now: int) -> int:
        """What weighs of the window before, and what was used in this one."""
        return self.weight(spent, now) + spent[2]

    def owing(self, permits: int, now: int) -> Spent:
        """What counts now counts as used in the current window."""
        return (now // self.window, 0, permits)

    def given_back(self, spent: Spent, permits: int) -> Spent:
        """The account without so many permits, those of this window first."""
        number, previous, used = spent
        return (number, max(0, previous - max(0, permits - used)), max(0, used - permits))

    def weight(self, spent: Spent, now: int) -> int:
        """The permits of the window before that still count, never more than the limit."""
        if not self.sliding:
            return 0
        ahead = self.window - now % self.window
        return -(-min(spent[1], self.limit) * ahead // self.window)

    def left(self, spent: Spent, now: int) -> int:
        """The permits that are left now; grows until the window ends, unless some are taken."""
        return max(0, self.limit - self.owed(spent, now))

    def retry_at(self, spent: Spent, now: int, cost: int) -> int:
        """When ``cost`` permits are there if none is taken meanwhile."""
        if cost <= self.left(spent, now):
            return now
        if not self.limit:
            return now + self.window
        number, previous, used = spent
        if not self.sliding:
            return (number + 1) * self.window
        # Use under a higher limit, before an edit, counts no further than this limit: it locks nobody out.
        used = min(used, self.limit)
        if used + cost <= self.limit:
            return self._eased(number, min(previous, self.limit), used + cost)
        return self._eased(number + 1, used, cost)

    def fresh_at(self, spent: Spent) -> int:
        """The edge at which nothing weighs any more."""
        number, previous, used = spent
        if used:
            return (number + (2 if self.sliding else 1)) * self.window
        return (number + (1 if self.sliding and previous else 0)) * self.window

    def fresh_by(self, remaining: int, now: int) -> int:
        """The edge at which nothing weighs any more."""
        return self.fresh_at((now // self.window, 0, self.limit - remaining))

    def over_at(self, spent: Spent) -> int:
        """Two edges on, also where the rule may come to slide by an edit."""
        return (spent[0] + 2) * self.window

    def _eased(self, number: int, previous: int, wanted: int) -> int:
        """When so much of the window before is past that ``wanted`` permits fit beside the rest."""
        return (number + 1) * self.window - (self.limit - wanted) * self.window // previous
