"""The handle to a reservation: what is held of a tenant's quotas until it is settled."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from partywall.errors import LedgerError, ReservationEnded

if TYPE_CHECKING:
    from partywall.ledger import ReservationRecord
    from partywall.names import TenantId
    from partywall.quotas.reservations import Reservations

__all__ = ["Reservation", "Settlement"]

_log: Final = logging.getLogger("partywall.quotas")


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of a reservation that was committed, by metric."""

    counted: Mapping[str, int]
    given_back: Mapping[str, int]
    overrun: Mapping[str, int]
    """What was used beyond the reserved amounts, whether or not the plan has it counted."""


class Reservation:
    """A held part of a tenant's quotas. Made by ``quotas.reserve``; safe to share between threads.

    Leaving its ``with`` block without a commit gives all of it back, also on an exception.
    """

    def __init__(self, service: Reservations, record: ReservationRecord, *, first: bool) -> None:
        self._service = service
        self._record = record
        # A repeat under the same key must not give back what the first call still works with.
        self._open = first

    @property
    def id(self) -> str:
        """``res_`` and 32 hexadecimal digits."""
        return self._record.id

    @property
    def tenant_id(self) -> TenantId:
        """Whose quotas are held."""
        return self._record.tenant_id

    @property
    def amounts(self) -> Mapping[str, int]:
        """What is held, by metric."""
        return MappingProxyType(dict(self._record.amounts))

    def commit(self, **actual: int) -> Settlement:
        """Count what was used in the end, such as ``tokens=6_312``; a metric that is not named as reserved.

        Less gives the rest back; more is counted too, or only recorded, as the plan's ``reservations.overrun``
        says. Accepted for a tenant that was suspended meanwhile. Raises ReservationEnded (committed, released or
        expired before; nothing is counted again), InvalidArgument, LedgerError.
        """
        settlement = self._service.commit(self.id, actual)
        self._open = False
        return settlement

    def release(self) -> None:
        """Give all of it back; no error when that was done before.

        Raises ReservationEnded (it was counted), LedgerError.
        """
        self._service.release(self.id)
        self._open = False

    def extend(self, lease: float = 300.0) -> None:
        """Let the lease end so many seconds from now.

        Raises ReservationEnded, InvalidArgument, LedgerError, the refusals of a tenant that is not in service.
        """
        self._service.extend(self.id, lease)

    def __enter__(self) -> Reservation:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._open:
            return
        try:
            self.release()
        except ReservationEnded:
            self._open = False
        except LedgerError:
            # The garbage collector may close a generator on the ledger's own thread, which can wait for no write.
            self._release_soon()

    def _release_soon(self) -> None:
        try:
            self._service.release_soon(self.id)
        except LedgerError:
            # What made the block end must be seen, not this: the lease ends by itself.
            _log.warning("reservation %s could not be given back; it ends with its lease", self.id, exc_info=True)

    def __repr__(self) -> str:
        return f"<Reservation {self.id} {dict(self.amounts)}>"
