"""The tests of the kit, put together in one class."""

from __future__ import annotations

from partywall.conformance.suite.concurrency import Concurrency
from partywall.conformance.suite.durability import Durability
from partywall.conformance.suite.engine import ThroughTheEngine
from partywall.conformance.suite.histories import Histories
from partywall.conformance.suite.interference import Interference
from partywall.conformance.suite.keys import Keys
from partywall.conformance.suite.mixture import Mixture
from partywall.conformance.suite.placing import Placing
from partywall.conformance.suite.reading import Reading
from partywall.conformance.suite.statements import Statements
from partywall.conformance.suite.transactions import Transactions
from partywall.conformance.suite.values import Values
from partywall.conformance.suite.wall import Wall

__all__ = ["Conformance"]


class Conformance(
    Placing,
    Transactions,
    Values,
    Wall,
    Reading,
    Keys,
    Statements,
    Durability,
    Concurrency,
    Histories,
    Mixture,
    Interference,
    ThroughTheEngine,
):
    """Subclass it, name your ``backend``, and pytest collects every test that it claims to pass."""
