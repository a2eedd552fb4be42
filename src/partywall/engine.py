"""The engine: the one object that an orchestrator embeds. Each attribute leads into one room."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from partywall.agents import Agents
from partywall.audit import AuditLog, acting_as, actor
from partywall.catalog import Catalog, CatalogChange
from partywall.clock import Clock, SystemClock
from partywall.context import TenantContext, entered, permissions_of
from partywall.directory import Directory, DirectoryChange
from partywall.errors import Problem
from partywall.folder import DataFolder
from partywall.housekeeping import Announcer, Housekeeper
from partywall.isolation import Cursors, Guard, Isolation, PendingMove, RawSql, ScopedQuery, Sealed, Stores
from partywall.journal import Journal
from partywall.ledger import AuditRecord, open_ledger
from partywall.limits import Limiter
from partywall.model import Plan, Status
from partywall.names import PlanName, TenantId
from partywall.quotas import Quotas, Usage, crossing_of
from partywall.registry import PluginProblem, Registry
from partywall.tenants import Commands, EditLog, Features, Tenants
from partywall.web import Authenticate, Gate

if TYPE_CHECKING:
    from partywall.aio import AsyncEngine

__all__ = ["Engine", "EngineStatus", "open"]


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """How the engine is doing."""

    generation: int
    """Counts the snapshots of the files since the engine opened."""
    digest: str
    """Of all files in force; equal digests mean equal files."""
    last_success: float | None
    """When all files were last read without a problem, in seconds since the epoch."""
    tenants: Mapping[Status, int]
    problems: Sequence[Problem]
    """What is wrong in files; what was last good is in force instead."""
    notices: Sequence[Problem]
    """Edits that take effect at the next start."""
    plugins: Sequence[PluginProblem]
    """Plugins that could not be used."""
    stores: Mapping[str, Mapping[str, str]]
    """What is wrong with backends, by backend and location."""
    pending_moves: Sequence[PendingMove]
    """Tenants whose files wish for another place than the one where their data lives."""


def open(  # noqa: A001  # `partywall.open` reads like the built-in on purpose
    folder: str | os.PathLike[str],
    *,
    clock: Clock | None = None,
    plugins: Sequence[object] = (),
    watch: bool = True,
) -> Engine:
    """Open the engine on a data folder, and own it until ``close`` or the end of the ``with`` block.

    ``plugins`` are offered beside the installed ones; ``watch=False`` reads edited files only on
    ``engine.catalog.refresh()``. ConfigError: files are wrong, with every place; DataFolderInUse: another
    process owns the folder; LedgerError: its ledger cannot be used.
    """
    return Engine(DataFolder(folder), clock=clock or SystemClock(), plugins=plugins, watch=watch)


class Engine:
    """Many tenants in one process. Made by ``partywall.open``; safe to share between threads."""

    def __init__(self, folder: DataFolder, *, clock: Clock, plugins: Sequence[object], watch: bool) -> None:
        self.folder = folder
        self.clock = clock
        with ExitStack() as opened:
            folder.own()
            opened.callback(folder.release)
            self.registry = Registry(plugins)
            self.catalog = Catalog(folder.root, clock=clock, watch=watch, actor=actor)
            opened.callback(self.catalog.close)
            durability = self.catalog.config.durability
            self._ledger = open_ledger(folder.ledger, durability=durability, made_before=folder.opened_before)
            opened.callback(self._ledger.close)
            self._ledger.on_audit(self._tell_audit)
            self._ledger.on_audit(self._tell_threshold)
            self.audit = AuditLog(self._ledger, clock)
            self._retire_purged()
            self.directory = Directory(self.catalog, self._ledger)
            self._open_rooms(opened)
            self._connect()
            self._recover()
            self.catalog.start()
            self._start_housekeeping(opened)
            opened.callback(self.directory.close)
            opened.callback(self._announcer.close)
            self._opened = opened.pop_all()
        _open_here.add(self)

    def _open_rooms(self, opened: ExitStack) -> None:
        self.registry.check_sql(self.catalog.config)
        guard = Guard(self.catalog.tables, self.clock, max_rows=self.catalog.config.max_rows)
        cursors = Cursors(self.folder.secret("cursors"))
        stores = Stores(self.registry, self.catalog, self.clock, self.folder.var, self._record_store_event)
        opened.callback(stores.close)
        self._stores = stores
        self.usage = Usage(self._ledger, self.directory, self.clock)
        self.quotas = Quotas(self._ledger, self.directory, self.clock, self.usage)
        rows = self.quotas.counted_rows(self.catalog.tables)
        rows.retire()
        journal = Journal(self._ledger, self.audit, self.clock)
        edit = self.catalog.edit_tenant
        limits = self.catalog.config.sql
        raw = RawSql(stores.sql_tier, Sealed(lambda: self.registry.sealed_sql, limits), guard, limits)
        self.isolation = Isolation(self.directory, journal, stores, guard, cursors, raw, rows, edit)
        self.limiter = Limiter(self.directory, self.clock)
        opened.callback(self.limiter.close)
        self.features = Features(self.directory)
        self.agents = Agents(self.directory, self._ledger, self.audit, self.limiter, self.quotas.places, self.clock)
        opened.callback(self.agents.close)
        self.tenants = Tenants(self.catalog, self.directory, self.isolation, journal, self._stop_agents)
        self.commands = Commands(self._ledger, self.clock, self.tenants, self.isolation, self.usage)
        opened.callback(self.commands.close)

    def _connect(self) -> None:
        self.directory.subscribe(self.isolation.on_change)
        self.directory.subscribe(self.agents.on_change)
        self._announcer = Announcer()
        self.directory.subscribe(self._tell_status)
        self._edits = EditLog(self.catalog, self._ledger, self.audit)
        self._edits.recover()
        self.catalog.subscribe(self._edits.write)
        self.catalog.subscribe(self._tell_applied)
        self.catalog.on_refusal(self._tell_refused)
        for change in self.catalog.take_opening():
            self._tell_applied(change)
        if self.catalog.problems:
            self._tell_refused(self.catalog.problems)

    def _retire_purged(self) -> None:
        records = self._ledger.read(lambda tx: tx.lifecycles())
        self.catalog.retire([record.tenant_id for record in records if record.purged_at is not None])

    def _recover(self) -> None:
        self.catalog.recover()
        with acting_as("engine"):
            self.agents.reap()
            self.quotas.recover()
            self.commands.recover()
            self.isolation.finish_moves()
            self.tenants.recover()
            self.isolation.recounting.recover()

    def _start_housekeeping(self, opened: ExitStack) -> None:
        keeper = Housekeeper(self.clock)
        keeper.add("queued commands", 0.1, self._run_queued)
        keeper.add("upkeep of stores", 1.0, self._stores.maintain)
        keeper.add("ended leases", 1.0, self.quotas.expire_leases)
        keeper.add("counted rows", 1.0, self.isolation.recounting.go_on)
        keeper.add("interrupted moves", 60.0, self._finish_moves)
        keeper.add("due purges", 60.0, self._purge_due)
        keeper.add("audit records of edits", 1.0, self._edits.write)
        keeper.add("old idempotency keys", 3600.0, self.quotas.forget_old_events)
        keeper.start()
        opened.callback(keeper.stop)

    @property
    def plans(self) -> Mapping[PlanName, Plan]:
        """The plans in force, by name."""
        return self.catalog.snapshot.plans

    @property
    def aio(self) -> AsyncEngine:
        """The same engine for async code: what can block is awaited there, under the same names."""
        if self._aio is None:
            from partywall.aio import AsyncEngine  # noqa: PLC0415  # asyncio is loaded by those who use it
            from partywall.workers import Workers  # noqa: PLC0415

            workers = Workers()
            self._opened.callback(workers.close)
            self._aio = AsyncEngine(self, workers)
        return self._aio

    _aio: AsyncEngine | None = None
    _queue_unread = True
    """Whether commands may be queued that were not looked at; some may be older than the engine."""

    def query(self, tenant_id: str | None = None) -> ScopedQuery:
        """A handle to the rows of the named tenant, or of the tenant context's; see ``ScopedQuery``."""
        return self.isolation.query(tenant_id)

    @contextmanager
    def tenant_context(
        self, tenant_id: str, *, user_id: str | None = None, permissions: Iterable[str] = ()
    ) -> Iterator[TenantContext]:
        """Work for one tenant within the block; the tenant must be in service."""
        known = self.directory.require_active(tenant_id)
        context = TenantContext(known, self.directory.tenant(known), user_id, permissions_of(permissions))
        with entered(context):
            yield context

    def gate(self, authenticate: Authenticate) -> Gate:
        """A request gate: finds the tenant of a request, authenticates, and enters the tenant context."""
        return Gate(self.directory, authenticate, base_domain=self.catalog.config.base_domain)

    def status(self) -> EngineStatus:
        """How the engine is doing: files, plugins, stores, tenants."""
        snapshot = self.catalog.snapshot
        return EngineStatus(
            generation=snapshot.generation,
            digest=snapshot.digest,
            last_success=self.catalog.last_success,
            tenants=self.directory.counts(),
            problems=self.catalog.problems,
            notices=self.catalog.notices,
            plugins=tuple(self.registry.problems),
            stores=self._stores.health(),
            pending_moves=self.isolation.pending_moves(),
        )

    def close(self) -> None:
        """Stop the agents, finish what is under way and give the folder back. Repeating it is no error."""
        self._opened.close()

    def _disown(self) -> None:
        """Refuse everything, in a process forked from the one that opened the engine: its files are the parent's.

        Takes no lock: whoever held one in the parent is not here to give it back.
        """
        self.directory.disown()
        self.folder.release()
        self._opened.pop_all()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stop_agents(self, tenant_id: TenantId) -> tuple[tuple[str, ...], tuple[str, ...]]:
        report = self.agents.stop_tenant(tenant_id)
        return report.stopped, report.not_stopped

    def _run_queued(self) -> None:
        self._queue_unread |= self._ledger.changed()
        if self._queue_unread:
            self.commands.run_queued()
            self._queue_unread = False  # not when it failed: the change was seen, the commands were not

    def _purge_due(self) -> None:
        with acting_as("engine"):
            self.tenants.purge_due()

    def _finish_moves(self) -> None:
        with acting_as("engine"):
            self.isolation.finish_moves()

    def _record_store_event(self, backend: str, event: str, details: Mapping[str, str]) -> None:
        with acting_as("engine"):
            self._ledger.write(
                lambda tx: self.audit.record(tx, f"backend.{event}", details={"backend": backend, **details})
            )

    def _tell_status(self, change: DirectoryChange) -> None:
        hook = self.registry.hook.partywall_status_changed
        for tenant_id, (before, after) in change.statuses.items():
            self._announcer.tell(partial(hook, tenant_id=tenant_id, before=before, after=after))

    def _tell_applied(self, change: CatalogChange) -> None:
        self._announcer.tell(partial(self.registry.hook.partywall_config_applied, change=change))

    def _tell_refused(self, problems: Sequence[Problem]) -> None:
        self._announcer.tell(partial(self.registry.hook.partywall_config_refused, problems=tuple(problems)))

    def _tell_audit(self, record: AuditRecord) -> None:
        self.registry.hook.partywall_audit_recorded(record=record)

    def _tell_threshold(self, record: AuditRecord) -> None:
        crossing = crossing_of(record)
        if crossing is not None:
            self.registry.hook.partywall_quota_threshold(**asdict(crossing))


_open_here: Final[WeakSet[Engine]] = WeakSet()


def _after_fork() -> None:
    for engine in list(_open_here):
        engine._disown()  # noqa: SLF001  # the same module


os.register_at_fork(after_in_child=_after_fork)
