"""One tenant at work: makes the calls that a seed draws, some of them in transactions, and keeps what it is told."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import Context
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from partywall.conformance.suite.calls import STRANGE, Call, Refused, drawn
from partywall.errors import PartywallError
from partywall.isolation import ScopedQuery

__all__ = ["NO_CURSOR", "Actor", "Told"]

NO_CURSOR: Final = "bm9ib2R5cw"
"""Well-formed, and nobody's."""
_OUTSIDE: Final = 0.1
"""How often a tenant with an open transaction calls from outside it, where nothing of it may show."""


class _Regret(Exception):
    """What a block raises that wants its transaction undone."""


@dataclass(frozen=True, slots=True)
class Told:
    """A call, where it was made, and the answer."""

    call: Call
    inside: bool
    """Whether it was made in the tenant's transaction."""
    answer: Any


class Actor:
    """A tenant, its handle and its chance.

    What it does follows from its seed and from what it is told, and from nothing that others do. Its transactions
    are entered in a context of their own, so that those of several tenants are open together in one thread.
    """

    def __init__(
        self, query: ScopedQuery, seed: str, other: str, stranger: Callable[[], str], *, anonymous: bool
    ) -> None:
        self.query = query
        self.cursor: str | None = None
        """Where the last page ended."""
        self._chance = Random(seed)  # noqa: S311  # the same each time, on purpose
        self._other = other
        self._stranger = stranger
        self._anonymous = anonymous
        self._context = Context()
        self._transaction: AbstractContextManager[ScopedQuery] | None = None
        self._left = 0
        self._page: Call | None = None

    def turn(self) -> Told:
        """The next thing that the tenant does: a call, or the begin or end of a transaction."""
        if self._transaction is None and self._chance.random() < 0.2:
            self._left = self._chance.randint(10, 100)
            return self.begin()
        if self._transaction is not None and self._left <= 0:
            return self.end(self._chance.choice(("commit", "commit", "rollback")))
        self._left -= 1
        call = drawn(self._chance, self.query.tenant_id, self._other, anonymous=self._anonymous)
        return self.make(call, inside=self._transaction is not None and self._chance.random() >= _OUTSIDE)

    def make(self, call: Call, *, inside: bool) -> Told:
        """Make a call, in the open transaction or not."""
        context = self._context if inside else Context()
        answer = self._answered(lambda: context.run(self._carry_out, call))
        if inside and isinstance(answer, Refused) and call.refused is None:
            # It failed, and so has the transaction: one call more, to see that, and it ends.
            self._left = min(self._left, 1)
        return Told(call, inside, answer)

    def begin(self) -> Told:
        """Open a transaction."""
        self._context = Context()
        self._transaction = self.query.transaction()
        entered = self._transaction.__enter__
        return Told(Call("begin", ""), True, self._answered(lambda: self._context.run(entered) is self.query))

    def end(self, how: str = "commit") -> Told:
        """Close the open transaction, with ``commit`` or ``rollback``."""
        block, self._transaction = self._transaction, None
        assert block is not None
        regret = _Regret() if how == "rollback" else None
        leaving = (None, None, None) if regret is None else (_Regret, regret, None)
        return Told(Call(how, ""), True, self._answered(lambda: bool(self._context.run(block.__exit__, *leaving))))

    @property
    def busy(self) -> bool:
        """Whether a transaction is open."""
        return self._transaction is not None

    def _carry_out(self, call: Call) -> Any:
        match call.method:
            case "page" if call.keywords.get("cursor") == STRANGE:
                return self.query.page(call.table, *call.arguments, cursor=self._stranger())
            case "page":
                return self._turned(call, None)
            case "next_page":
                return None if self._page is None else self._turned(self._page, self.cursor)
            case method:
                return getattr(self.query, method)(call.table, *call.arguments, **call.keywords)

    def _turned(self, page: Call, cursor: str | None) -> tuple[Any, bool]:
        found = self.query.page(page.table, *page.arguments, **page.keywords, cursor=cursor)
        self.cursor = found.cursor
        self._page = page if found.cursor is not None else None
        return found.rows, found.cursor is not None

    def _answered(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except PartywallError as error:
            return Refused(type(error).__name__, str(error))
        except Exception as error:  # noqa: BLE001  # what a caller sees of it is what is compared
            return Refused(type(error).__name__, "")
