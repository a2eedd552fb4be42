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
    def action(self) -> str:
        """The name of the limit in the plan: the action's, or ``default``."""
        return self._rule.action

    @property
    def scope(self) -> str:
        """Whose limit it is: ``tenant`` or ``user``."""
        return self._rule.scope

    @property
    def limit(self) -> int:
        """The most calls in one window, or under ``gcra`` at once."""
        return self._rule.limit

    @property
    def remaining(self) -> int:
        """Calls that are left at least; more come back by themselves as time passes."""
        return self._remaining

    @property
    def retry_after(self) -> float:
        """Seconds after which the same call is admitted, if no other comes first; 0.0 when allowed. Never too early."""
        return 0.0

    @property
    def reset_after(self) -> float:
        """Seconds until the whole limit is there again, if no call is admitted meanwhile; never too early.

        Exact for windows in the window in which the decision was given, and late when it is read in a later one.
        For ``gcra`` late by what came back since the answers in hand were made ready; ``status`` is exact.
        """
        # The decision is shared and knows no moment of its own.
        rule = self._rule
        return rule.timeline.seconds_until(rule.timeline.reading(rule.fresh_by(self._remaining, rule.timeline.now())))

    def __bool__(self) -> bool:
        return self.allowed

    def __repr__(self) -> str:
        return (
            f"Decision(allowed={self.allowed}, action='{self.action}', scope='{self.scope}', limit={self.limit}, "
            f"remaining={self.remaining}, retry_after={self.retry_after:.3f}, reset_after={self.reset_after:.3f})"
        )


class Measured(Decision):
    """A refusal, or a status: made for one moment, with times of its own."""

    __slots__ = ("_allowed", "_fresh", "_retry")

    def __init__(self, rule: Rule, spent: Spent, now: int, cost: int) -> None:
        super().__init__(rule, rule.left(spent, now))
        self._allowed = cost <= self._remaining
        self._retry = rule.retry_at(spent, now, cost)
        self._fresh = rule.fresh_at(spent)

    @property
    def allowed(self) -> bool:
        """Whether the call was admitted; for a status, whether one would be."""
        return self._allowed

    @property
    def retry_after(self) -> float:
        """Seconds after which the same call is admitted; 0.0 when that is now."""
        return 0.0 if self._allowed else self._until(self._retry)

    @property
    def retry_at(self) -> int:
        """The nanosecond of the limiter's time up to which a refusal stands."""
        return self._retry

    @property
    def reset_after(self) -> float:
        """Seconds until the whole limit is there again; 0.0 when it is there now."""
        return self._until(self._fresh)

    def _until(self, at: int) -> float:
        timeline = self._rule.timeline
        return timeline.seconds_until(timeline.reading(at))
