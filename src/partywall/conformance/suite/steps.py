"""What tenants do in a random history: drawn as plain data, carried out on a store, and on plain dicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hypothesis import strategies as st

from partywall.backend import Capability, Count, Delete, Insert, Order, Row, Scan, Session, Update, Write
from partywall.conformance.suite.kit import MINE, OTHERS
from partywall.conformance.suite.reference import scanned
from partywall.conformance.suite.sample import ACCOUNTS, account
from partywall.errors import ConstraintViolation, PartywallError
from partywall.model import ID
from partywall.operators import Condition, Operator

__all__ = ["READS", "TENANTS", "TRANSACTIONS", "WRITES", "Read", "Rows", "Transaction", "applied", "outcome", "read"]

Rows = dict[str, Row]
"""One tenant's accounts by id, in the order in which they came."""

TENANTS = (MINE, *OTHERS)
IDS = st.sampled_from(["a", "A", "b", "c", "ten_mine01", "%"])
EMAILS = st.sampled_from([None, "", "a@x", "A@x", "b%", "\\", "é"])
TEAMS = st.sampled_from([None, "red", "Red"])
SEATS = st.sampled_from([None, 0, -1, 2**63 - 1])

FRESH = st.builds(account, IDS, EMAILS, TEAMS, SEATS)
CHANGES = st.fixed_dictionaries({}, optional={"email": EMAILS, "team": TEAMS, "seat": SEATS}).filter(bool)
SOME_IDS = st.lists(IDS, max_size=3, unique=True).map(tuple)

WRITES: st.SearchStrategy[Write] = st.one_of(
    st.builds(lambda rows: Insert(ACCOUNTS, rows), st.lists(FRESH, min_size=1, max_size=3)),
    st.builds(lambda ids, changes: Update(ACCOUNTS, ids, changes), SOME_IDS, CHANGES),
    st.builds(lambda ids: Delete(ACCOUNTS, ids), SOME_IDS),
)

CONDITIONS = st.one_of(
    st.builds(
        Condition,
        st.just("email"),
        st.sampled_from([Operator.EQ, Operator.NE, Operator.GT, Operator.LE, Operator.LIKE]),
        EMAILS.filter(lambda value: value is not None and value != "\\"),
    ),
    st.builds(Condition, st.just("seat"), st.sampled_from([Operator.GE, Operator.LT]), st.just(0)),
    st.builds(Condition, st.sampled_from(["team", "seat"]), st.sampled_from([Operator.IS_NULL, Operator.NOT_NULL])),
    st.builds(Condition, st.just(ID), st.sampled_from([Operator.IN, Operator.NOT_IN]), SOME_IDS),
)


@dataclass(frozen=True, slots=True)
class Read:
    """A look at the accounts; without FILTERS, at all of them."""

    where: tuple[Condition, ...]
    order: Literal["", "email", "-email", "seat"]
    limit: int | None

    @property
    def scan(self) -> Scan:
        """As a statement; sorted at least by id, so that its order is one only."""
        column = self.order.removeprefix("-")
        orders = (Order(column, self.order.startswith("-")),) if column else ()
        return Scan(ACCOUNTS, self.where, (*orders, Order(ID)), self.limit)


READS = st.builds(
    Read,
    st.lists(CONDITIONS, max_size=2).map(tuple),
    st.sampled_from(["", "email", "-email", "seat"]),
    st.sampled_from([None, 0, 1, 2]),
)


@dataclass(frozen=True, slots=True)
class Transaction:
    """Some writes, and how they end."""

    writes: tuple[Write, ...]
    end: Literal["commit", "rollback", "close"]


TRANSACTIONS = st.builds(
    Transaction, st.lists(WRITES, min_size=1, max_size=4).map(tuple), st.sampled_from(["commit", "rollback", "close"])
)


def applied(rows: Mapping[str, Row], write: Write) -> tuple[Rows, int]:
    """The rows after a write, and how many it touched; ConstraintViolation when a key is taken."""
    after: Rows = {row_id: dict(row) for row_id, row in rows.items()}
    match write:
        case Insert(_, added):
            touched = len(added)
            after |= {row[ID]: dict(row) for row in added}
            if len(after) != len(rows) + len(added):
                raise ConstraintViolation
        case Update(_, ids, changes):
            found = [row_id for row_id in ids if row_id in after]
            touched = len(found)
            for row_id in found:
                after[row_id] = {**after[row_id], **changes}
        case Delete(_, ids):
            touched = len([after.pop(row_id) for row_id in ids if row_id in after])
    for key in ACCOUNTS.unique:
        taken = [values for row in after.values() if None not in (values := tuple(row[column] for column in key))]
        if len(set(taken)) != len(taken):
            raise ConstraintViolation
    return after, touched


def read(session: Session, look: Read, capabilities: frozenset[Capability]) -> tuple[list[Row], int]:
    """What a session shows, and how much it counts; filtered here when the store does not."""
    if Capability.FILTERS not in capabilities:
        rows = scanned(session.scan(Scan(ACCOUNTS)), look.scan)
        return rows, len(scanned(rows, Scan(ACCOUNTS, look.where)))
    return [dict(row) for row in session.scan(look.scan)], session.count(Count(ACCOUNTS, look.where))


def outcome(error: Exception) -> str:
    """What a tenant is told of an error: the engine passes on the texts of partywall's own errors only."""
    return f"{type(error).__name__}: {error}" if isinstance(error, PartywallError) else type(error).__name__
