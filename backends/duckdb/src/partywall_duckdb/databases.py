"""``duckdb-database``: a file for each tenant, and an instance that can open no other file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias

import duckdb

from partywall.backend import Backend, BackendSetup, Placement, Session
from partywall.errors import BackendError, IsolationBreach, PartywallError
from partywall.names import Region, TenantId, parse_tenant_id
from partywall_duckdb.backend import region_folders
from partywall_duckdb.contents import Schemas
from partywall_duckdb.files import StoreFiles
from partywall_duckdb.gate import PATIENCE, Busy, Gate
from partywall_duckdb.hub import Hub
from partywall_duckdb.layout import LAYOUT, require_layout
from partywall_duckdb.options import DatabaseOptions
from partywall_duckdb.pool import Pool
from partywall_duckdb.selftest import self_test
from partywall_duckdb.session import TenantSession
from partywall_duckdb.store import DAMAGED, Store, place_of

__all__ = ["Database", "DatabaseBackend", "location_of"]

_ALIAS: Final = "tenant"
_ADMISSION: Final = 10.0
"""Seconds that a call waits for one of the open databases to become free."""
_SHORT: Final = 500_000
"""Bytes of a log that cannot fill an instance's memory: it is not even asked."""
_PAUSE: Final = 10.0
"""Seconds between two attempts at opening a damaged database."""
_AT_ONCE: Final = 16
"""Databases that one round of housekeeping closes because they are idle, or tries to open again."""
Key: TypeAlias = tuple[Region | None, TenantId]


def location_of(tenant: TenantId) -> str:
    """Where the tenant's file is, from the folder of its region on."""
    digest = hashlib.blake2b(tenant.encode(), digest_size=2).hexdigest()
    return f"{digest[:2]}/{digest[2:]}/{tenant}"


class Database(Store):
    """One tenant's file, and its instance."""

    kind: ClassVar[str] = "database"

    @property
    def usable(self) -> bool:
        """Whether the file is there and in order."""
        return self._attached and self.problem is None and not self.hub.lost

    def maintain(self, log_limit: int) -> None:
        """Do what is due; a log that fills the instance's memory is worked in although it is short."""
        pressed = self.log_size() > _SHORT and self.usable and self.hub.pressed()
        super().maintain(0 if pressed else log_limit)

    def close(self, *, checkpoint: bool = True) -> None:
        """Let go of the file, and end the instance."""
        try:
            super().close(checkpoint=checkpoint)
        finally:
            self.hub.close()

    def destroy(self) -> None:
        """Remove the file and everything beside it. After BackendError: repeat it."""
        with self._housekeeping:
            self.require_sound()
            if not self._attached:
                return
            try:
                with self.gate.writes_stopped(PATIENCE), self.gate.all_stopped(PATIENCE):
                    self.tenants = frozenset()
                    self._detach()
                    self._files.destroy()
            except (Busy, OSError, duckdb.Error):
                raise BackendError("the tenant's data could not be destroyed yet; repeat the purge") from None


@dataclass(frozen=True, slots=True)
class _Damage:
    """What was found wrong with one tenant's database, and when it is looked at again."""

    health: dict[str, str]
    refusal: type[PartywallError]
    again: float


