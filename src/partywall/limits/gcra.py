"""The generic cell rate algorithm (ITU-T I.371): permits come back one by one, evenly, up to a burst at once.

Its usual form keeps a theoretical arrival time. Here it is kept as a moment at which nothing was owed and the
permits used since, which is the same time but needs no fraction: of ``used`` permits, as many are back as whole
intervals of ``window / maxRequests`` have passed. Until everything is back, it makes no difference at which
moments permits are taken, so those that are found left may be handed out ahead.
"""

from __future__ import annotations

from partywall.limits.rule import Rule, Spent
from partywall.limits.timeline import Timeline
from partywall.model import Rate

__all__ = ["GcraRule"]


class GcraRule(Rule):
    """``rate`` permits come back in a window; the number of an account is the nanosecond at which it owed nothing.

    ``previous`` are permits beyond the limit, used under a higher one before an edit: they hold nobody up, and are
    remembered until everything is back, in case that the limit is raised again.
    """

    __slots__ = ("rate",)

    def __init__(self, rate: Rate, timeline: Timeline, action: str, scope: str) -> None:
        super().__init__(rate, timeline, action, scope)
        self.rate = rate.max_requests

    def nothing(self, now: int) -> Spent:
        """The account of a key that was not seen before."""
        return (now, 0, 0)

    def rolled(self, spent: Spent, now: int) -> Spent:
        """The same account, or that of a key that was not seen before once everything is back."""
        return self.settled(spent, now)[0]

    def settled(self, spent: Spent, now: int) -> tuple[Spent, int]:
        """The same account, or a new one once everything is back, and the permits that are left."""
        number, _, used = spent
        out = used - (now - number) * self.rate // self.window
        if out > 0:
            return spent, self.limit - out
        if self.rate or now - number >= self.window:
            return (now, 0, 0), self.limit
        return spent, self.limit

    def counts_like(self, before: Rule) -> bool:
        """Whether permits come back as fast, up to the same burst."""
        return isinstance(before, GcraRule) and (before.rate, before.window, before.limit) == (
            self.rate,
            self.window,
            self.limit,
        )

    def owed(self, spent: Spent, now: int) -> int:
        """The permits that are not back, and those beyond the limit."""
        return self._out(spent, now) + spent[1]

    def owing(self, permits: int, now: int) -> Spent:
        """So many permits as if just taken; those beyond the limit apart."""
        used = min(permits, self.limit)
        return (now, permits - used, used)

    def given_back(self, spent: Spent, permits: int) -> Spent:
        """The account without so many permits."""
        number, previous, used = spent
        return (number, max(0, previous - max(0, permits - used)), max(0, used - permits))

    def left(self, spent: Spent, now: int) -> int:
        """The permits that are left now; grows as others come back."""
        return self.limit - self._out(spent, now)

    def outlook(self, number: int, used: int) -> tuple[int, float]:
        """Few while few are out, for everything may soon be back; until just before that."""
        size = 16 if used < 64 else 128 if used < 1024 else 1024
        return size, self.timeline.reading_before(number + used * self.window // self.rate)

    def retry_at(self, spent: Spent, now: int, cost: int) -> int:
        """When ``cost`` permits are there if none is taken meanwhile."""
        if cost <= self.left(spent, now):
            return now
        if not self.limit:
            return now + self.window
        return spent[0] + self._time_of(spent[2] + cost - self.limit)

    def fresh_at(self, spent: Spent) -> int:
        """When everything is back."""
        return spent[0] + self._time_of(spent[2])

    def fresh_by(self, remaining: int, now: int) -> int:
        """When so many permits are back as are not left."""
        return now + self._time_of(self.limit - remaining)

    def over_at(self, spent: Spent) -> int:
        """When everything is back, but not within a window: a key that comes again soon is found, not made anew."""
        return max(self.fresh_at(spent), spent[0] + self.window)

    def _out(self, spent: Spent, now: int) -> int:
        """The permits used that are not back; some may have come back before more were used."""
        number, _, used = spent
        return max(0, used - (now - number) * self.rate // self.window)

    def _time_of(self, permits: int) -> int:
        """Nanoseconds in which so many permits come back, rounded up."""
        return -(-permits * self.window // self.rate) if self.rate else 0
