"""What every algorithm says about a key's account, in whole permits and nanoseconds; nothing here changes or waits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeAlias

from partywall.limits.timeline import Timeline
from partywall.model import Rate

__all__ = ["Rule", "Spent"]


Spent: TypeAlias = tuple[int, int, int]
"""What one key has used: a number that its rule understands, the permits before, and those since. A plain tuple,
because the slow path makes several, and a named one takes ten times as long to make."""


class Rule(ABC):
    """One rate limit, shared by every key that it holds for; ``window`` is in nanoseconds."""

    __slots__ = ("action", "limit", "scope", "timeline", "window")

    def __init__(self, rate: Rate, timeline: Timeline, action: str, scope: str) -> None:
        self.limit = rate.at_once
        """The most permits there can be at one moment."""
        self.window = rate.window_ms * 1_000_000
        self.timeline = timeline
        self.action = action
        """The name of the limit in the plan."""
        self.scope = scope
        """Whose limit it is: tenant or user."""

    @abstractmethod
    def nothing(self, now: int) -> Spent:
        """The account of a key that was not seen before."""

    @abstractmethod
    def rolled(self, spent: Spent, now: int) -> Spent:
        """The same account as of now."""

    @abstractmethod
    def counts_like(self, before: Rule) -> bool:
        """Whether an account under the rule before reads the same under this one."""

    @abstractmethod
    def owed(self, spent: Spent, now: int) -> int:
        """The permits that still count, of an account as of now."""

    @abstractmethod
    def owing(self, permits: int, now: int) -> Spent:
        """An account in which so many permits count now."""

    @abstractmethod
    def given_back(self, spent: Spent, permits: int) -> Spent:
        """The account, as of now, with up to so many permits returned; never more than were used."""

    @abstractmethod
    def left(self, spent: Spent, now: int) -> int:
        """The permits that are left now; grows as time passes, unless some are taken."""

    @abstractmethod
    def settled(self, spent: Spent, now: int) -> tuple[Spent, int]:
        """The same account as of now, and the permits that are left."""

    @abstractmethod
    def outlook(self, number: int, used: int) -> tuple[int, float]:
        """How many permits of such an account are worth making ready, and until which reading they may be handed out.

        Until then it makes no difference at which moment one is taken. Those that are not taken cost time to count.
        """

    @abstractmethod
    def retry_at(self, spent: Spent, now: int, cost: int) -> int:
        """When ``cost`` permits, at most the limit, are there if none is taken meanwhile; now if they are.

        A limit of 0 never has any: a window from now.
        """

    @abstractmethod
    def fresh_at(self, spent: Spent) -> int:
        """When the whole limit is there again if none is taken meanwhile; the past if it is there now."""

    @abstractmethod
    def fresh_by(self, remaining: int, now: int) -> int:
        """When the whole limit is there again if so many permits are left now, or later; never too early."""

    @abstractmethod
    def over_at(self, spent: Spent) -> int:
        """When a key with this account is as good as new."""

    def carried(self, spent: Spent, before: Rule, now: int) -> Spent:
        """The account, counted under the rule before, under this one: neither forgotten nor charged anew."""
        if before is self or self.counts_like(before):
            return self.rolled(spent, now)
        return self.owing(before.owed(before.rolled(spent, now), now), now)
