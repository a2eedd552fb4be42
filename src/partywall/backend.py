"""The contract between the engine and a backend: everything that a plugin's author needs to read.

A backend keeps the rows of many tenants in one store and never lets one tenant reach another's. The
engine gives it statements that are already checked: tables and columns are declared, values have
their column's type, references and keys hold, and at most one writer works for a tenant at a time.
What the backend adds is the wall itself: a ``Session`` is bound to one tenant's ``Placement`` for life,
and nothing passed to it afterwards can widen its reach.

The required part is small. Whatever a backend does not claim as a ``Capability`` the engine does
over ``Session.scan``. A claimed capability is held to: the engine will not check after it.

Values in rows are ``str``, ``int`` (64 bits), finite ``float``, ``bool``, ``bytes``, ``date``, aware
``datetime`` in UTC, None, and for JSON columns ``str``: the document's canonical text, which the
engine writes and reads. A row always holds every declared column, ``id`` included.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypeAlias

from partywall.aggregates import Measure
from partywall.clock import Clock
from partywall.errors import BackendError
from partywall.model import Strategy, Table
from partywall.names import Region, TableName, TenantId
from partywall.operators import Condition

__all__ = [
    "Aggregate",
    "Backend",
    "BackendSetup",
    "BackendSpec",
    "Capability",
    "Count",
    "Delete",
    "Insert",
    "Order",
    "Placement",
    "Row",
    "Scan",
    "Session",
    "Sql",
    "Update",
    "Write",
]

Row: TypeAlias = dict[str, Any]
"""A row by column name."""


class Capability(StrEnum):
    """What a backend does itself, beyond the required part."""

    DURABLE = "durable"
    """A commit that returned survives the end of the process at any moment."""
    FILTERS = "filters"
    """``scan`` and ``count`` honour ``where``, ``order_by``, ``after`` and ``limit``."""
    AGGREGATES = "aggregates"
    """``aggregate`` groups and measures in the store."""
    KEYS = "keys"
    """``insert`` and ``update`` refuse a taken key with ConstraintViolation, and then write nothing."""
    INTERRUPTS = "interrupts"
    """``Session.interrupt`` makes a running statement fail soon, from any thread."""
    ARROW = "arrow"
    """``Session.arrow`` reads rows as an Arrow table; needs FILTERS."""
    SQL = "sql"
    """``Session.sql`` runs a statement of the tenant's own; needs INTERRUPTS, for its time limit."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one tenant's data lives: decided once, kept in the ledger, followed by every query."""

    tenant_id: TenantId
    strategy: Strategy
    backend: str
    region: Region | None
    location: str
    """What ``Backend.provision`` returned: the backend's own words for the place."""


@dataclass(frozen=True, slots=True)
class Order:
    """One sort key. Missing values come last either way; text sorts by code point."""

    column: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Scan:
    """Read the tenant's rows of a table. Without FILTERS only ``table`` needs to be looked at."""

    table: Table
    where: tuple[Condition, ...] = ()
    order_by: tuple[Order, ...] = ()
    limit: int | None = None
    after: tuple[Any, ...] | None = None
    """Only the rows that come after this key: one value for each sort key, the last of which is ``id``."""


@dataclass(frozen=True, slots=True)
class Count:
    """Count the tenant's rows that match. Sent only to a backend with FILTERS."""

    table: Table
    where: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Measure the tenant's rows that match, by group. Sent only to a backend with AGGREGATES.

    Missing values are left out of a measure; ``sum``, ``avg``, ``min`` and ``max`` of none is None. Rows come
    by group, a missing group value last.
    """

    table: Table
    measures: Mapping[str, Measure]
    """By the name of the result's column."""
    where: tuple[Condition, ...] = ()
    group_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Insert:
    """Add rows, each with every column; all or none."""

    table: Table
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Update:
    """Set the same columns in each of the tenant's rows with these ids; all or none."""

    table: Table
    ids: Sequence[str]
    changes: Row


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the tenant's rows with these ids; all or none."""

    table: Table
    ids: Sequence[str]


Write: TypeAlias = Insert | Update | Delete


@dataclass(frozen=True, slots=True)
class Sql:
    """Run one statement that a tenant wrote. Sent only to a backend with SQL, and outside of transactions.

    Text and parameters come from somebody who may be hostile: the engine looks at their size and the parameters'
    types, and at nothing else.
    """

    text: str
    """At most 64 kB of UTF-8."""
    parameters: Sequence[Any] | Mapping[str, Any]
    """Scalars, aware moments, and lists of them."""
    limit: int
    """The most rows to return; there may be more."""


