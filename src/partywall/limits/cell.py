"""One key's account: an iterator over ready-made answers.

Taking the next answer is one call into the interpreter's C code, so it is atomic under the global lock, hands
each permit out exactly once, and is already the decision with its ``remaining``. Until the cell's end the permits
that are left only grow, so those handed out ahead stay good. Whoever finds the cell ended or the iterator empty
takes the slow path, which drains the iterator to count exactly.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from math import inf
from operator import length_hint
from sys import float_info
from typing import TYPE_CHECKING, Final

from partywall.limits.decision import Decision, Measured
from partywall.limits.rule import Rule, Spent

__all__ = ["CLOSED", "LOCKED", "Cell", "Tables", "closed", "granting", "refusing"]

CLOSED: Final = -inf
"""The end of a cell that admits nobody without a look at the directory."""
LOCKED: Final = -float_info.max
"""The end of a cell whose account is true but who holds no answers: each call counts under the lock."""
_KEPT: Final = 1 << 18
_FEW: Final = 16
_REFUSALS: Final = 32
_FLOOD: Final = 1024

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
    Once it is published ``end`` changes only to CLOSED, and ``unused`` only when it is drained.
    """

    __slots__ = ("counted", "end", "grants", "number", "previous", "rule", "unused")

    end: float
    """Until which reading of the monotonic clock its answers are true."""
    grants: bool
    """Whether its answers are permits; otherwise they are one refusal, many times."""
    counted: int
    """The permits used in the window, as if all in this cell were."""
    number: int
    previous: int
    rule: Rule
    unused: list[Decision] | None
    """The answers that were taken back out of it when it was drained."""

    def spent(self) -> Spent:
        """What the key has used up to now."""
        number, previous, counted = self.all_spent()
        return (number, previous, counted - (length_hint(self) if self.grants else 0))

    def drain(self) -> Spent:
        """What the key has used, once nobody can take a permit from this cell any more; the same when asked again."""
        unused: list[Decision] = []
        # Taking the answers and keeping them is one call: no step lies between, at which they are nowhere.
        if self.unused is None:
            self.unused = unused
        self.unused.extend(self)
        return (self.number, self.previous, self.counted - (len(self.unused) if self.grants else 0))

    def all_spent(self) -> Spent:
        """What the key has used if every permit that is still in this cell is taken."""
        unused = self.unused
        return (self.number, self.previous, self.counted - (len(unused) if unused and self.grants else 0))


class Tables:
    """Ready-made admissions, shared by all keys under a rule; kept while they are used, up to a fixed number."""

    def __init__(self) -> None:
        self._chunks: OrderedDict[tuple[Rule, int, int], tuple[Decision, ...]] = OrderedDict()
        self._held = 0

    def holding(self, rule: Rule, remaining: int, size: int) -> tuple[tuple[Decision, ...], int]:
        """A table of ``size`` in which the answer that leaves ``remaining`` stands, and its index there."""
        index = remaining % size
        key = (rule, remaining - index, size)
        chunk = self._chunks.get(key)
        if chunk is None:
            chunk = tuple(Decision(rule, left) for left in range(key[1], min(key[1] + size, rule.limit)))
            return self._kept(key, chunk), index
        try:
            self._chunks.move_to_end(key)
        except KeyError:
            # A signal handler's call dropped it just now.
            self._kept(key, chunk)
        return chunk, index

    def _kept(self, key: tuple[Rule, int, int], chunk: tuple[Decision, ...]) -> tuple[Decision, ...]:
        kept = self._chunks.setdefault(key, chunk)
        if kept is chunk:
            size = len(chunk)
            self._held += size
        while self._held > _KEPT and self._chunks:
            size = len(self._chunks.popitem(last=False)[1])
            self._held -= size
        return kept


def granting(
    rule: Rule, spent: Spent, left: int, tables: Tables, *, single: bool = True, next_now: bool = False
) -> Cell:
    """A cell with the permits that are left, at least one, or as many of them as are worth making ready.

    That is few, unless permits are taken by ``single`` ones: others must be counted back at the next call.
    ``next_now`` says that the caller takes the first of them.
    """
    number, previous, used = spent
    size, end = rule.outlook(number, used + next_now)
    table, index = tables.holding(rule, left - 1, size if single else _FEW)
    cell = Cell(table)
    cell.__setstate__(index)
    cell.rule = rule
    cell.unused = None
    cell.grants = True
    cell.number = number
    cell.previous = previous
    cell.counted = used + index + 1
    cell.end = end
    return cell


def refusing(refusal: Measured, rule: Rule, spent: Spent, *, again: bool) -> Cell:
    """A cell that gives the same refusal until a permit comes back; many times where it was asked for ``again``."""
    cell = Cell((refusal,) * (_FLOOD if again else _REFUSALS))
    cell.rule = rule
    cell.unused = None
    cell.grants = False
    cell.number, cell.previous, cell.counted = spent
    cell.end = rule.timeline.reading_before(refusal.retry_at)
    return cell


def closed(rule: Rule, spent: Spent, end: float) -> Cell:
    """A cell that only remembers what was used: every call takes the slow path, LOCKED or CLOSED."""
    cell = Cell(())
    cell.rule = rule
    cell.unused = None
    cell.grants = True
    cell.number, cell.previous, cell.counted = spent
    cell.end = end
    return cell
