"""A tenant's life: created, changed, suspended, resumed, deleted, restored, purged."""

from __future__ import annotations

import builtins
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from partywall.audit import changes
from partywall.catalog import Catalog
from partywall.clock import utc
from partywall.directory import Directory
from partywall.errors import ConfigError, InvalidArgument, PartywallError, TenantConflict, TenantNotFound
from partywall.isolation import Isolation
from partywall.journal import Journal
from partywall.ledger import LifecycleRecord, Operation
from partywall.model import Owner, Settings, Status, Strategy, Tenant, TenantSpec
from partywall.names import TenantId, new_tenant_id, parse_plan, parse_slug
from partywall.tenants.arguments import by_field, document_of, moment_text, reason_of, status_of, valid
from partywall.tenants.creation import Creation
from partywall.tenants.purging import Purging

__all__ = ["Suspension", "Tenants"]

_log: Final = logging.getLogger("partywall.tenants")
_EDIT: Final = "tenant.edit"
_DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Suspension:
    """What a suspension or deletion reached."""

    tenant: Tenant
    stopped: tuple[str, ...]
    """The agents that it stopped."""
    not_stopped: tuple[str, ...]
    """The agents that would not stop in time; every handle of theirs is refused all the same."""


class Tenants:
    """The tenants of one engine. Each change is in force, durable and audited when the call returns."""

    def __init__(
        self,
        catalog: Catalog,
        directory: Directory,
        isolation: Isolation,
        journal: Journal,
        stop_agents: Callable[[TenantId], tuple[tuple[str, ...], tuple[str, ...]]],
    ) -> None:
        self._catalog = catalog
        self._directory = directory
        self._isolation = isolation
        self._journal = journal
        self._stop_agents = stop_agents
        self._changing = threading.RLock()
        self._creation = Creation(catalog, directory, isolation, journal)
        self._purging = Purging(catalog, directory, isolation, journal)

    def get(self, tenant_id: str) -> Tenant:
        """The tenant, whatever its status; TenantNotFound."""
        return self._directory.tenant(tenant_id)

    def get_by_slug(self, slug: str) -> Tenant:
        """The tenant that has the slug now; TenantNotFound."""
        return self._directory.tenant(self._directory.find(parse_slug(slug)))

    def list(self, *, status: Status | str | None = None, plan: str | None = None) -> Sequence[Tenant]:
        """The tenants, by slug, all or those of a status or a plan."""
        wanted = None if status is None else status_of(status)
        ids = [known for known in self._directory.ids() if wanted in (None, self._directory.status(known))]
        entries = [entry for known in ids if (entry := self._catalog.snapshot.entry(known)) is not None]
        chosen = sorted((each for each in entries if plan in (None, each.plan)), key=lambda entry: entry.slug)
        return [self._directory.tenant(each.id) for each in chosen]

    def create(
        self,
        *,
        name: str,
        slug: str,
        plan: str,
        owner: Owner | Mapping[str, Any],
        status: Status | str = Status.ACTIVE,
        settings: Settings | Mapping[str, Any] | None = None,
        quotas: Mapping[str, Any] | None = None,
        billing: Mapping[str, Any] | None = None,
        isolation: Strategy | str | None = None,
        rate_limits: Mapping[str, Any] | None = None,
        domains: Sequence[str] = (),
    ) -> Tenant:
        """Make a tenant: its file, its place in a store, its records. All of it or nothing.

        InvalidArgument names the field; TenantConflict: the slug or a domain is in use; BackendNotFound: no
        installed backend offers the isolation that its plan asks for.
        """
        given = {
            "id": new_tenant_id(),
            "name": name,
            "slug": slug,
            "type": plan,
            "status": status,
            "created_at": utc(self._journal.clock.now()),
            "owner": owner,
            "settings": settings or {},
            "quotas": quotas or {},
            "billing": billing,
            "isolation": isolation,
            "rate_limits": rate_limits or {},
            "domains": tuple(domains),
        }
        spec = valid(TenantSpec, {name: value for name, value in given.items() if value not in ({}, ())})
        if spec.status not in (Status.ACTIVE, Status.PENDING):
            raise InvalidArgument("status: a tenant is created active or pending")
        with self._changing:
            return self._creation.create(spec)

    def update_settings(self, tenant_id: str, settings: Mapping[str, Any], *, if_version: str | None = None) -> Tenant:
        """Set the named settings and leave the others; None removes one.

        With ``if_version``, the ``version`` of the tenant that the caller saw, TenantConflict when its file says
        something else by now: nothing is changed, and the error's ``diff`` shows what was.
        """
        self._require(tenant_id, if_version)
        before = self._directory.spec(self._directory.find(tenant_id)).settings
        after = valid(Settings, {**before.model_dump(), **by_field(Settings, settings)})
        old, new = document_of(before), document_of(after)
        edits = {
            f"settings.{path}": new.get(path)
            for path in sorted(old.keys() | new.keys())
            if old.get(path) != new.get(path)
        }
        return self._edit(tenant_id, edits, "tenant.settings_changed", if_version)

    def change_plan(self, tenant_id: str, plan: str, *, if_version: str | None = None) -> Tenant:
        """Put the tenant on another plan; its limits and features change at once, its data stays where it is.

        ``if_version`` as in ``update_settings``.
        """
        self._require(tenant_id, if_version)
        name = parse_plan(plan)
        if name not in self._catalog.snapshot.plans:
            raise InvalidArgument(
                f"plan '{name}' is not in plans.yaml; it has {', '.join(self._catalog.snapshot.plans)}"
            )
        return self._edit(tenant_id, {"type": name}, "tenant.plan_changed", if_version)

    def rename(
        self, tenant_id: str, *, name: str | None = None, slug: str | None = None, if_version: str | None = None
    ) -> Tenant:
        """Give the tenant another name, slug or both; its id, and all that is stored under it, stays.

        ``if_version`` as in ``update_settings``.
        """
        self._require(tenant_id, if_version)
        edits: dict[str, Any] = {}
        if name is not None:
            edits["name"] = name
        if slug is not None:
            edits["slug"] = parse_slug(slug)
            holder = self._catalog.snapshot.by_slug(edits["slug"])
            if holder is not None and holder.id != self._directory.find(tenant_id):
                raise TenantConflict(f"slug '{slug}' is in use")
        return self._edit(tenant_id, edits, "tenant.renamed", if_version)

    def suspend(self, tenant_id: str, *, reason: str) -> Suspension:
        """Take the tenant out of service: refused at once, agents stopped, transactions rolled back.

        In force before this returns, whether or not its file can be written.
        """
        reason = reason_of(reason)
        with self._changing:
            _, record = self._changeable(tenant_id)
            if record.status is Status.SUSPENDED:
                raise TenantConflict("the tenant is suspended already")
            now = self._journal.clock.now()
            imposed = replace(record, status=Status.SUSPENDED, reason=reason, suspended_at=now)
            return self._out_of_service(
                imposed,
                "tenant.suspended",
                {"reason": reason},
                {"status": Status.SUSPENDED.value, "suspendedAt": moment_text(now), "suspensionReason": reason},
            )

    def resume(self, tenant_id: str) -> Tenant:
        """Put a suspended or pending tenant in service: lifts what was imposed, then what its file says.

        ConfigError when the file cannot be written: the tenant stays out of service until its file says active.
        """
        with self._changing:
            known, record = self._changeable(tenant_id)
            if self._directory.status(known) is Status.ACTIVE:
                raise TenantConflict("the tenant is in service already")
            imposed = replace(record, status=Status.ACTIVE, reason=None, suspended_at=None)
            self._journal.impose(imposed, "tenant.resumed", {})
            self._directory.impose(imposed)
            self._catalog.edit_tenant(
                known, {"status": "active", "suspendedAt": None, "suspensionReason": None}, audited=True
            )
            return self._directory.tenant(known)

    def delete(self, tenant_id: str) -> Suspension:
        """Delete the tenant softly: out of service at once, its data kept until ``tenant.purge_at``.

        That its file alone says deleted is no obstacle: this decides when its data is destroyed.
        """
        with self._changing:
            known = self._directory.find(tenant_id)
            record = self._record(known)
            if record.status is Status.DELETED:
                raise TenantConflict("the tenant is deleted; restore it first")
            now = self._journal.clock.now()
            purge_at = now + self._directory.grants(known).retention_days * _DAY
            imposed = replace(self._with_files_word(record), status=Status.DELETED, deleted_at=now, purge_at=purge_at)
            edits = {"deletedAt": moment_text(now)}
            if self._directory.spec(known).status is not Status.PENDING:  # what is pending is so again when restored
                edits["status"] = Status.DELETED.value
            return self._out_of_service(imposed, "tenant.deleted", {"purgeAt": moment_text(purge_at)}, edits)

    def restore(self, tenant_id: str) -> Tenant:
        """Undo a deletion before the purge; the tenant is as it was, suspended if it was suspended."""
        with self._changing:
            known = self._directory.find(tenant_id)
            if self._directory.status(known) is not Status.DELETED:
                raise TenantConflict("the tenant is not deleted")
            self._purging.require_not_begun(known)
            before = self._record(known)
            back = Status.SUSPENDED if before.suspended_at is not None else Status.ACTIVE
            imposed = replace(before, status=back, deleted_at=None, purge_at=None)
            self._journal.impose(imposed, "tenant.restored", {})
            self._directory.impose(imposed)
            edits: dict[str, Any] = {"deletedAt": None}
            if self._directory.spec(known).status is Status.DELETED:  # a suspension by file stays the file's
                edits["status"] = back.value
            self._catalog.edit_tenant(known, edits, audited=True)
            return self._directory.tenant(known)

    def purge(self, tenant_id: str, *, before_due: bool = False) -> None:
        """Destroy all that is left of a deleted tenant, down to its bytes on disk; only audit records remain.

        TenantConflict: it is not deleted, or its retention is not over and ``before_due`` is not set.
        """
        with self._changing:
            self._purging.carry_out(self._purging.begin(self._directory.find(tenant_id), before_due=before_due))

    def purge_due(self) -> Sequence[TenantId]:
        """Purge every deleted tenant whose retention is over, and those whose purge was begun; returns their ids.

        Those that share a file cost one rewrite of it. One that fails keeps none of the others out of what is not
        shared with it: its error is raised once all were tried.
        """
        operations: builtins.list[Operation] = []
        errors: builtins.list[PartywallError] = []
        for tenant_id, begun in self._purging.due().items():
            try:
                with self._changing:
                    operations.append(self._purging.begin(tenant_id, before_due=begun))
            except TenantNotFound:
                continue  # purged by another thread meanwhile
            except PartywallError as error:
                errors.append(error)
        done, failed = self._carry_out(operations)
        if errors or failed:
            raise [*errors, *failed][0]
        return done

    def _carry_out(self, purges: Sequence[Operation]) -> tuple[builtins.list[TenantId], builtins.list[PartywallError]]:
        done: builtins.list[TenantId] = []
        errors: builtins.list[PartywallError] = []
        for group in self._purging.together(purges):
            try:
                with self._changing:
                    done += self._purging.carry_out(*group)
            except PartywallError as error:
                errors.append(error)
        return done, errors

    def recover(self) -> Sequence[Operation]:
        """Finish or undo what a crash interrupted; called once, when the engine opens. Returns what it took up."""
        unfinished = self._journal.unfinished()
        takers = {
            Creation.KIND: self._creation.recover,
            _EDIT: self._recover_edit,
        }
        for operation in unfinished:
            taker = takers.get(operation.kind)
            if taker is None:
                continue
            try:
                taker(operation)
            except PartywallError as error:
                # One tenant's step must not keep all others out of service; the tenant stays out until it is done.
                _log.error("%s of %s could not be finished yet: %s", operation.kind, operation.tenant_id, error)
        _, errors = self._carry_out([each for each in unfinished if each.kind == Purging.KIND])
        for failure in errors:
            _log.error("a purge could not be finished yet: %s", failure)
        return unfinished

    def _changeable(self, tenant_id: str) -> tuple[TenantId, LifecycleRecord]:
        known = self._directory.find(tenant_id)
        if self._directory.status(known) is Status.DELETED:
            raise TenantConflict("the tenant is deleted; restore it first")
        return known, self._record(known)

    def _record(self, known: TenantId) -> LifecycleRecord:
        slug = self._directory.spec(known).slug
        return self._directory.imposed(known) or LifecycleRecord(known, slug, Status.ACTIVE)

    def _with_files_word(self, record: LifecycleRecord) -> LifecycleRecord:
        """The record, with the suspension that the file alone had imposed: its status is about to be overwritten."""
        spec = self._directory.spec(record.tenant_id)
        if spec.status is not Status.SUSPENDED or record.suspended_at is not None:
            return record
        since = spec.suspended_at.timestamp() if spec.suspended_at else self._journal.clock.now()
        return replace(record, suspended_at=since, reason=record.reason or spec.suspension_reason)

    def _out_of_service(
        self, imposed: LifecycleRecord, action: str, details: Mapping[str, Any], edits: Mapping[str, Any]
    ) -> Suspension:
        self._journal.impose(imposed, action, details)
        self._directory.impose(imposed)
        stopped, not_stopped = self._stop_agents(imposed.tenant_id)
        self._isolation.settle(imposed.tenant_id)
        try:
            self._catalog.edit_tenant(imposed.tenant_id, edits, audited=True)
        except (ConfigError, TenantConflict, OSError) as error:
            # The ledger holds already; a source that cannot be written does not weaken it.
            _log.warning("the file of %s could not be written after %s: %s", imposed.tenant_id, action, error)
        return Suspension(self._directory.tenant(imposed.tenant_id), stopped, not_stopped)

    def _require(self, tenant_id: str, if_version: str | None) -> None:
        """Look at the file itself, before anything is worked out from what is in force of it."""
        if if_version is not None:
            self._catalog.edit_tenant(self._directory.find(tenant_id), {}, if_version=if_version, audited=True)

    def _edit(self, tenant_id: str, edits: Mapping[str, Any], action: str, if_version: str | None) -> Tenant:
        with self._changing:
            known, _ = self._changeable(tenant_id)
            before = document_of(self._directory.spec(known))
            if edits:
                operation = self._journal.begin(
                    _EDIT, known, {"edits": dict(edits), "action": action, "before": before}
                )
                with self._journal.undoing(lambda error: self._journal.fail(operation, error)):
                    self._catalog.edit_tenant(known, edits, if_version=if_version, audited=True)
                self._finish_edit(operation)
            return self._directory.tenant(known)

    def _finish_edit(self, operation: Operation) -> None:
        after = document_of(self._directory.spec(TenantId(str(operation.tenant_id))))
        own = operation.arguments["edits"]  # what an operator saved meanwhile is recorded as the file's
        found = changes(operation.arguments["before"], after)
        details = {"changes": {path: pair for path, pair in found.items() if path in own}}
        self._journal.finish(operation, operation.arguments["action"], details)

    def _recover_edit(self, operation: Operation) -> None:
        try:
            self._catalog.edit_tenant(TenantId(str(operation.tenant_id)), operation.arguments["edits"], audited=True)
            self._finish_edit(operation)
        except (ConfigError, TenantConflict, TenantNotFound) as error:
            self._journal.fail(operation, error)
