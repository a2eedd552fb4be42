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
        cells = self._shelves.cells(name)
        cell = cells.get(key)
        if cell is None or cell.end == CLOSED or cost > cell.rule.limit:
            return None
        rule, now = cell.rule, self._timeline.now()
        spent, left = rule.settled(cell.drain(), now)
        decision: Decision
        if cost <= left:
            number, previous, used = spent
            spent, left = (number, previous, used + cost), left - cost
            decision = Decision(rule, left)
        else:
            decision = Measured(rule, spent, now, cost)
        cells[key] = self._cell(rule, spent, now, left, again=not cell.grants)
        if now - self._looked > _PAUSE:
            self._sweep(now)
        return decision

    def count(self, claims: Sequence[Claim]) -> Decision:
        """Take what every claim wants, or nothing.

        The decision is that of the limit that refuses longest, or of the one with the least left.
        """
        now = self._timeline.now()
        self._make_room(claims, now)
        spent = [self._spent(place, now, drain=True) for place, _ in claims]
        decision = self._decide(claims, spent, now)
        for (place, cost), used in zip(claims, spent, strict=True):
            taken = _taken(used, cost) if decision.allowed else used
            self._put(place, taken, now)
        return decision

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
        for place, cost in claims:
            if self._shelves.get(place.shelf, place.key) is not None:
                used = place.rule.given_back(self._spent(place, now, drain=True), cost)
                self._put(place, place.rule.rolled(used, now), now)

    def _decide(self, claims: Sequence[Claim], spent: Sequence[Spent], now: int) -> Decision:
        left = [place.rule.left(used, now) - cost for (place, cost), used in zip(claims, spent, strict=True)]
        least = min(left)
        if least < 0:
            return _strictest(claims, spent, now)
        return Decision(claims[left.index(least)].place.rule, least)

    def _spent(self, place: Place, now: int, *, drain: bool = False) -> Spent:
        cell = self._shelves.get(place.shelf, place.key)
        if cell is None:
            return place.rule.nothing(now)
        return place.rule.carried(cell.drain() if drain else cell.spent(), cell.rule, now)

    def _put(self, place: Place, spent: Spent, now: int) -> None:
        rule = place.rule
        if place.alone:
            cell = self._cell(rule, spent, now, rule.left(spent, now), again=False)
        else:
            cell = closed(rule, spent, CLOSED)
        self._shelves.put(place.shelf, place.key, cell, unnamed=place.unnamed)

    def _cell(self, rule: Rule, spent: Spent, now: int, left: int, *, again: bool) -> Cell:
        if not self._lock_free or not rule.limit:
            return closed(rule, spent, LOCKED)
        if left:
            return granting(rule, spent, left, self._tables)
        return refusing(Measured(rule, spent, now, cost=1), rule, spent, again=again)

    def _make_room(self, claims: Sequence[Claim], now: int) -> None:
        new = any(self._shelves.get(place.shelf, place.key) is None for place, _ in claims)
        if new or now - self._looked > _PAUSE:
            self._sweep(now)

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
