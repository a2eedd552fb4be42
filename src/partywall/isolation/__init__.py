"""The wall: scoped queries, the guard that checks them, and where each tenant's data lives."""

from partywall.isolation.cursors import Cursors
from partywall.isolation.isolation import Isolation
from partywall.isolation.moving import Batch, Move
from partywall.isolation.pending import PendingMove, pending_moves
from partywall.isolation.places import StoreProblem
from partywall.isolation.query import Page, ScopedQuery
from partywall.isolation.rawsql import RawSql
from partywall.isolation.scope import CancelToken, TurnTaken, cancel_token, may_wait
from partywall.isolation.sealed import Sealed
from partywall.isolation.statements import Guard
from partywall.isolation.stores import Stores

__all__ = [
    "Batch",
    "CancelToken",
    "Cursors",
    "Guard",
    "Isolation",
    "Move",
    "Page",
    "PendingMove",
    "RawSql",
    "ScopedQuery",
    "Sealed",
    "StoreProblem",
    "Stores",
    "TurnTaken",
    "cancel_token",
    "may_wait",
    "pending_moves",
]
