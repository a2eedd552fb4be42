"""Calls of a scoped query, drawn from a seed: ordinary ones, hostile ones, and what the engine must say of those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from random import Random
from typing import Any, Final

from partywall.aggregates import avg, count, max_, min_, sum_
from partywall.model import ID
from partywall.operators import between, ge, gt, in_, is_null, le, like, lt, ne, not_in, not_null

__all__ = ["STRANGE", "Call", "Refused", "drawn"]

STRANGE: Final = "a cursor that somebody else was given"
"""Stands for a cursor of another tenant's, which is known only when the call is made."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An error as a caller sees it: what it is and what it says."""

    error: str
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a scoped query's method."""

    method: str
    table: str
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    refused: Refused | None = None
    """What the engine says before any store is asked; None for a call that reaches the store."""


IDS: Final = ("a", "A", "b", "B", "%", "..", "ten_mine01", "~", *(f"r{number}" for number in range(10)))
VALUES: Final[dict[str, dict[str, tuple[Any, ...]]]] = {
    "specimens": {
        "label": (None, "", "red", "Red", "a%", "é", "x_y", "' OR '1'='1"),
        "amount": (None, 0, -1, 7, 2**63 - 1, -(2**63)),
        "score": (None, 0.5, -2.25, 3.0),
        "flag": (None, True, False),
        "moment": (None, datetime(1, 1, 1, tzinfo=UTC), datetime(2026, 3, 29, 1, 30, 0, 1, tzinfo=UTC)),
        "day": (None, date(1970, 1, 1), date(9999, 12, 31)),
        "raw": (None, b"", b"\0\xff"),
        "document": (None, {"a": [1, None, "é"]}, [], "text"),
    },
    "accounts": {
        "email": (None, "", *(f"{name}@x" for name in "abcdefghijklmnopABCDE"), "b%", "\\", "é"),
        "team": (None, "red", "Red", "blue"),
        "seat": (None, *range(-2, 8), 2**63 - 1),
    },
    "parts": {"specimen": (None, *IDS), "label": (None, "red", "bolt", "")},
}
_TABLES: Final = ("accounts",) * 9 + ("specimens",) * 7 + ("parts",) * 4
_CONDITIONS: Final[dict[str, dict[str, tuple[Any, ...]]]] = {
    "specimens": {
        "label": ("red", "a%", None, like("%e%"), like("x\\_y"), ne("red"), in_("red", "é")),
        "amount": (0, gt(-1), le(7), between(-1, 7), is_null(), not_in(0, 7)),
        "score": (0.5, lt(0.0), not_null()),
        "flag": (True, ne(value=True), None),
        "moment": (gt(datetime(2000, 1, 1, tzinfo=UTC)), None),
        "day": (date(1970, 1, 1), ge(date(2000, 1, 1))),
        "raw": (b"", ne(b"")),
        "document": (is_null(), not_null()),
    },
    "accounts": {
        "email": ("a@x", "A@x", gt("c@x"), like("%@x"), like("_@x"), in_("", "b%"), is_null()),
        "team": ("red", "Red", ne("red"), None, not_null()),
        "seat": (3, lt(2), between(0, 4), in_(), not_in(1, 2)),
    },
    "parts": {"specimen": (*IDS[:4], is_null(), ne("a")), "label": ("red", like("b%"), None)},
}
_ORDERS: Final[dict[str, tuple[Any, ...]]] = {
    "specimens": (None, None, "label", "-amount", ("flag", "-day"), "-id"),
    "accounts": (None, None, "email", "-email", ("team", "-seat"), "-id"),
    "parts": (None, None, "-specimen", "label"),
}
_MEASURES: Final[dict[str, dict[str, Any]]] = {
    "specimens": {"n": count(), "sum": sum_("amount"), "mean": avg("score"), "last": max_("moment")},
    "accounts": {"n": count("email"), "sum": sum_("seat"), "least": min_("email")},
    "parts": {"n": count(), "some": count("specimen")},
}
_GROUPS: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "specimens": ((), ("flag",), ("label", "flag")),
    "accounts": ((), ("team",), ("team", "seat")),
    "parts": ((), ("specimen",)),
}


def drawn(rng: Random, own: str, other: str, *, anonymous: bool) -> Call:
    """The next call of the tenant ``own``; ``other`` is a neighbour's id.

    ``anonymous`` rows, whose ids the engine makes, come only on demand: no two runs give them the same ids.
    """
    return rng.choice(_METHODS)(_Draw(rng, rng.choice(_TABLES), own, other, anonymous))


