"""One file of one or many tenants, from opening to checkpoint and repair."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from typing import ClassVar, Final

import duckdb

from partywall.backend import BackendSetup
from partywall.errors import BackendError, ConfigError, IsolationBreach, PartywallError
from partywall.model import Table
from partywall.names import Region, TenantId
from partywall.sql import Statements, quote
from partywall_duckdb.contents import Contents
from partywall_duckdb.files import StoreFiles, Unusable
from partywall_duckdb.gate import PATIENCE, Busy, Gate
from partywall_duckdb.hub import Cursor, Hub, run
from partywall_duckdb.tables import OWN, TENANT, TENANT_TYPE, fingerprint

__all__ = ["DAMAGED", "Store", "place_of"]

_log = logging.getLogger(__name__)

DAMAGED: Final = "the store of this tenant is damaged; its operator was told"
_FORMAT: Final = 1
_PAUSE: Final = 10.0
"""Seconds between two attempts at a checkpoint that found no moment, or at opening a damaged file."""
_REST: Final = 600.0
"""Seconds until the next checkpoint after one that failed: each failure takes the file out of service for a moment."""


class _Stranger(Exception):
    """The file carries the stamp of another place."""


def place_of(region: Region | None, location: str) -> str:
    """The words that a file is stamped with: a file that was moved to another place is recognised."""
    return f"{region or ''}/{location}"


class Store:
    """The tenants of one file. What goes wrong with it is its own: it refuses, and the others work."""

    kind: ClassVar[str] = "store"
    """What reports to operators call it, as in ``shard.damaged``."""

    def __init__(
        self, setup: BackendSetup, hub: Hub, files: StoreFiles, place: str, gate: Gate, contents: Contents
    ) -> None:
        self.hub = hub
        self.place = place
        self.gate = gate
        self.tenants: frozenset[str] = frozenset()
        self.problem: str | None = None
        """What is wrong, for operators; None when all is well."""
        self.refusal: type[PartywallError] = BackendError
        """What is raised while something is wrong."""
        self.rested_at = 0.0
        """The monotonic time before which no checkpoint is tried, because one has failed."""
        self._setup = setup
        self._files = files
        self._contents = contents
        self._alias = contents.catalog
        self._misfits: dict[str, str] = {}
        self._attached = False
        self._again = 0.0
        self._housekeeping = threading.Lock()

    @property
    def tables(self) -> Iterable[Table]:
        """The declared tables."""
        return self._setup.tables.values()

    def open(self) -> None:
        """Take the file into service if it is there; ConfigError when it does not fit tables.yaml."""
        with self._housekeeping:
            self._open()

    def require(self, tenant: TenantId) -> None:
        """Refuse a damaged file with BackendError, and a tenant that it does not hold with IsolationBreach."""
        self.require_sound()
        if tenant not in self.tenants:
            raise IsolationBreach("the place that was named holds nothing of this tenant")

    def statements(self, tenant: TenantId) -> Statements:
        """What renders the statements of a tenant that the file holds; refuses as ``require`` does."""
        self.require(tenant)
        try:
            statements = self._contents.statements(tenant)
        except (duckdb.Error, ConfigError, IsolationBreach) as error:
            self._misfits[tenant] = _first_line(error)
            if isinstance(error, duckdb.Error):
                raise BackendError("what the tenant has in the store cannot be used; its operator was told") from None
            raise
        self._misfits.pop(tenant, None)
        return statements

    def health(self) -> dict[str, str]:
        """What is wrong with the file, or with one tenant's part of it, by place."""
        place = self.place.lstrip("/")
        found = {f"{place}/{tenant}": problem for tenant, problem in list(self._misfits.items())}
        return found if self.problem is None else {**found, place: self.problem}

    def stamp(self, tenant: TenantId) -> TenantId | None:
        """The tenant, if the file itself says that it holds it."""
        self.gate.enter(writing=False, patience=PATIENCE)
        try:
            self.require_sound()
            if not self._attached:
                return None
            with closing(self.hub.cursor()) as cursor:
                found = run(cursor, f"SELECT 1 FROM {self._own('tenants')} WHERE {quote(TENANT)} = ?", [tenant])  # noqa: S608  # quoted names only
        finally:
            self.gate.leave(writing=False)
        return tenant if found else None

    def admit(self, tenant: TenantId) -> None:
        """Make the tenant one of this file's; repeating it is no error."""
        with self._housekeeping:
            self.require_sound()
            if not self._attached:
                self._create()
            if tenant not in self.tenants:
                try:
                    self._admit(tenant)
                except duckdb.Error as error:
                    raise self._no_room(error) from None

    def maintain(self, log_limit: int) -> None:
        """Do what is due: a checkpoint when the log is longer than ``log_limit`` bytes, or another look at damage."""
        now = self._setup.clock.monotonic()
        if now < self._again:
            return
        with self._housekeeping:
            if self.problem is not None:
                self._again = now + _PAUSE
                self._reopen()
            elif self._attached and not self._files.in_place():
                self._fail("its file was replaced or removed while it was in use")
            elif now >= self.rested_at and self.log_size() > log_limit and not self._checkpointed(1.0):
                self._again = now + _PAUSE

    def log_size(self) -> int:
        """Bytes that were committed since the last checkpoint."""
        return self._files.log_size() if self._attached else 0

    def close(self, *, checkpoint: bool = True) -> None:
        """Let go of the file, after a checkpoint if there is anything in its log."""
        with self._housekeeping:
            if checkpoint and self._attached and self.problem is None and self._files.log_size():
                self._checkpointed(1.0)
            with suppress(duckdb.Error):
                self._detach()

    def require_sound(self) -> None:
        """Refuse a damaged file: with IsolationBreach when it is somebody else's, with BackendError otherwise."""
        if self.problem is not None:
            raise self.refusal(DAMAGED)

    def _open(self) -> None:
        # The tenants stay as they were until the new ones are known: sessions are given out meanwhile.
        try:
            if self._files.settle():
                self._attach_or_restore()
                self.tenants = self._in_service()
            else:
                self.tenants = frozenset()
            self.problem = None
        except ConfigError:
            self._detach()
            self._fail("its tables are not those of tables.yaml")
            raise
        except _Stranger:
            self._detach()
            self._fail("its file carries the stamp of another place", IsolationBreach)
        except (Unusable, OSError, duckdb.Error) as error:
            self._detach()
            self._fail(_first_line(error))

    def _attach(self) -> None:
        self._files.hold()
        self.hub.attach(self._files.main, self._alias)
        self._attached = True
        if not self._files.in_place():
            raise Unusable("its file was replaced while it was opened")

    def _detach(self) -> None:
        try:
            if self._attached:
                self._attached = False
                self.hub.detach(self._alias)
        finally:
            self._files.release()

    def _attach_or_restore(self) -> None:
        """Open the file; the copy from before an interrupted checkpoint takes its place if it cannot be read."""
        try:
            self._attach()
            if self._files.guarded():
                self._read_everything()
        except (FileNotFoundError, duckdb.Error):
            self._detach()
            if not self._files.restorable():
                raise
            self._files.restore()
            self._attach()
            self._read_everything()
            self._setup.report(f"{self.kind}.restored", {self.kind: self.place})
        if self._files.guarded():
            self._files.unguard()

    def _read_everything(self) -> None:
        with closing(self.hub.cursor()) as cursor:
            fingerprint(cursor, self._alias)

    def _in_service(self) -> frozenset[str]:
        """Check whose file it is and bring its tables up to date; returns the tenants that it holds."""
        with closing(self.hub.cursor()) as cursor:
            stamps = run(cursor, f"SELECT place, format FROM {self._own('stamp')}")  # noqa: S608  # quoted names only
            if [place for place, _ in stamps] != [self.place]:
                raise _Stranger
            if stamps[0][1] != _FORMAT:
                raise Unusable("its file was written by a newer release")
            self._contents.update(cursor)
            held = run(cursor, f"SELECT {quote(TENANT)} FROM {self._own('tenants')}")  # noqa: S608  # quoted names only
        return frozenset(tenant for (tenant,) in held)

    def _fail(self, problem: str, refusal: type[PartywallError] = BackendError) -> None:
        known, self.problem, self.refusal = self.problem, problem, refusal
        if problem != known:
            self._setup.report(f"{self.kind}.damaged", {self.kind: self.place, "problem": problem})

    def _reopen(self) -> None:
        with suppress(Busy), self.gate.writes_stopped(0.0), self.gate.all_stopped(0.0):
            self._detach()
            with suppress(ConfigError):
                self._open()

    def _create(self) -> None:
        """Make the file, unless it has come to be there since the start."""
        self._open()
        self.require_sound()
        if self._attached:
            return
        try:
            self._build(self._contents.create)
            self._files.finish()
            self._files.adopt()
        except (Unusable, OSError, duckdb.Error) as error:
            raise self._no_room(error) from None
        self._open()
        self.require_sound()

    def _admit(self, tenant: TenantId) -> None:
        with closing(self.hub.cursor()) as cursor:
            run(cursor, "BEGIN TRANSACTION")
            self._contents.admit(cursor, tenant)
            run(cursor, f"INSERT INTO {self._own('tenants')} VALUES (?)", [tenant])  # noqa: S608  # quoted names only
            run(cursor, "COMMIT")
        self.tenants |= {tenant}

    def _no_room(self, error: Exception) -> BackendError:
        _log.warning("%s: no room could be made: %s", self.place, error)
        return BackendError("no room could be made for the tenant")

    def _build(self, fill: Callable[[Cursor, str], None]) -> None:
        """Make the next version of the file, complete and on disk under its building name."""
        new = f"{self._alias}_new"
        self._files.prepare()
        self._files.discard()
        self.hub.attach(self._files.new, new)
        try:
            with closing(self.hub.cursor()) as cursor:
                run(cursor, f"CREATE SCHEMA {quote(new)}.{quote(OWN)}")
                run(cursor, f"CREATE TABLE {self._own('stamp', new)} (place VARCHAR, format INTEGER, rewrite BOOLEAN)")
                run(cursor, f"INSERT INTO {self._own('stamp', new)} VALUES (?, ?, false)", [self.place, _FORMAT])  # noqa: S608  # quoted names only
                run(cursor, f"CREATE TABLE {self._own('tenants', new)} ({quote(TENANT)} {TENANT_TYPE} PRIMARY KEY)")
                fill(cursor, new)
            self.hub.checkpoint(new)
        except BaseException:
            self.hub.detach(new)
            self._files.discard()
            raise
        self.hub.detach(new)

    def _checkpointed(self, patience: float) -> bool:
        """Run a guarded checkpoint; returns False when it has to be tried again later."""
        try:
            with self.gate.writes_stopped(patience):
                return self._guarded_checkpoint()
        except Busy:
            return False

    def _guarded_checkpoint(self) -> bool:
        try:
            self._files.guard()
        except OSError as error:
            # Nothing happened to the file yet: most often the disk has no room for the copy.
            _log.warning("%s: checkpoint put off: %s", self.place, error)
            return False
        try:
            self.hub.checkpoint(self._alias)
            self._files.unguard()
        except (OSError, duckdb.Error) as error:
            # The guard copy stays: together with the log it is everything that was acknowledged.
            self.rested_at = self._setup.clock.monotonic() + _REST
            self._fail(f"checkpoint failed: {_first_line(error)}")
        return True

    def _own(self, table: str, catalog: str | None = None) -> str:
        return f"{quote(catalog or self._alias)}.{quote(OWN)}.{quote(table)}"


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
