"""The accounts of all keys, and how a call changes them. Whoever calls the methods holds the limiter's lock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from partywall.limits.cell import CLOSED, LOCKED, Cell, Tables, closed, granting, refusing
from partywall.limits.decision import Decision, Measured
from partywall.limits.places import Place
from partywall.limits.rule import Rule, Spent
from partywall.limits.shelves import ShelfName, Shelves
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
        shelf = self._shelves.by_name.get(name)
        cell = shelf.cells.get(key) if shelf is not None else None
        if shelf is None or cell is None or cell.end == CLOSED or cost > cell.rule.limit:
            return None
        rule, now = cell.rule, self._timeline.now()
        spent, left = rule.settled(cell.drain(), now)
        decision: Decision
        if cost == 1 and left and self._lock_free:
            new = granting(rule, spent, left, self._tables, next_now=True)
            decision = next(new)
        elif cost <= left:
            decision = Decision(rule, left - cost)
            new = self._cell(rule, _taken(spent, cost), now, left - cost, single=False)
        else:
            decision = Measured(rule, spent, now, cost)
            new = self._cell(rule, spent, now, left, single=False, again=not cell.grants)
        if shelf.cells.get(key) is not cell:
            # A signal handler or finalizer made a call meanwhile, on this very thread; it may close cells too.
            return self.again(name, key, cost)
        if cell.end == CLOSED:
            new.end = CLOSED
        shelf.cells[key] = new
        if now - self._looked > _PAUSE:
            self._sweep(now)
        return decision

    def count(self, claims: Sequence[Claim]) -> Decision:
        """Take what every claim wants, or nothing.

        The decision is that of the limit that refuses longest, or of the one with the least left.
        """
        now = self._timeline.now()
        self._make_room(claims, now)
        cells = self._drained(claims)
        spent = [_account(place, cell, now) for (place, _), cell in zip(claims, cells, strict=True)]
        decision = self._decide(claims, spent, now)
        single = len(claims) == 1 and claims[0].cost == 1
        new = [
            self._cell_at(place, _taken(used, cost) if decision.allowed else used, now, single=single)
            for (place, cost), used in zip(claims, spent, strict=True)
        ]
        return decision if self._publish(claims, cells, new) else self.count(claims)

    def foresee(self, claims: Sequence[Claim]) -> Decision:
        """The decision of ``count``, with nothing taken."""
        now = self._timeline.now()
        spent = [self._spent(place, now) for place, _ in claims]
        decision = self._decide(claims, spent, now)
        if not decision.allowed:
            return decision
        after = [Claim(place, 0) for place, _ in claims]
        return _strictest(after, [_taken(used, cost) for used, (_, cost) in zip(spent, claims, strict=True)], now)

    def status(self, places: Sequence[Place]) -> Decision:
        """What is left of the limit that refuses longest, or of the one with the least left."""
        now = self._timeline.now()
        return _strictest([Claim(place, 1) for place in places], [self._spent(place, now) for place in places], now)

    def give_back(self, claims: Sequence[Claim]) -> None:
        """Return permits, at each place no more than were used."""
        now = self._timeline.now()
        claims = [claim for claim in claims if self._shelves.get(claim.place.shelf, claim.place.key) is not None]
        cells = self._drained(claims)
        new = []
        for (place, cost), cell in zip(claims, cells, strict=True):
            used = place.rule.given_back(_account(place, cell, now), cost)
            new.append(self._cell_at(place, place.rule.rolled(used, now), now, single=False))
        if not self._publish(claims, cells, new):
            self.give_back(claims)

    def _decide(self, claims: Sequence[Claim], spent: Sequence[Spent], now: int) -> Decision:
        left = [place.rule.left(used, now) - cost for (place, cost), used in zip(claims, spent, strict=True)]
        least = min(left)
        if least < 0:
            return _strictest(claims, spent, now)
        return Decision(claims[left.index(least)].place.rule, least)

    def _spent(self, place: Place, now: int) -> Spent:
        cell = self._shelves.get(place.shelf, place.key)
        return place.rule.carried(cell.spent(), cell.rule, now) if cell is not None else place.rule.nothing(now)

    def _drained(self, claims: Sequence[Claim]) -> list[Cell | None]:
        cells = [self._shelves.get(place.shelf, place.key) for place, _ in claims]
        for cell in cells:
            if cell is not None:
                cell.drain()
        return cells

    def _publish(self, claims: Sequence[Claim], cells: Sequence[Cell | None], new: Sequence[Cell]) -> bool:
        """Put the new cells in place of those that were drained, unless a handler on this thread did so meanwhile."""
        if any(
            self._shelves.get(place.shelf, place.key) is not cell
            for (place, _), cell in zip(claims, cells, strict=True)
        ):
            return False
        for (place, _), cell in zip(claims, new, strict=True):
            if place.closings != self._shelves.closings:
                cell.end = CLOSED
            self._shelves.put(place.shelf, place.key, cell, unnamed=place.unnamed)
        return True

    def _cell_at(self, place: Place, spent: Spent, now: int, *, single: bool) -> Cell:
        rule = place.rule
        if not place.alone:
            return closed(rule, spent, CLOSED)
        return self._cell(rule, spent, now, rule.left(spent, now), single=single)

    def _cell(self, rule: Rule, spent: Spent, now: int, left: int, *, single: bool, again: bool = False) -> Cell:
        if not self._lock_free or not rule.limit:
            return closed(rule, spent, LOCKED)
        if left:
            return granting(rule, spent, left, self._tables, single=single)
        return refusing(Measured(rule, spent, now, cost=1), rule, spent, again=again)

    def _make_room(self, claims: Sequence[Claim], now: int) -> None:
        new = any(self._shelves.get(place.shelf, place.key) is None for place, _ in claims)
        if new or now - self._looked > _PAUSE:
            self._sweep(now)

    def _sweep(self, now: int) -> None:
        self._looked = now
        self._shelves.sweep(now)


def _account(place: Place, cell: Cell | None, now: int) -> Spent:
    """That of a cell that was drained, or of a key that was not seen before."""
    return place.rule.carried(cell.all_spent(), cell.rule, now) if cell is not None else place.rule.nothing(now)


def _taken(spent: Spent, cost: int) -> Spent:
    number, previous, used = spent
    return (number, previous, used + cost)


def _strictest(claims: Sequence[Claim], spent: Sequence[Spent], now: int) -> Measured:
    """Of all limits the one that refuses longest, or else the one with the least left."""
    measured = [Measured(place.rule, used, now, cost) for (place, cost), used in zip(claims, spent, strict=True)]
    return min(measured, key=lambda one: (one.allowed, -one.retry_at, one.remaining))
