"""Where cells are kept: by action and tenant, or by user where a rule is for each user; idle ones are forgotten.

Keys are canonical tenant ids and legal actions only, checked before anything is kept. What a caller could
make without end, users and actions that no plan names, is bounded for each tenant: beyond the bound one
window is shared, so that usage is never forgotten and no other tenant notices.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from typing import Final

from partywall.limits.cell import CLOSED, Cell
from partywall.limits.changes import Change, Put, ShelfName

__all__ = ["Shelf", "Shelves"]

_LIVE: Final = 3
_DEAD: Final = 16
_SPARSE: Final = 32


class Shelf:
    """Cells by key, and the order in which the sweep looks at them."""

    __slots__ = ("cells", "most", "ring")

    def __init__(self) -> None:
        self.cells: dict[str, Cell] = {}
        self.ring: deque[str] = deque()
        self.most = 0

    def put(self, key: str, cell: Cell) -> None:
        """Publish the cell in place of the one before, which must have been drained."""
        if key not in self.cells:
            self.ring.append(key)
            self.most = max(self.most, len(self.ring))
        self.cells[key] = cell

    def compact(self) -> bool:
        """Give back the room of keys that were dropped, once it is most of the room; the map is then a new one."""
        if self.most < _SPARSE or len(self.cells) * 8 > self.most:
            return False
        self.cells = dict(self.cells)
        self.most = len(self.cells)
        return True


class Shelves:
    """Every cell of a limiter. Whoever calls its methods holds the limiter's lock, and may be amid another call."""

    def __init__(self) -> None:
        self.by_action: dict[str, dict[str, Cell]] = {}
        """Cells by action and tenant: read without the lock."""
        self.by_user: dict[str, dict[str, dict[str, Cell]]] = {}
        """Cells by tenant, action and user: read without the lock."""
        self.by_name: OrderedDict[ShelfName, Shelf] = OrderedDict()
        """Every shelf, the one that the sweep is at first."""
        self._unnamed: dict[str, set[str]] = {}
        self._lap = 0
        self._last = Change()
        self._catching_up = False

    def __len__(self) -> int:
        return sum(len(shelf.cells) for shelf in list(self.by_name.values()))

    def latest(self) -> Change:
        """The last change, with all of them in place: what a call reads after this, it builds on that change."""
        last = self._last
        if not last:
            return last
        outer = self._catching_up
        try:
            self._catching_up = True
            # Read again: from here on nobody moves it, because the call that this one is amid may yet put back a cell
            # that was replaced meanwhile. Whoever comes amid this one begins where it begins.
            last = self._last
            while last:
                last = last[0]
                self._put_in_place(last)
            if not outer:
                self._last = last
        finally:
            self._catching_up = outer
        return last

    def _put_in_place(self, change: Change) -> None:
        begun, change.begun = change.begun, True
        for name, key, cell, unnamed in change.puts:
            shelf = self.by_name.get(name)
            if cell is None:
                self._drop(name, key, begun=begun)
            elif shelf is None or begun or unnamed or key not in shelf.cells:
                self._put(name, key, cell, unnamed=unnamed, begun=begun)
            else:
                shelf.cells[key] = cell

    def change(self, last: Change, puts: Sequence[Put]) -> bool:
        """Put cells in place, or drop their keys; False, and nothing is done, if another change followed ``last``."""
        change = Change()
        change.puts = puts
        change.begun = False
        last.append(change)
        if last[0] is not change:
            return False
        self.latest()
        return True

    def get(self, name: ShelfName, key: str) -> Cell | None:
        """The key's cell."""
        shelf = self.by_name.get(name)
        return shelf.cells.get(key) if shelf else None

    def has_room(self, name: ShelfName, key: str, most: int, together: Iterable[ShelfName]) -> bool:
        """Whether the shelf holds the key, or those that count ``together`` fewer than ``most``."""
        if self.get(name, key) is not None:
            return True
        shelves = [self.by_name.get(one) for one in together]
        return sum([len(shelf.cells) for shelf in shelves if shelf is not None]) < most

    def unnamed(self, tenant: str) -> Collection[str]:
        """The actions that have a window of their own and that the tenant's plan does not name."""
        return frozenset(self._unnamed.get(tenant, ()))

    def close(self, tenants: Iterable[str]) -> None:
        """Let nobody pass by the cells of these tenants without a look at the directory."""
        self.latest()
        for tenant in tenants:
            for action in list(self.by_action):
                self._close(action, [tenant])
            for action, cells in self.by_user.get(tenant, {}).items():
                self._close((action, tenant), list(cells))
        self._ask_again()

    def close_all(self) -> None:
        """Let nobody pass by any cell without a look at the directory."""
        self.latest()
        for name, shelf in list(self.by_name.items()):
            self._close(name, list(shelf.cells))
        self._ask_again()

    def sweep(self, now: int, live: int = _LIVE, dead: int = _DEAD) -> None:
        """Drop up to ``dead`` idle keys, meeting up to ``live`` that are not; goes on where it stopped last time."""
        while live > 0 and dead > 0 and self.by_name:
            if self._lap <= 0:
                self._next_shelf()
                live -= 1
            elif self._look(now):
                dead -= 1
            else:
                live -= 1

    def sweep_all(self, now: int) -> None:
        """Drop every idle key."""
        twice = 2 * (len(self) + len(self.by_name)) + 1
        self.sweep(now, twice, twice)

    def _close(self, name: ShelfName, keys: Iterable[str]) -> None:
        for key in keys:
            # A call amid this one may count on with a cell that is not closed yet, and put another in its place.
            while (cell := self.get(name, key)) is not None and cell.end != CLOSED:
                cell.end = CLOSED

    def _ask_again(self) -> None:
        """Make every call start over that is amid its work, and may have asked the directory before."""
        while not self.change(self.latest(), ()):
            pass

    def _look(self, now: int) -> bool:
        """Look at the key that waited longest; whether its windows were over and it was dropped."""
        last = self.latest()
        name = self._first()
        try:
            shelf = self.by_name[name]
            key = shelf.ring.popleft()
        except LookupError:
            # A call amid this one looked at it already.
            self._lap = 0
            return False
        self._lap -= 1
        cell = shelf.cells.get(key)
        # As if everything were taken that somebody may still be about to take.
        over = cell is None or now >= cell.rule.over_at(cell.all_spent())
        if over and self.change(last, ((name, key, None, False),)):
            return True
        shelf.ring.append(key)
        return False

    def _next_shelf(self) -> None:
        with suppress(KeyError):
            self.by_name.move_to_end(self._first())
        self._begin_lap()

    def _begin_lap(self) -> None:
        shelf = self.by_name.get(self._first())
        if shelf is None:
            self._lap = 0
            return
        if len(shelf.ring) != len(shelf.cells):
            # The order is only for the sweep: where calls amid others left it wrong, it is made anew.
            shelf.ring = deque(shelf.cells)
        self._lap = len(shelf.ring)

    def _put(self, name: ShelfName, key: str, cell: Cell, *, unnamed: bool, begun: bool) -> None:
        shelf = self.by_name.get(name)
        new = shelf is None
        if shelf is None:
            shelf = self.by_name[name] = Shelf()
        shelf.put(key, cell)
        if new or begun:
            self._publish(name, shelf)
        if unnamed:
            action, tenant = (name, key) if isinstance(name, str) else name
            self._unnamed.setdefault(tenant, set()).add(action)

    def _drop(self, name: ShelfName, key: str, *, begun: bool) -> None:
        shelf = self.by_name.get(name)
        if shelf is not None:
            shelf.cells.pop(key, None)
        if shelf is None or not shelf.cells:
            self._withdraw(name)
        elif shelf.compact() or begun:
            self._publish(name, shelf)
        if isinstance(name, str):
            self._forget_unnamed(name, key)
        elif name not in self.by_name:
            self._forget_unnamed(*name)

    def _publish(self, name: ShelfName, shelf: Shelf) -> None:
        if isinstance(name, str):
            self.by_action[name] = shelf.cells
        else:
            action, tenant = name
            self.by_user[tenant] = {**self.by_user.get(tenant, {}), action: shelf.cells}

    def _withdraw(self, name: ShelfName) -> None:
        first = self._first() == name
        self.by_name.pop(name, None)
        if isinstance(name, str):
            self.by_action.pop(name, None)
        else:
            action, tenant = name
            others = {other: cells for other, cells in self.by_user.get(tenant, {}).items() if other != action}
            if others:
                self.by_user[tenant] = others
            else:
                self.by_user.pop(tenant, None)
        if first:
            self._begin_lap()

    def _first(self) -> ShelfName:
        """The shelf whose turn it is; the name of none where there is none."""
        while True:
            try:
                return next(iter(self.by_name), "")
            except RuntimeError:  # a call amid this one changed the order
                continue

    def _forget_unnamed(self, action: str, tenant: str) -> None:
        """Make room for another action once neither the tenant nor a user has a window for this one."""
        if (action, tenant) in self.by_name or self.get(action, tenant) is not None:
            return
        actions = self._unnamed.get(tenant)
        if actions is not None:
            actions.discard(action)
            if not actions:
                self._unnamed.pop(tenant, None)