@dataclass(frozen=True, slots=True)
class _Draw:
    rng: Random
    table: str
    own: str
    other: str
    anonymous: bool

    @property
    def row_id(self) -> str:
        return self.rng.choice(IDS)

    def where(self) -> dict[str, Any]:
        """Up to two conditions, on ids too; now and then beside the tenant's own id, which changes nothing."""
        columns = _CONDITIONS[self.table]
        chosen = self.rng.sample(list(columns), self.rng.randrange(3))
        where = {column: self.rng.choice(columns[column]) for column in chosen}
        chance = self.rng.random()
        if chance < 0.15:
            where[ID] = self.rng.choice((gt("b"), in_("a", "r1", "r2", "%"), not_in("a", "A"), like("r%"), ne("r3")))
        if chance > 0.95:
            where["tenant_id"] = self.own
        return where

    def changes(self, least: int = 1) -> dict[str, Any]:
        columns = VALUES[self.table]
        # References are drawn less often: most of them would be refused, and end a transaction.
        names = [name for name in columns if name != "specimen" or self.rng.random() < 0.3] or list(columns)
        chosen = self.rng.sample(names, min(len(names), self.rng.randint(least, 3)))
        return {name: self.rng.choice(columns[name]) for name in chosen}

    def row(self) -> dict[str, Any]:
        named: dict[str, Any] = {} if self.anonymous and self.rng.random() < 0.1 else {ID: self.row_id}
        marked = {"tenant_id": self.own} if self.rng.random() < 0.03 else {}
        return {**named, **self.changes(least=0), **marked}


def _get(draw: _Draw) -> Call:
    return Call("get", draw.table, (draw.row_id,))


def _select(draw: _Draw) -> Call:
    limit = draw.rng.choice((None, None, None, 0, 1, 5))
    keywords = {"order_by": draw.rng.choice(_ORDERS[draw.table]), "limit": limit}
    return Call("select", draw.table, (draw.where(),), keywords)


def _page(draw: _Draw) -> Call:
    keywords = {"order_by": draw.rng.choice(_ORDERS[draw.table]), "limit": draw.rng.choice((1, 3, 7))}
    return Call("page", draw.table, (draw.where(),), keywords)


def _next_page(draw: _Draw) -> Call:
    return Call("next_page", draw.table)


def _count(draw: _Draw) -> Call:
    return Call("count", draw.table, (draw.where(),))


def _aggregate(draw: _Draw) -> Call:
    keywords = {"where": draw.where(), "group_by": draw.rng.choice(_GROUPS[draw.table])}
    return Call("aggregate", draw.table, (_MEASURES[draw.table],), keywords)


def _insert(draw: _Draw) -> Call:
    return Call("insert", draw.table, (draw.row(),))


def _insert_many(draw: _Draw) -> Call:
    return Call("insert_many", draw.table, ([draw.row() for _ in range(draw.rng.randint(2, 5))],))


def _update(draw: _Draw) -> Call:
    return Call("update", draw.table, (draw.row_id, draw.changes()))


def _update_where(draw: _Draw) -> Call:
    return Call("update_where", draw.table, (draw.where(), draw.changes()))


def _delete(draw: _Draw) -> Call:
    return Call("delete", draw.table, (draw.row_id,))


def _delete_where(draw: _Draw) -> Call:
    return Call("delete_where", draw.table, (draw.where(),))


def _upsert(draw: _Draw) -> Call:
    if draw.table != "accounts":
        return Call("upsert", draw.table, ({ID: draw.row_id, **draw.changes(least=0)},), {"key": None})
    key = draw.rng.choice((None, "email", ("team", "seat")))
    row = {ID: draw.row_id, **draw.changes(least=2)}
    if key is not None and draw.anonymous and draw.rng.random() < 0.5:
        del row[ID]
    return Call("upsert", draw.table, (row,), {"key": key})


def _refused(draw: _Draw) -> Call:
    """A call that the engine refuses before it asks a store, with the words that it must have."""
    foreign = {"tenant_id": draw.other}
    rows = [draw.row(), {**draw.row(), **foreign}]
    own = "tenant_id is not this scope's; a row belongs to the tenant whose handle writes it"
    stranger = "the cursor was not made by this tenant for this table, where and order_by"
    attacks: Sequence[tuple[str, str, tuple[Any, ...], dict[str, Any], str]] = (
        ("insert", "accounts", ({**foreign, "seat": 1},), {}, own),
        ("insert_many", draw.table, (rows,), {}, own),
        ("update", draw.table, (draw.row_id, foreign), {}, own),
        ("update_where", draw.table, ({}, foreign), {}, own),
        ("select", draw.table, (foreign,), {}, own),
        ("count", draw.table, (foreign,), {}, own),
        ("delete_where", draw.table, (foreign,), {}, own),
        ("aggregate", draw.table, ({"n": count()},), {"where": foreign}, own),
        ("upsert", draw.table, ({ID: draw.row_id, **foreign},), {}, own),
        ("page", draw.table, (), {"cursor": STRANGE}, stranger),
        ("select", "x.accounts", (), {}, "unknown table 'x.accounts'; did you mean 'accounts'?"),
        ("update", draw.table, (draw.row_id, {}), {}, "update needs at least one column"),
        ("update", draw.table, (draw.row_id, {ID: "a"}), {}, f"{draw.table}.id never changes; insert a new row"),
    )
    method, table, arguments, keywords, text = draw.rng.choice(attacks)
    return Call(method, table, arguments, keywords, Refused("QueryError", text))


_WEIGHTS: Final = {
    _get: 18,
    _select: 6,
    _page: 1,
    _next_page: 1,
    _count: 12,
    _aggregate: 2,
    _insert: 18,
    _insert_many: 3,
    _update: 18,
    _delete: 12,
    _upsert: 4,
    _update_where: 1,
    _delete_where: 2,
    _refused: 8,
}
_METHODS: Final = tuple(method for method, weight in _WEIGHTS.items() for _ in range(weight))
