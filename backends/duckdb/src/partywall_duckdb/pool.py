"""A bounded number of open things. Whoever uses one pins it; room is made by closing the one used longest ago."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from partywall.clock import Clock
from partywall.errors import BackendError

__all__ = ["Pool", "Pooled"]


class Pooled(Protocol):
    """What a pool keeps."""

    @property
    def usable(self) -> bool:
        """Whether it is worth keeping when nobody uses it."""

    def close(self, *, checkpoint: bool) -> None:
        """Let go of everything."""


K = TypeVar("K", bound=Hashable)
T = TypeVar("T", bound=Pooled)


@dataclass(slots=True)
class _Place(Generic[T]):
    opening: threading.Lock = field(default_factory=threading.Lock)
    item: T | None = None
    pins: int = 1
    used_at: float = 0.0
    closing: bool = False


class Pool(Generic[K, T]):
    """Opens one item for each key. Its lock is held for the counting only, never while an item opens or closes."""

    def __init__(self, most: int, clock: Clock, make: Callable[[K], T]) -> None:
        self._most = most
        self._clock = clock
        self._make = make
        self._places: OrderedDict[K, _Place[T]] = OrderedDict()
        self._changed = threading.Condition()

    def pin(self, key: K, patience: float) -> T:
        """The item, open, and kept so until ``unpin``. BackendError when after ``patience`` seconds all are in use."""
        place = self._admitted(key, time.monotonic() + patience)
        try:
            with place.opening:
                if place.item is None:
                    place.item = self._make(key)
                return place.item
        except BaseException:
            self.unpin(key)
            raise

    def unpin(self, key: K, *, used: bool = True) -> None:
        """Give a pin back; an item that is of no use any more is closed with its last pin."""
        with self._changed:
            place = self._places.get(key)
            if place is None:
                return  # the pool itself was closed meanwhile
            place.pins -= 1
            if used:
                place.used_at = self._clock.monotonic()
            spent = _is_free(place) and (place.item is None or not place.item.usable)
            place.closing = place.closing or spent
            self._changed.notify_all()
        if spent:
            self._close(key, place, checkpoint=False)

    def visit(self) -> Iterator[tuple[K, T]]:
        """Each key and item that is open, pinned while the caller looks at it; that does not count as use."""
        for key in list(self._places):
            with self._changed:
                place = self._places.get(key)
                if place is None or place.closing or place.item is None:
                    continue
                place.pins += 1
            try:
                yield key, place.item
            finally:
                self.unpin(key, used=False)

    def close_idle(self, seconds: float, most: int) -> None:
        """Close at most so many items that nobody has used for a time."""
        before = self._clock.monotonic() - seconds
        with self._changed:
            idle = [(key, place) for key, place in self._places.items() if _is_free(place) and place.used_at <= before]
            for _, place in idle[:most]:
                place.closing = True
        for key, place in idle[:most]:
            self._close(key, place, checkpoint=True)

    def close(self) -> None:
        """Close every item."""
        with self._changed:
            left = list(self._places.items())
            for _, place in left:
                place.closing = True
        for key, place in left:
            self._close(key, place, checkpoint=True)

    def __len__(self) -> int:
        return len(self._places)

    def _admitted(self, key: K, deadline: float) -> _Place[T]:
        while True:
            with self._changed:
                place, victim = self._places.get(key), None
                if place is not None and not place.closing:
                    place.pins += 1
                    self._places.move_to_end(key)
                    return place
                if place is None and len(self._places) < self._most:
                    self._places[key] = _Place()
                    return self._places[key]
                if place is None:
                    victim = next((each for each in self._places.items() if _is_free(each[1])), None)
                if victim is None:
                    self._await_change(deadline)
                    continue
                victim[1].closing = True
            self._close(*victim, checkpoint=False)

    def _await_change(self, deadline: float) -> None:
        if not self._changed.wait(max(deadline - time.monotonic(), 0.0)):
            raise BackendError("the store is busy: as many databases are in use as may be open; try again")

    def _close(self, key: K, place: _Place[T], *, checkpoint: bool) -> None:
        try:
            if place.item is not None:
                place.item.close(checkpoint=checkpoint)
        finally:
            with self._changed:
                self._places.pop(key, None)
                self._changed.notify_all()


def _is_free(place: _Place[T]) -> bool:
    return not place.pins and not place.closing
