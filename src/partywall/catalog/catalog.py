"""The catalog: every file under ``system/tenancy`` as one snapshot, kept up to date, and edited safely."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

from partywall.catalog.changes import Changes, identify
from partywall.catalog.disk.intake import Glance
from partywall.catalog.disk.reader import Folder, Read
from partywall.catalog.disk.watcher import Target, Watcher
from partywall.catalog.disk.writer import recover
from partywall.catalog.health import Health, Reporter
from partywall.catalog.memory.cache import Cache
from partywall.catalog.memory.trail import Edited
from partywall.catalog.memory.versions import Versions
from partywall.catalog.reload import Reload
from partywall.catalog.snapshot import CatalogChange, Snapshot
from partywall.catalog.text.document import Document
from partywall.clock import Clock, SystemClock
from partywall.errors import Problem
from partywall.model import EngineConfig, Table, TenantSpec
from partywall.names import PlanName, TableName, TenantId

__all__ = ["Catalog"]

_log = logging.getLogger("partywall.catalog")
_QUIET_SECONDS: Final = 0.05
_PATIENT_SECONDS: Final = 1.0
_TOGETHER_SECONDS: Final = 2.0
_REFRESH_LOOKS: Final = 20
_TELLING_SECONDS: Final = 5.0


class Catalog:
    """Opens and reads the folder; ``start`` keeps it up to date, ``refresh`` does so once.

    Raises ConfigError when plans.yaml, tables.yaml or engine.yaml is wrong and no good version of it was
    ever in force here. A tenant's wrong file is a problem, and its tenant stays as it was, or away.
    ``actor`` tells who calls, for the records of edits that the caller does not write itself.
    """

    def __init__(
        self, root: Path, *, clock: Clock | None = None, watch: bool = True, actor: Callable[[], str] = lambda: "api"
    ) -> None:
        self._clock = clock or SystemClock()
        self._actor = actor
        self._lock = threading.RLock()
        self._listeners: tuple[Callable[[CatalogChange], None], ...] = ()
        self._refusal_listeners: tuple[Callable[[Sequence[Problem]], None], ...] = ()
        self._undelivered: deque[CatalogChange | tuple[Problem, ...]] = deque()
        self._delivering = threading.Lock()
        self._teller: int | None = None
        self._folder = Folder(Path(root))
        self._cache = Cache(self._folder.cache)
        try:
            self._reload = Reload(self._folder, self._clock, self._cache, self._identify)
        except BaseException:
            self._cache.close()
            raise
        del self._reload.before  # it would keep what it holds for as long as the catalog is open
        self._changes = Changes(self._reload, self._publish)
        self._versions = Versions()
        self._reporter = Reporter(self._cache)
        self.config: Final[EngineConfig] = self._reload.config
        """engine.yaml, as it was read at open."""
        self.tables: Final[Mapping[TableName, Table]] = MappingProxyType(self._reload.tables.tables)
        """tables.yaml, as it was read at open."""
        self.snapshot: Snapshot = self._reload.assembly.snapshot
        """What is in force now. Take it once for a request, and stay with it."""
        self._remember(self._reload.opening)
        self.problems: tuple[Problem, ...] = ()
        """What is wrong in the files now; what is in force is not affected."""
        self.notices: tuple[Problem, ...] = ()
        """Edits that take effect at the next start."""
        self.last_success: float | None = None
        """When every file was last found well, in seconds since the epoch; None before the first time."""
        self._last_failure: float | None = None
        self._checked_at = self._clock.now()
        self._sweeps = 1
        self._restless_since: float | None = None
        self._watch = watch
        self._watcher: Watcher | None = None
        self._closed = False
        self._report(complete=True)

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def health(self) -> Health:
        """How reloading is doing now."""
        with self._lock:
            return self._health()

    def recover(self) -> None:
        """Finish what a killed engine was writing; only for the engine that owns the folder."""
        put_back = [recover(folder) for folder in sorted(self._folder.homes())]
        if any(put_back):
            self.refresh()

    def start(self) -> None:
        """Watch the files from now on, unless it was opened with ``watch=False``."""
        with self._lock:
            if not self._watch or self._watcher is not None or self._closed:
                return
            self._watcher = Watcher(self._folder, self._target(), self.config.reload.sweep_seconds)
            self._watcher.start()

    def close(self) -> None:
        """Stop watching. What was in force can still be read."""
        with self._lock:
            watcher, self._watcher = self._watcher, None
            self._closed = True
        if watcher is not None:
            watcher.close()  # outside the lock, for which its thread may be waiting
        with self._lock:
            self._cache.close()

    def refresh(self) -> Snapshot:
        """Look at every file now, and return what is then in force.

        A file that was saved within the last 50 ms is waited for; one that never rests is left to the next look.
        """
        for look in range(_REFRESH_LOOKS):
            if not self._sweep(_QUIET_SECONDS, final=True, together=look < _REFRESH_LOOKS - 1):
                break
            time.sleep(_QUIET_SECONDS / 4)
        self._deliver(patience=_TELLING_SECONDS)
        return self.snapshot

    def take_opening(self) -> Sequence[CatalogChange]:
        """What the files changed since the catalog was last open, told once; nothing on the first start."""
        with self._lock:
            opening, self._reload.opening = self._reload.opening, ()
        return opening

    def subscribe(self, listener: Callable[[CatalogChange], None]) -> None:
        """Call the listener after each publication, in their order and one at a time.

        It is called by the thread that published, or by one that is still telling of an earlier one, and with no
        lock held. What it raises is logged.
        """
        with self._lock:
            self._listeners = (*self._listeners, listener)

    def on_refusal(self, listener: Callable[[Sequence[Problem]], None]) -> None:
        """Call the listener, as ``subscribe`` does, with all problems whenever there is one that was not there."""
        with self._lock:
            self._refusal_listeners = (*self._refusal_listeners, listener)

    def unrecorded(self) -> Sequence[Edited]:
        """The edits that are in force and not on record yet, oldest first; kept across restarts."""
        with self._lock:
            return self._reload.trail.pending()

    def recorded(self, edited_id: str) -> None:
        """Say that these edits are on record."""
        with self._lock:
            self._reload.trail.recorded(edited_id)

    def create_tenant(self, spec: TenantSpec, *, audited: bool = False) -> None:
        """Write ``tenants/<slug>.yaml``; the tenant is in force when this returns.

        ``audited`` says that the caller writes the audit record. Raises TenantConflict for a taken id, slug or
        domain, InvalidArgument, or ConfigError for a read-only source.
        """
        self._apply(lambda: self._changes.create_tenant(spec), audited=audited)

    def edit_tenant(
        self,
        tenant_id: TenantId,
        changes: Mapping[str, object],
        *,
        if_version: str | None = None,
        audited: bool = False,
    ) -> None:
        """Change lines of the tenant's file: dotted path, such as ``settings.defaultModel``, to value; None removes.

        A key that has dots itself is quoted: ``rate_limits."api.calls".maxRequests``. Comments and everything else
        stay as they are, edits that are saved meanwhile are kept, and the change is in force when this returns. With
        ``if_version`` the file must still say what it said at that version, or else the TenantConflict has a diff.
        Raises TenantNotFound, TenantConflict, InvalidArgument, or ConfigError for a read-only source or a file that
        is wrong already.
        """
        expect = None if if_version is None else partial(self._versions.require, if_version)
        self._apply(lambda: self._changes.edit_tenant(tenant_id, changes, expect), audited=audited)

    def remove_tenant(self, tenant_id: TenantId, *, audited: bool = False) -> None:
        """Remove the tenant's file; the tenant is out of force when this returns. Its data is not touched."""
        self._apply(lambda: self._changes.remove_tenant(tenant_id), audited=audited)

    def retire(self, tenant_ids: Collection[TenantId]) -> None:
        """Keep the ids of purged tenants out of force for good: a file that declares one is a problem."""
        before = self.snapshot
        self._versions.forget(tenant_ids)
        self._apply(lambda: self._reload.retire(tenant_ids), audited=True)
        if self.snapshot is not before:
            self.refresh()  # the files are looked at again, and are now problems

    def scrub(self) -> None:
        """Make sure that no bytes of removed files are left in the cache of last good versions."""
        with self._lock:
            self._cache.scrub()

    def edit_plan(self, plan: PlanName, changes: Mapping[str, object]) -> None:
        """Change lines of plans.yaml; the paths start in the plan, such as ``quotas.maxProjects``. As edit_tenant."""
        self._apply(lambda: self._changes.edit_plan(plan, changes))

    def _identify(self, key: str, document: Document, read: Read, had: str | None) -> Read | Problem | None:
        return identify(self._folder, key, document, read, had)

    def _apply(self, work: Callable[[], list[CatalogChange]], *, audited: bool = False) -> None:
        if self._reload.intake.moved():
            self.refresh()  # a release that was just put in place comes into force as a whole, and then the edit
        with self._lock, self._reload.trail.by(None if audited else self._actor()):
            try:
                self._publish(work())
            finally:
                self._report()
        self._deliver(patience=_TELLING_SECONDS)

    def _look(self, keys: set[str]) -> set[str]:
        with self._lock:
            if self._closed:
                return set()
            changes, again = self._reload.take(keys)
            self._publish(changes)
            self._report()
        self._deliver()
        return again

    def _glance(self) -> Glance | OSError:
        try:
            return self._reload.intake.glance()
        except OSError as error:
            return error

    def _sweep(self, quiet: float, *, final: bool, together: bool) -> bool:
        found = self._glance()  # outside the lock: with very many files it takes a while
        with self._lock:
            if self._closed:
                return False
            if isinstance(found, OSError):
                self._reload.unlistable(found)
                restless = False
            else:
                self._sweeps += 1
                changes, restless = self._reload.sweep(found, quiet, final=final, together=together)
                self._publish(changes)
            self._report(complete=not restless)
        self._deliver()
        return restless

    def _publish(self, changes: list[CatalogChange]) -> None:
        if changes:
            self.snapshot = changes[-1].snapshot
            self._remember(changes)
            self._undelivered.extend(changes)

    def _remember(self, changes: Sequence[CatalogChange]) -> None:
        for change in changes:
            self._versions.remember(change.previous.tenant(known) for known in change.tenants)

    def _report(self, *, complete: bool = False) -> None:
        before, self.problems = self.problems, self._reload.problems
        if not set(self.problems) <= set(before):
            self._last_failure = self._clock.now()
            self._undelivered.append(self.problems)
        self.notices = self._reload.notices
        if not self.problems and (complete or before):
            self.last_success = self._clock.now()
        self._checked_at = self._clock.now()
        self._reporter.tell(self._health())

    def _health(self) -> Health:
        return Health(
            pid=os.getpid(),
            generation=self.snapshot.generation,
            digest=self.snapshot.digest,
            tenants=len(self.snapshot),
            checked_at=self._checked_at,
            last_success=self.last_success,
            last_failure=self._last_failure,
            problems=self.problems,
            notices=self.notices,
            sweeps=self._sweeps,
            watching=self._watcher is not None and self._watcher.events,
            unrecorded=len(self._reload.trail.pending()),
        )

    def _deliver(self, *, patience: float = 0.0) -> None:
        """Tell the listeners; with patience, also wait until another thread has told what it is telling.

        No lock of ours but the one of telling is held while listeners run. The wait is bounded, because a listener
        may itself be waiting for the caller.
        """
        if self._teller == threading.get_ident():
            return  # a listener edits: what it changed is told once it returns
        while (self._undelivered or patience) and self._delivering.acquire(timeout=patience):
            self._teller = threading.get_ident()
            try:
                while self._undelivered:
                    self._tell(self._undelivered.popleft())
            finally:
                self._teller = None
                self._delivering.release()
            patience = 0.0

    def _target(self) -> Target:
        return Target(look=self._look, sweep=self._sweep_in_background, next_expiry=self._next_expiry)

    def _sweep_in_background(self, patient: bool) -> bool:
        # Files that come together are one snapshot, unless one of them never rests.
        together = self._restless_since is None or time.monotonic() - self._restless_since < _TOGETHER_SECONDS
        restless = self._sweep(_PATIENT_SECONDS if patient else _QUIET_SECONDS, final=False, together=together)
        if not restless:
            self._restless_since = None
        elif self._restless_since is None:
            self._restless_since = time.monotonic()
        return restless

    def _next_expiry(self) -> float | None:
        with self._lock:
            return self._reload.next_expiry

    def _tell(self, news: CatalogChange | tuple[Problem, ...]) -> None:
        if isinstance(news, CatalogChange):
            tellings = [partial(listener, news) for listener in self._listeners]
        else:
            tellings = [partial(listener, news) for listener in self._refusal_listeners]
        for tell in tellings:
            try:
                tell()
            except Exception:  # noqa: BLE001  # a listener is not ours
                _log.exception("a listener of the catalog failed")
