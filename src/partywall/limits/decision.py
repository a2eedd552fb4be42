"""The answer of the limiter. Answers to admitted calls are made once and shared by all keys under a rule."""

from __future__ import annotations

from partywall.limits.rule import Rule, Spent

__all__ = ["Decision", "Measured"]


class Decision:
    """Whether a call may go on, and when to come again; true in a condition exactly when it is allowed.

    Read-only. The times are worked out when they are read, in seconds from that moment.
    """

    __slots__ = ("_remaining", "_rule")

    def __init__(self, rule: Rule, remaining: int) -> None:
        self._rule = rule
        self._remaining = remaining

    @property
    def allowed(self) -> bool:
        """Whether the call was admitted and counted; for a status, whether one would be."""
        return True

    @property
    def limit(self) -> int:
        """The most calls in one window."""
        return self._rule.limit

    @property
    def remaining(self) -> int:
        """Calls that are left at least; more come back by themselves as the window before fades."""
        return self._remaining

    @property
    def retry_after(self) -> float:
        """Seconds after which the same call is admitted, if no other comes first; 0.0 when allowed. Never too early."""
        return 0.0

    @property
    def reset_after(self) -> float:
        """Seconds until the whole limit is there again, if no call is admitted meanwhile.

        Exact in the window in which the decision was given; read in a later one it is too late, never too early.
        """
        # The decision is shared and knows no window, but windows lie at the same edges for all keys.
        rule = self._rule
        number = rule.timeline.now() // rule.window
        return rule.timeline.seconds_until(rule.timeline.reading((number + (2 if rule.sliding else 1)) * rule.window))

    def __bool__(self) -> bool:
        return self.allowed

    def __repr__(self) -> str:
        return (
            f"Decision(allowed={self.allowed}, limit={self.limit}, remaining={self.remaining}, "
            f"retry_after={self.retry_after:.3f}, reset_after={self.reset_after:.3f})"
        )


class Measured(Decision):
    """A refusal or a status: made for one moment, with times of its own."""

    __slots__ = ("_allowed", "_fresh", "_retry")

    def __init__(self, rule: Rule, spent: Spent, now: int, cost: int) -> None:
        super().__init__(rule, rule.left(spent, now))
        self._allowed = cost <= self._remaining
        self._retry = rule.timeline.reading(rule.retry_at(spent, now, cost))
        self._fresh = rule.timeline.reading(rule.fresh_at(spent))

    @property
    def allowed(self) -> bool:
        """Whether the call was admitted; for a status, whether one would be."""
        return self._allowed

    @property
    def retry_after(self) -> float:
        """Seconds after which the same call is admitted; 0.0 when that is now."""
        return 0.0 if self._allowed else self._rule.timeline.seconds_until(self._retry)

    @property
    def retry_reading(self) -> float:
        """The reading of the monotonic clock up to which a refusal stands."""
        return self._retry

    @property
    def reset_after(self) -> float:
        """Seconds until the whole limit is there again; 0.0 when it is there now."""
        return self._rule.timeline.seconds_until(self._fresh)
