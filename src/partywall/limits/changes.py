"""The order of changes, so that no call can tear another apart.

A signal handler or a finalizer may call the limiter at almost any step of another call, on the very thread that holds
the lock. So a call notes on which change it builds, works out what to put in place, and adds that as the next change.
Adding is one call into the interpreter's C code: whoever comes second finds that another was first and starts over.
Only then is it put in place, by whoever comes next: each call first repeats the changes that are not known to be in
place, in their order, and so does a call that was interrupted amid one. Putting a cell in place twice is as good as
once, so after it every place holds what the last change says, also where a handler's exception ended a call halfway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from partywall.limits.cell import Cell

__all__ = ["Change", "Put", "ShelfName"]

ShelfName: TypeAlias = str | tuple[str, str]
"""An action, whose cells are by tenant, or a tenant's action, whose cells are by user."""
Put: TypeAlias = tuple[ShelfName, str, Cell | None, bool]
"""A shelf, a key, the cell that it is given or None if it is dropped, and whether the plan does not name the action."""


class Change(list["Change"]):
    """What is put in place together; as a list, the change that follows it first, and then those that came too late.

    Derived from ``list`` rather than holding one: one object less to make per call.
    """

    __slots__ = ("begun", "puts")

    puts: Sequence[Put]
    begun: bool
    """Whether somebody began to put it in place, and may not have come to the end."""