class DatabaseBackend(Backend):
    """The databases that are open, a bounded number of them, and the sessions on them."""

    def __init__(self, setup: BackendSetup) -> None:
        self._setup = setup
        self._options = DatabaseOptions.parse(setup.options)
        self._folders = region_folders(setup)
        for folder in self._folders.values():
            require_layout(folder)
        with closing(Hub(self._options, [])) as probe:
            self_test(probe, self._folders[None] / LAYOUT)
        self._pool: Pool[Key, Database] = Pool(self._options.max_open, setup.clock, self._opened)
        self._sessions: set[TenantSession] = set()
        self._damaged: dict[Key, _Damage] = {}
        self._resting: dict[Key, float] = {}

    def provision(self, tenant_id: TenantId, region: Region | None) -> str:
        """The place of the tenant's file, which is there when this returns."""
        tenant = parse_tenant_id(tenant_id)
        if region not in self._folders:
            raise BackendError("the tenant's region has no data folder")
        with self._pinned((region, tenant)) as database:
            database.admit(tenant)
        return location_of(tenant)

    def drop(self, placement: Placement) -> None:
        """Remove the tenant's file and everything beside it."""
        with self._pinned(self._key(placement)) as database:
            database.destroy()

    def stamp(self, placement: Placement) -> TenantId | None:
        """The tenant itself, if its file says so."""
        try:
            key = self._key(placement)
        except IsolationBreach:
            return None
        with self._pinned(key) as database:
            return database.stamp(placement.tenant_id)

    def session(self, placement: Placement) -> Session:
        """A session bound to the tenant; its database stays open as long."""
        key = self._key(placement)
        database = self._ready(key, _ADMISSION)
        try:
            session = TenantSession(database, placement.tenant_id, lambda ended: self._ended(key, ended))
        except BaseException:
            self._pool.unpin(key)
            raise
        self._sessions.add(session)
        return session

    def maintain(self) -> None:
        """Checkpoint where the log has grown, close what is idle, look again at what is damaged."""
        for key, database in self._pool.visit():
            database.maintain(self._options.checkpoint_wal_bytes)
            self._note(key, database)
        now = self._setup.clock.monotonic()
        due = [key for key, damage in list(self._damaged.items()) if damage.again <= now]
        for key in due[:_AT_ONCE]:
            with suppress(PartywallError):
                self._ready(key, 0.0)
                self._pool.unpin(key)
        self._pool.close_idle(self._options.idle_seconds, _AT_ONCE)

    def health(self) -> Mapping[str, str]:
        """What is wrong, by the file's place in its region."""
        damaged = list(self._damaged.values())
        return {place: problem for damage in damaged for place, problem in damage.health.items()}

    def close(self) -> None:
        """Close sessions that were left open, checkpoint, let go of every file."""
        for session in list(self._sessions):
            session.close()
        self._pool.close()

    def _opened(self, key: Key) -> Database:
        known = self._damaged.get(key)
        if known is not None and self._setup.clock.monotonic() < known.again:
            raise known.refusal(DAMAGED)
        database = self._new(key)
        if known is not None:
            database.problem = known.health.get(database.place.lstrip("/"))
        try:
            database.open()
            self._note(key, database)
            database.require_sound()
        except BaseException:
            database.close(checkpoint=False)
            raise
        return database

    def _new(self, key: Key) -> Database:
        region, tenant = key
        location = location_of(tenant)
        root = self._folders[region]
        path = root / location
        files = StoreFiles(path.parent, path.name, root=root)
        hub = Hub(self._options, [files.main, files.new])
        gate = Gate()
        contents = Schemas(_ALIAS, self._setup, gate, hub.cursor)
        database = Database(self._setup, hub, files, place_of(region, location), gate, contents)
        database.rested_at = self._resting.get(key, 0.0)
        return database

    def _ready(self, key: Key, patience: float) -> Database:
        """The database, pinned, with its tables as declared."""
        database = self._pool.pin(key, patience)
        try:
            database.statements(key[1])
        except BaseException:
            self._note(key, database)
            self._pool.unpin(key)
            raise
        if key in self._damaged:
            self._note(key, database)
        return database

    def _note(self, key: Key, database: Database) -> None:
        """Keep what is wrong with a database, which may be closed before anybody asks."""
        if database.rested_at:
            self._resting[key] = database.rested_at
        health = database.health()
        if health:
            self._damaged[key] = _Damage(health, database.refusal, self._setup.clock.monotonic() + _PAUSE)
        else:
            self._damaged.pop(key, None)

    @contextmanager
    def _pinned(self, key: Key) -> Iterator[Database]:
        database = self._pool.pin(key, _ADMISSION)
        try:
            yield database
        finally:
            self._pool.unpin(key)

    def _ended(self, key: Key, session: TenantSession) -> None:
        try:
            self._sessions.remove(session)
        except KeyError:
            return  # it was closed before
        self._pool.unpin(key)

    def _key(self, placement: Placement) -> Key:
        if placement.region not in self._folders:
            raise BackendError("the tenant's region has no data folder")
        tenant = placement.tenant_id
        if not tenant or placement.location != location_of(parse_tenant_id(tenant)):
            raise IsolationBreach("the place that was named holds nothing of this tenant")
        return placement.region, tenant
