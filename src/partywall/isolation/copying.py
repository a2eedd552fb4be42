"""Copying a tenant's rows from one place to another over the contract, and knowing that they are equal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from partywall.backend import Insert, Order, Row, Scan, Session
from partywall.errors import BackendError
from partywall.model import ID, Table

__all__ = ["End", "copy_rows"]

_PAGE: Final = 500
"""Rows that are read, and written, at a time."""


@dataclass(frozen=True, slots=True)
class End:
    """One end of a copy: a session, and whether its store reads in pages."""

    session: Session
    filters: bool

    def pages(self, table: Table) -> Iterator[list[Row]]:
        """All rows of the table, a page at a time."""
        if not self.filters:
            rows = list(self.session.scan(Scan(table)))
            yield from (rows[start : start + _PAGE] for start in range(0, len(rows), _PAGE))
            return
        after: tuple[str, ...] | None = None
        while True:
            page = list(self.session.scan(Scan(table, order_by=(Order(ID),), limit=_PAGE, after=after)))
            if page:
                yield page
            if len(page) < _PAGE:
                return
            after = (page[-1][ID],)


@dataclass(slots=True)
class _Digest:
    """Number and checksum of rows, whatever their order: a sum, because an exclusive or is blind to pairs."""

    count: int = 0
    total: int = field(default=0)

    def add(self, rows: Iterable[Row]) -> None:
        """Count more rows."""
        for row in rows:
            text = repr([(name, _plain(value)) for name, value in sorted(row.items())])
            digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            self.count += 1
            self.total = (self.total + int.from_bytes(digest)) % 2**128


def copy_rows(source: End, target: End, tables: Iterable[Table], told: Callable[[Table], None]) -> dict[str, int]:
    """Copy the rows of every table, read them back and compare; returns how many there are, by table.

    ``told`` hears of each page before it is written, and ends the copy by raising. BackendError when what was
    read back is not what was read. Nobody may write to the tenant's rows meanwhile.
    """
    counts: dict[str, int] = {}
    for table in tables:
        sent, kept = _Digest(), _Digest()
        for page in source.pages(table):
            told(table)
            sent.add(page)
            target.session.write(Insert(table, page))
        for page in target.pages(table):
            told(table)
            kept.add(page)
        if sent != kept:
            raise BackendError(f"the copy of table {table.name} is not equal to it; nothing was moved")
        counts[str(table.name)] = sent.count
    return counts


def _plain(value: Any) -> Any:
    """The value as stores that keep it exactly may differ in giving it back: signed zeros, names of UTC."""
    if type(value) is float:
        return value + 0.0
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
