"""Where cells are kept: by action and tenant, or by user where a rule is for each user; idle ones are forgotten.

Keys are canonical tenant ids and legal actions only, checked before anything is kept. What a caller could
make without end, users and actions that no plan names, is bounded for each tenant: beyond the bound one
window is shared, so that usage is never forgotten and no other tenant notices.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from partywall.limits.cell import CLOSED, Cell

__all__ = ["Shelf", "ShelfName", "Shelves"]

ShelfName: TypeAlias = str | tuple[str, str]
"""An action, whose cells are by tenant, or a tenant's action, whose cells are by user."""
_UNNAMED: Final = 100
_LIVE: Final = 3
_DEAD: Final = 16
_SPARSE: Final = 1024


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

    def look(self, now: int) -> str | None:
        """Look at the key that waited longest; returns it if its windows were over and it was dropped."""
        key = self.ring.popleft()
        cell = self.cells[key]
        # As if everything were taken that somebody may still be about to take.
        if now < cell.rule.over_at(cell.all_spent()):
            self.ring.append(key)
            return None
        del self.cells[key]
        return key

    def compact(self) -> bool:
        """Give back the room of keys that were dropped, once it is most of the room; the map is then a new one."""
        if self.most < _SPARSE or len(self.cells) * 8 > self.most:
            return False
        self.cells = dict(self.cells)
        self.most = len(self.cells)
        return True


class Shelves:
    """Every cell of a limiter. Whoever calls its methods holds the limiter's lock."""

    def __init__(self) -> None:
        self.by_action: dict[str, dict[str, Cell]] = {}
        """Cells by action and tenant: read without the lock."""
        self.by_user: dict[str, dict[str, dict[str, Cell]]] = {}
        """Cells by tenant, action and user: read without the lock."""
        self.by_name: dict[ShelfName, Shelf] = {}
        """Every shelf; a key that is there may be given another cell in place of its own, once that was drained."""
        self._unnamed: dict[str, set[str]] = {}
        self._order: deque[ShelfName] = deque()
        self._lap = 0
        self.closings = 0
        """How often cells were closed."""

    def __len__(self) -> int:
        return sum(len(shelf.cells) for shelf in self.by_name.values())

    def get(self, name: ShelfName, key: str) -> Cell | None:
        """The key's cell."""
        shelf = self.by_name.get(name)
        return shelf.cells.get(key) if shelf else None

    def put(self, name: ShelfName, key: str, cell: Cell, *, unnamed: bool = False) -> None:
        """Publish a key's cell; ``unnamed`` says that the plan does not name the action."""
        shelf = self.by_name.get(name)
        if shelf is None:
            shelf = self.by_name[name] = Shelf()
            self._order.append(name)
            self._publish(name, shelf)
        shelf.put(key, cell)
        if unnamed:
            action, tenant = (name, key) if isinstance(name, str) else name
            self._unnamed.setdefault(tenant, set()).add(action)

    def has_room(self, name: ShelfName, key: str, most: int) -> bool:
        """Whether the shelf holds the key, or fewer than ``most``."""
        shelf = self.by_name.get(name)
        return shelf is None or key in shelf.cells or len(shelf.cells) < most

    def has_room_for_unnamed(self, tenant: str, action: str) -> bool:
        """Whether the tenant may have a window of its own for an action that its plan does not name."""
        actions = self._unnamed.get(tenant)
        return actions is None or action in actions or len(actions) < _UNNAMED

    def close(self, tenants: Iterable[str]) -> None:
        """Let nobody pass by the cells of these tenants without a look at the directory."""
        self.closings += 1
        for tenant in tenants:
            for cells in self.by_action.values():
                if tenant in cells:
                    cells[tenant].end = CLOSED
            for cells in self.by_user.get(tenant, {}).values():
                _close(cells)

    def close_all(self) -> None:
        """Let nobody pass by any cell without a look at the directory."""
        self.closings += 1
        for shelf in self.by_name.values():
            _close(shelf.cells)

    def sweep(self, now: int, live: int = _LIVE, dead: int = _DEAD) -> None:
        """Drop up to ``dead`` idle keys, meeting up to ``live`` that are not; goes on where it stopped last time."""
        while live > 0 and dead > 0 and self._order:
            if not self._lap:
                self._next_shelf()
                live -= 1
            else:
                self._lap -= 1
                if self._look(self._order[0], now):
                    dead -= 1
                else:
                    live -= 1

    def sweep_all(self, now: int) -> None:
        """Drop every idle key."""
        twice = 2 * (len(self) + len(self.by_name)) + 1
        self.sweep(now, twice, twice)

    def _look(self, name: ShelfName, now: int) -> bool:
        key = self.by_name[name].look(now)
        if key is not None and isinstance(name, str) and (name, key) not in self.by_name:
            self._forget_unnamed(name, key)
        return key is not None

    def _next_shelf(self) -> None:
        name = self._order[0]
        shelf = self.by_name[name]
        if not shelf.cells:
            self._withdraw(self._order.popleft())
        else:
            if shelf.compact():
                self._publish(name, shelf)
            self._order.rotate(-1)
        self._lap = len(self.by_name[self._order[0]].ring) if self._order else 0

    def _publish(self, name: ShelfName, shelf: Shelf) -> None:
        if isinstance(name, str):
            self.by_action[name] = shelf.cells
        else:
            action, tenant = name
            self.by_user[tenant] = {**self.by_user.get(tenant, {}), action: shelf.cells}

    def _withdraw(self, name: ShelfName) -> None:
        del self.by_name[name]
        if isinstance(name, str):
            del self.by_action[name]
            return
        action, tenant = name
        if tenant not in self.by_action.get(action, {}):
            self._forget_unnamed(action, tenant)
        self.by_user[tenant] = {other: cells for other, cells in self.by_user[tenant].items() if other != action}
        if not self.by_user[tenant]:
            del self.by_user[tenant]

    def _forget_unnamed(self, action: str, tenant: str) -> None:
        actions = self._unnamed.get(tenant)
        if actions is not None:
            actions.discard(action)
            if not actions:
                del self._unnamed[tenant]


def _close(cells: Mapping[str, Cell]) -> None:
    for cell in cells.values():
        cell.end = CLOSED
