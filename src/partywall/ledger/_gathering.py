"""When a commit begins: callers that were just answered come back soon, and one sync of the disk serves them all."""

from __future__ import annotations

from typing import Final

__all__ = ["LONGEST", "Gathering"]

LONGEST: Final = 0.005
"""The most seconds that a commit waits for callers, however many come."""


class Gathering:
    """How many callers to wait for, and how long for the next: never longer than the commit took that waiting may save.

    Without it callers fall into two halves, of which one waits while the other is written, and twice as many
    commits are made as are needed. A caller that is alone is never kept waiting.
    """

    def __init__(self) -> None:
        self.expected = 1
        """Callers who are worth waiting for."""
        self._took = 0.0
        self._trust = 1.0

    @property
    def patience(self) -> float:
        """Seconds to wait for the next of them: waking them all may take longer than a commit on a fast disk."""
        return min(self._took, LONGEST) * self._trust

    def gathered(self, callers: int) -> None:
        """So many have come: whether waiting was worth it says how long to wait the next time."""
        if self.expected > 1:
            self._trust = min(1.0, self._trust * 2) if callers >= self.expected else max(self._trust / 2, 1 / 64)

    def committed(self, callers: int, waiting: int, took: float) -> None:
        """So many are answered now, others wait already, and the commit took so many seconds."""
        self.expected = callers + waiting
        self._took = took
