"""One shard: a file that many tenants share, from opening to checkpoint, purge and repair."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Final

import duckdb

from partywall.backend import BackendSetup
from partywall.errors import BackendError, ConfigError, IsolationBreach, PartywallError
from partywall.names import Region, TenantId
from partywall.sql import Statements, quote
from partywall_duckdb.dialect import DIALECT
from partywall_duckdb.files import StoreFiles, Unusable
from partywall_duckdb.gate import Busy, Gate
from partywall_duckdb.hub import Cursor, Hub, run
from partywall_duckdb.tables import (
    ROWS,
    TENANT,
    copy_tables,
    create_tables,
    declared,
    delete_tenant,
    fingerprint,
    migrate,
    stored,
)

__all__ = ["Shard"]

_log = logging.getLogger(__name__)

_FORMAT: Final = 1
_OWN: Final = "partywall"
"""The schema of what the backend itself keeps in a shard."""
_PATIENCE: Final = 30.0
"""Seconds that a purge waits for open transactions to end."""
_PAUSE: Final = 10.0
"""Seconds between two attempts at a checkpoint that found no moment, or at opening a damaged shard."""


class _Stranger(Exception):
    """The file carries the stamp of another place."""


class Shard:
    """The tenants of one file. What goes wrong with it is its own: it refuses, and the other shards work."""

    def __init__(self, hub: Hub, setup: BackendSetup, region: Region | None, name: str, files: StoreFiles) -> None:
        self.name = name
        self.place = f"{region or ''}/{name}"
        self.gate = Gate()
        self.tenants: frozenset[str] = frozenset()
        self.problem: str | None = None
        """What is wrong, for operators; None when all is well."""
        self._hub = hub
        self._setup = setup
        self._files = files
        self._alias = name.replace("-", "_") + (f"_in_{region}" if region else "")
        self._refusal: type[PartywallError] = BackendError
        self._attached = False
        self._again = 0.0
        self._housekeeping = threading.Lock()
        self.statements = Statements(DIALECT, setup.tables, within=(self._alias, ROWS), scope=TENANT)

    def open(self) -> None:
        """Take the file into service if it is there; ConfigError when it does not fit tables.yaml."""
        with self._housekeeping:
            self._open()

    def require(self, tenant: TenantId) -> None:
        """Refuse a damaged shard with BackendError, and a tenant that it does not hold with IsolationBreach."""
        self._require_sound()
        if tenant not in self.tenants:
            raise IsolationBreach("the place that was named holds nothing of this tenant")

    def stamp(self, tenant: TenantId) -> TenantId | None:
        """The tenant, if the file itself says that it holds it."""
        self.gate.enter(writing=False, patience=_PATIENCE)
        try:
            self._require_sound()
            if not self._attached:
                return None
            with closing(self._hub.cursor()) as cursor:
                found = run(cursor, f"SELECT 1 FROM {self._own('tenants')} WHERE {quote(TENANT)} = ?", [tenant])  # noqa: S608  # quoted names only
        finally:
            self.gate.leave(writing=False)
        return tenant if found else None

    def admit(self, tenant: TenantId) -> None:
        """Make the tenant one of this shard's; repeating it is no error."""
        with self._housekeeping:
            self._require_sound()
            if not self._attached:
                self._create()
            if tenant not in self.tenants:
                with closing(self._hub.cursor()) as cursor:
                    run(cursor, f"INSERT INTO {self._own('tenants')} VALUES (?)", [tenant])  # noqa: S608  # quoted names only
                self.tenants |= {tenant}

    def expel(self, tenant: TenantId) -> None:
        """Destroy everything of the tenant's, by writing a new file without it. After BackendError: repeat it."""
        with self._housekeeping:
            self._require_sound()
            if not self._attached:
                return
            try:
                with self.gate.writes_stopped(_PATIENCE):
                    if self._forget(tenant):
                        self._rewrite()
            except (Busy, Unusable, OSError, duckdb.Error) as error:
                _log.warning("%s: a purge was not finished: %s", self.place, error)
                raise BackendError("the tenant's data could not be destroyed yet; repeat the purge") from None

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
            elif self._attached and self._files.log_size() > log_limit and not self._checkpointed(1.0):
                self._again = now + _PAUSE

    def close(self) -> None:
        """Checkpoint and let go of the file."""
        with self._housekeeping:
            if self._attached and self.problem is None and self._files.log_size():
                self._checkpointed(1.0)
            with suppress(duckdb.Error):
                self._detach()

    def _require_sound(self) -> None:
        if self.problem is not None:
            raise self._refusal("the store of this tenant is damaged; its operator was told")

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
        self._hub.attach(self._files.main, self._alias)
        self._attached = True
        if not self._files.in_place():
            raise Unusable("its file was replaced while it was opened")

    def _detach(self) -> None:
        try:
            if self._attached:
                self._attached = False
                self._hub.detach(self._alias)
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
            self._setup.report("shard.restored", {"shard": self.place})
        if self._files.guarded():
            self._files.unguard()

    def _read_everything(self) -> None:
        with closing(self._hub.cursor()) as cursor:
            fingerprint(cursor, self._alias, stored(cursor, self._alias))

    def _in_service(self) -> frozenset[str]:
        """Check whose file it is and bring its tables up to date; returns the tenants that it holds."""
        with closing(self._hub.cursor()) as cursor:
            stamps = run(cursor, f"SELECT place, format FROM {self._own('stamp')}")  # noqa: S608  # quoted names only
            if [place for place, _ in stamps] != [self.place]:
                raise _Stranger
            if stamps[0][1] != _FORMAT:
                raise Unusable("its file was written by a newer release")
            migrate(cursor, self._alias, stored(cursor, self._alias), self._setup.tables, self._setup.clock)
            held = run(cursor, f"SELECT {quote(TENANT)} FROM {self._own('tenants')}")  # noqa: S608  # quoted names only
        return frozenset(tenant for (tenant,) in held)

    def _fail(self, problem: str, refusal: type[PartywallError] = BackendError) -> None:
        known, self.problem, self._refusal = self.problem, problem, refusal
        if problem != known:
            self._setup.report("shard.damaged", {"shard": self.place, "problem": problem})

    def _reopen(self) -> None:
        with suppress(Busy), self.gate.writes_stopped(0.0), self.gate.all_stopped(0.0):
            self._detach()
            with suppress(ConfigError):
                self._open()

    def _create(self) -> None:
        """Make the shard's file, unless it has come to be there since the start."""
        self._open()
        self._require_sound()
        if self._attached:
            return
        try:
            self._build(lambda cursor, new: create_tables(cursor, new, declared(self._setup.tables)))
            self._files.finish()
            self._files.adopt()
        except (Unusable, OSError, duckdb.Error) as error:
            _log.warning("%s: could not be created: %s", self.place, error)
            raise BackendError("no room could be made for the tenant") from None
        self._open()

    def _build(self, fill: Callable[[Cursor, str], None]) -> None:
        """Make the next version of the file, complete and on disk under its building name."""
        new = f"{self._alias}_new"
        self._files.discard()
        self._hub.attach(self._files.new, new)
        try:
            with closing(self._hub.cursor()) as cursor:
                for schema in (ROWS, _OWN):
                    run(cursor, f"CREATE SCHEMA {quote(new)}.{quote(schema)}")
                run(cursor, f"CREATE TABLE {self._own('stamp', new)} (place VARCHAR, format INTEGER, rewrite BOOLEAN)")
                run(cursor, f"INSERT INTO {self._own('stamp', new)} VALUES (?, ?, false)", [self.place, _FORMAT])  # noqa: S608  # quoted names only
                run(cursor, f"CREATE TABLE {self._own('tenants', new)} ({quote(TENANT)} VARCHAR PRIMARY KEY)")
                fill(cursor, new)
            self._hub.checkpoint(new)
        except BaseException:
            self._hub.detach(new)
            self._files.discard()
            raise
        self._hub.detach(new)

    def _forget(self, tenant: TenantId) -> bool:
        """Delete the tenant; returns whether the file still has to be written anew, then or from an earlier time."""
        with closing(self._hub.cursor()) as cursor:
            if tenant in self.tenants:
                run(cursor, "BEGIN TRANSACTION")
                delete_tenant(cursor, self._alias, stored(cursor, self._alias), tenant)
                run(cursor, f"DELETE FROM {self._own('tenants')} WHERE {quote(TENANT)} = ?", [tenant])  # noqa: S608  # quoted names only
                run(cursor, f"UPDATE {self._own('stamp')} SET rewrite = true")  # noqa: S608  # quoted names only
                run(cursor, "COMMIT")
                self.tenants -= {tenant}
            return run(cursor, f"SELECT rewrite FROM {self._own('stamp')}") == [(True,)]  # noqa: S608  # quoted names only

    def _rewrite(self) -> None:
        self._build(self._copy)
        try:
            with self.gate.all_stopped(_PATIENCE):
                self._detach()
                try:
                    self._files.finish()
                    self._files.adopt()
                finally:
                    self._open()
        finally:
            self._files.discard()
        self._require_sound()

    def _copy(self, cursor: Cursor, new: str) -> None:
        tables = stored(cursor, self._alias)
        copy_tables(cursor, self._alias, new, tables)
        run(cursor, f"INSERT INTO {self._own('tenants', new)} SELECT * FROM {self._own('tenants')}")  # noqa: S608  # quoted names only
        if fingerprint(cursor, self._alias, tables) != fingerprint(cursor, new, tables):
            raise Unusable("its copy is not equal to it")

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
            self._hub.checkpoint(self._alias)
            self._files.unguard()
        except (OSError, duckdb.Error) as error:
            # The guard copy stays: together with the log it is everything that was acknowledged.
            self._fail(f"checkpoint failed: {_first_line(error)}")
        return True

    def _own(self, table: str, catalog: str | None = None) -> str:
        return f"{quote(catalog or self._alias)}.{quote(_OWN)}.{quote(table)}"


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