class Session(ABC):
    """One tenant's conversation with the store; one thread at a time uses it, any may interrupt it.

    Outside ``begin`` and ``commit`` every statement is a transaction of its own. Errors: a taken key is
    a ConstraintViolation that names only the tenant's own table and columns; anything else that goes
    wrong is any exception, which the engine turns into a BackendError without its text.
    """

    @abstractmethod
    def begin(self, *, read_only: bool = False) -> None:
        """Start a transaction; the engine never nests them."""

    @abstractmethod
    def commit(self) -> None:
        """Make the transaction's writes last. Must raise, having written nothing, if any statement in it failed."""

    @abstractmethod
    def rollback(self) -> None:
        """Undo the transaction's writes; without a transaction, do nothing."""

    @abstractmethod
    def scan(self, statement: Scan) -> Sequence[Row]:
        """The tenant's rows, fully read: no cursor stays open."""

    def count(self, statement: Count) -> int:
        """The number of rows that match; called only with FILTERS."""
        return len(self.scan(Scan(statement.table, statement.where)))

    def aggregate(self, statement: Aggregate) -> Sequence[Row]:  # noqa: ARG002  # named for those who implement it
        """One row for each group, with its group columns and measures; called only with AGGREGATES."""
        raise BackendError("this backend does not aggregate")

    def arrow(self, statement: Scan) -> Any:  # noqa: ARG002  # as above
        """The rows of ``scan`` as a ``pyarrow.Table`` of every declared column; called only with ARROW."""
        raise BackendError("this backend does not make Arrow tables")

    def sql(self, statement: Sql) -> Sequence[Row]:  # noqa: ARG002  # named for those who implement it
        """The rows of a statement that only reads the tenant's declared tables; called only with SQL.

        QueryError, in the backend's own words, for a statement that may not run or that failed. It must be out of
        the statement's reach: to write, to see anything but the declared columns of the tenant's rows, or to take
        more of the process than the backend's limits say.
        """
        raise BackendError("this backend does not run SQL")

    @abstractmethod
    def write(self, statement: Write) -> int:
        """Carry out an Insert, Update or Delete; returns the number of rows that it touched."""

    def interrupt(self) -> None:  # noqa: B027  # optional: a backend without INTERRUPTS has nothing to do
        """Make the running statement, if any, fail soon; called from another thread, only with INTERRUPTS."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back; an open transaction is rolled back. Never raises."""


class Backend(ABC):
    """One open store under one isolation strategy. Its methods are called from many threads at once."""

    @abstractmethod
    def provision(self, tenant_id: TenantId, region: Region | None) -> str:
        """Make room for a tenant, or find the room made before a crash, and return its location."""

    @abstractmethod
    def drop(self, placement: Placement) -> None:
        """Destroy everything of the tenant's, down to its bytes on disk. Repeating it is no error."""

    def drop_many(self, placements: Sequence[Placement]) -> None:
        """Drop several tenants, as ``drop`` does each; a store may share the work. Repeating it is no error."""
        for placement in placements:
            self.drop(placement)

    @abstractmethod
    def stamp(self, placement: Placement) -> TenantId | None:
        """Whose data the place holds by the store's own record; None when it holds nobody's."""

    @abstractmethod
    def session(self, placement: Placement) -> Session:
        """A session bound to the tenant; refuses with IsolationBreach a place stamped for someone else."""

    def maintain(self) -> None:  # noqa: B027  # optional: most stores keep themselves
        """Do housekeeping that is due, such as checkpoints; called every second or so, from one thread."""

    def usable(self) -> bool:
        """False once the store serves nobody any more until it is opened anew: the engine closes it and does so."""
        return True

    def health(self) -> Mapping[str, str]:
        """What is wrong, by location; empty when all is well. Shown to operators, never to tenants."""
        return {}

    @abstractmethod
    def close(self) -> None:
        """Finish housekeeping and let go of the store. Sessions are closed before."""

    def __enter__(self) -> Backend:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _silent(_event: str, _details: Mapping[str, str]) -> None:
    return


@dataclass(frozen=True, slots=True)
class BackendSetup:
    """What a backend is opened with."""

    tables: Mapping[TableName, Table]
    """The declared tables. Tables and columns that the store lacks are added when it opens."""
    folder: Callable[[Region | None], Path]
    """The existing folder that belongs to this backend in a region; KeyError for an undeclared region."""
    clock: Clock
    options: Mapping[str, Any] = field(default_factory=dict)
    """``options`` of engine.yaml; a backend refuses those that it does not know, with ConfigError."""
    report: Callable[[str, Mapping[str, str]], None] = _silent
    """Tell operators of an event worth a record, such as ``("shard.restored", {"shard": "07"})``."""
    regions: Sequence[Region] = ()
    """The declared regions, beside None for tenants without one."""

    def every_region(self) -> Iterator[Region | None]:
        """None, then each declared region."""
        yield None
        yield from self.regions


@dataclass(frozen=True, slots=True)
class BackendSpec:
    """What a plugin announces: one backend, and how to open it."""

    name: str
    """In kebab-case, ``<store>-<what>``; engine.yaml chooses by it and placements record it."""
    strategy: Strategy
    open: Callable[[BackendSetup], Backend]
    capabilities: frozenset[Capability] = frozenset()
    enforced_by: Literal["engine", "adapter"] = "adapter"
    """Who holds the wall: the store itself, whatever it is told, or the adapter's own statements."""
    summary: str = ""
    """One line for ``partywall plugins``."""
