"""One key's window: an iterator over ready-made answers.

Taking the next answer is one call into the interpreter's C code, so it is atomic under the global lock, hands
each permit out exactly once, and is already the decision with its ``remaining``. Within a window the permits
that are left only grow, so those handed out ahead stay good until the window ends. Whoever finds the window
ended or the iterator empty takes the slow path, which drains the iterator to count exactly.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from math import inf
from operator import length_hint
from typing import TYPE_CHECKING, Final

from partywall.limits.decision import Decision, Measured
from partywall.limits.rule import Rule, Spent

__all__ = ["CLOSED", "Cell", "Tables", "closed", "granting", "refusing"]

CLOSED: Final = -inf
"""The end of a window that admits nobody without a look at the directory."""
_CHUNK: Final = 1024
_KEPT: Final = 1 << 18
_REFUSALS: Final = 64
_FLOOD: Final = 4096

if TYPE_CHECKING:

    class _Reversed(Iterator[Decision]):
        """What ``reversed`` over a tuple can do; its stub says only that it makes some iterator."""

        def __init__(self, table: tuple[Decision, ...]) -> None: ...
        def __next__(self) -> Decision: ...
        def __length_hint__(self) -> int: ...
        def __setstate__(self, index: int, /) -> None: ...
else:
    _Reversed = reversed


class Cell(_Reversed):
    """The answers that a key may still be given until ``end``, the last of its table first.

    Derived from ``reversed`` rather than holding an iterator: one object less to fetch from memory per check.
    Once it is published only ``end`` changes, to CLOSED.
    """

    __slots__ = ("counted", "end", "grants", "number", "previous", "rule")

    end: float
    """Until which reading of the monotonic clock its answers are true."""
    grants: bool
    """Whether its answers are permits; otherwise they are one refusal, many times."""
    counted: int
    """The permits used in the window, as if all in this cell were."""
    number: int
    previous: int
    rule: Rule

    def spent(self) -> Spent:
        """What the key has used up to now."""
        return Spent(self.number, self.previous, self.counted - (length_hint(self) if self.grants else 0))

    def drain(self) -> Spent:
        """What the key has used, once nobody can take a permit from this cell any more."""
        unused = len(list(self))
        return Spent(self.number, self.previous, self.counted - (unused if self.grants else 0))


class Tables:
    """Ready-made admissions, shared by all keys under a rule; kept while they are used, up to a fixed number."""

    def __init__(self) -> None:
        self._chunks: OrderedDict[tuple[Rule, int], tuple[Decision, ...]] = OrderedDict()
        self._held = 0

    def holding(self, rule: Rule, remaining: int) -> tuple[tuple[Decision, ...], int]:
        """A table in which the answer that leaves ``remaining`` stands, and its index there."""
        base = remaining - remaining % _CHUNK
        chunk = self._chunks.get((rule, base))
        if chunk is None:
            chunk = tuple(Decision(rule, left) for left in range(base, min(base + _CHUNK, rule.limit)))
            self._keep(rule, base, chunk)
        else:
            self._chunks.move_to_end((rule, base))
        return chunk, remaining - base

    def _keep(self, rule: Rule, base: int, chunk: tuple[Decision, ...]) -> None:
        self._chunks[rule, base] = chunk
        self._held += len(chunk)
        while self._held > _KEPT:
            self._held -= len(self._chunks.popitem(last=False)[1])


def granting(rule: Rule, spent: Spent, left: int, tables: Tables) -> Cell:
    """A cell with the permits that are left, or as many of them as stand in one table."""
    if not left:
        return closed(rule, spent)
    table, index = tables.holding(rule, left - 1)
    counted = Spent(spent.number, spent.previous, spent.used + index + 1)
    cell = _filled(table, rule.edge(spent.number + 1), rule, counted, grants=True)
    cell.__setstate__(index)
    return cell


def refusing(refusal: Measured, rule: Rule, spent: Spent, *, again: bool) -> Cell:
    """A cell that gives the same refusal until a permit comes back; many times where it was asked for ``again``."""
    table = (refusal,) * (_FLOOD if again else _REFUSALS)
    return _filled(table, refusal.retry_reading, rule, spent, grants=False)


def closed(rule: Rule, spent: Spent) -> Cell:
    """A cell that only remembers what was used: every call takes the slow path."""
    return _filled((), CLOSED, rule, spent, grants=True)


def _filled(table: tuple[Decision, ...], end: float, rule: Rule, spent: Spent, *, grants: bool) -> Cell:
    cell = Cell(table)
    cell.end = end
    cell.grants = grants
    cell.rule = rule
    cell.number, cell.previous, cell.counted = spent
    return cell
