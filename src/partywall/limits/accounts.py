"""The accounts of all keys, and how a call changes them. Whoever calls the methods holds the limiter's lock.

A signal handler or finalizer may make a call amid another on the same thread: each works from one change of the
accounts to the next, and starts over where another was first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from partywall.limits.cell import CLOSED, LOCKED, Cell, Tables, closed, granting, refusing
from partywall.limits.changes import Put, ShelfName
from partywall.limits.decision import Decision, Measured
from partywall.limits.places import Place
from partywall.limits.rule import Rule, Spent
from partywall.limits.shelves import Shelves
from partywall.limits.timeline import Timeline

__all__ = ["Accounts", "Claim"]

_PAUSE: Final = 1_000_000
"""Nanoseconds between two looks for idle keys, unless a new one comes, which always pays for a look."""


class Claim(NamedTuple):
    """So many permits wanted at one place, or given back there."""

    place: Place
    cost: int


class Accounts:
    """What every key has used, in cells; all or nothing over several of them."""

    def __init__(self, timeline: Timeline, shelves: Shelves, *, lock_free: bool) -> None:
        self._timeline = timeline
        self._shelves = shelves
        self._tables = Tables()
        self._lock_free = lock_free
        self._looked = 0

    def again(self, name: ShelfName, key: str, cost: int) -> Decision | None:
        """Count a call where the rule is known to stand; None where the directory must be asked."""
        shelves = self._shelves
        last = shelves.latest()
        shelf = shelves.by_name.get(name)
        cell = shelf.cells.get(key) if shelf is not None else None
        if cell is None or cell.end == CLOSED or cost > cell.rule.limit:
            return None
        rule, now = cell.rule, self._timeline.now()
        spent, left = rule.settled(cell.drain(), now)
        number, previous, used = spent
        decision: Decision
        if cost > left:
            decision = Measured(rule, spent, now, cost)
            new = self._cell(rule, spent, now, left, single=False, again=not cell.grants)
        elif self._lock_free:
            # The last of the permits comes out of the new cell, and with it the decision.
            taken = (number, previous, used + cost - 1)
            new = granting(rule, taken, left - cost + 1, self._tables, single=cost == 1, next_now=True)
            decision = next(new)
        else:
            decision = Decision(rule, left - cost)
            new = closed(rule, (number, previous, used + cost), LOCKED)
        if not shelves.change(last, ((name, key, new, False),)):
            return self.again(name, key, cost)
        if now - self._looked > _PAUSE:
            self._sweep(now)
        return decision

    def count(self, asked: Callable[[], Sequence[Claim]]) -> Decision:
        """Take what every claim wants, or nothing; they are asked for anew when another call was first.

        The decision is that of the limit that refuses longest, or of the one with the least left.
        """
        last = self._shelves.latest()
        claims, now = asked(), self._timeline.now()
        cells = self._drained(claims)
        spent = [self._account(place, cell, now) for (place, _), cell in zip(claims, cells, strict=True)]
        decision = self._decide(claims, spent, now)
        single = len(claims) == 1 and claims[0].cost == 1
        puts = [
            self._put(place, _taken(used, cost) if decision.allowed else used, now, single=single)
            for (place, cost), used in zip(claims, spent, strict=True)
        ]
        if not self._shelves.change(last, puts):
            return self.count(asked)
        if None in cells or now - self._looked > _PAUSE:
            self._sweep(now)
        return decision

    def foresee(self, asked: Callable[[], Sequence[Claim]]) -> Decision:
        """The decision of ``count``, with nothing taken."""
        last = self._shelves.latest()
        claims, now = asked(), self._timeline.now()
        spent = [self._spent(place, now) for place, _ in claims]
        if last:
            return self.foresee(asked)
        decision = self._decide(claims, spent, now)
        if not decision.allowed:
            return decision
        after = [Claim(place, 0) for place, _ in claims]
        return _strictest(after, [_taken(used, cost) for used, (_, cost) in zip(spent, claims, strict=True)], now)

    def status(self, asked: Callable[[], Sequence[Place]]) -> Decision:
        """What is left of the limit that refuses longest, or of the one with the least left."""
        last = self._shelves.latest()
        places, now = asked(), self._timeline.now()
        spent = [self._spent(place, now) for place in places]
        return self.status(asked) if last else _strictest([Claim(place, 1) for place in places], spent, now)

    def give_back(self, asked: Callable[[], Sequence[Claim]]) -> Decision:
        """Return permits, at each place no more than were used, and say what is left as ``status`` does."""
        last = self._shelves.latest()
        claims, now = asked(), self._timeline.now()
        cells = self._drained(claims)
        spent = []
        for (place, cost), cell in zip(claims, cells, strict=True):
            used = self._account(place, cell, now)
            spent.append(place.rule.rolled(place.rule.given_back(used, cost), now) if cell is not None else used)
        puts = [
            self._put(place, used, now, single=False)
            for (place, _), used, cell in zip(claims, spent, cells, strict=True)
            if cell is not None
        ]
        if not self._shelves.change(last, puts):
            return self.give_back(asked)
        return _strictest([Claim(place, 1) for place, _ in claims], spent, now)

    def _decide(self, claims: Sequence[Claim], spent: Sequence[Spent], now: int) -> Decision:
        left = [place.rule.left(used, now) - cost for (place, cost), used in zip(claims, spent, strict=True)]
        least = min(left)
        if least < 0:
            return _strictest(claims, spent, now)
        return Decision(claims[left.index(least)].place.rule, least)

    def _spent(self, place: Place, now: int) -> Spent:
        cell = self._shelves.get(place.shelf, place.key)
        return place.rule.carried(cell.spent(), cell.rule, now) if cell is not None else self._begun(place, now)

    def _account(self, place: Place, cell: Cell | None, now: int) -> Spent:
        """That of a cell that was drained, or of a key that was not seen before."""
        return place.rule.carried(cell.all_spent(), cell.rule, now) if cell is not None else self._begun(place, now)

    def _begun(self, place: Place, now: int) -> Spent:
        """That of a key that was not seen before: nobody knows how much of what others share with it is its own."""
        rule, spent = place.rule, place.rule.nothing(now)
        for shelf, key in place.shared:
            cell = self._shelves.get(shelf, key)
            if cell is not None:
                spent = max(spent, rule.carried(cell.spent(), cell.rule, now), key=lambda one: rule.owed(one, now))
        return spent

    def _drained(self, claims: Sequence[Claim]) -> list[Cell | None]:
        cells = [self._shelves.get(place.shelf, place.key) for place, _ in claims]
        for cell in cells:
            if cell is not None:
                cell.drain()
        return cells

    def _put(self, place: Place, spent: Spent, now: int, *, single: bool) -> Put:
        rule = place.rule
        if not place.alone:
            cell = closed(rule, spent, CLOSED)
        else:
            cell = self._cell(rule, spent, now, rule.left(spent, now), single=single)
        return (place.shelf, place.key, cell, place.unnamed)

    def _cell(self, rule: Rule, spent: Spent, now: int, left: int, *, single: bool, again: bool = False) -> Cell:
        if not self._lock_free or not rule.limit:
            return closed(rule, spent, LOCKED)
        if left:
            return granting(rule, spent, left, self._tables, single=single)
        return refusing(Measured(rule, spent, now, cost=1), rule, spent, again=again)

    def _sweep(self, now: int) -> None:
        self._looked = now
        self._shelves.sweep(now)


def _taken(spent: Spent, cost: int) -> Spent:
    number, previous, used = spent
    return (number, previous, used + cost)


def _strictest(claims: Sequence[Claim], spent: Sequence[Spent], now: int) -> Measured:
    """Of all limits the one that refuses longest, or else the one with the least left."""
    measured = [Measured(place.rule, used, now, cost) for (place, cost), used in zip(claims, spent, strict=True)]
    return min(measured, key=lambda one: (one.allowed, -one.retry_at, one.remaining))
