"""The hooks of a plugin, in the order in which they are called. Entry points stand in the group ``partywall``.

A plugin is a module or an object whose functions carry ``@partywall.hookimpl`` and the name of a hook;
it may take fewer arguments than the hook offers. Hooks serve discovery and lifecycle and are never on
the path of a request's data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from partywall.backend import BackendSpec
    from partywall.catalog.snapshot import CatalogChange
    from partywall.errors import Problem
    from partywall.ledger.contract import AuditRecord
    from partywall.model import Status
    from partywall.names import TenantId

__all__ = ["GROUP", "hookimpl"]

GROUP = "partywall"
"""The entry-point group, and the name of the pluggy project."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)
"""Marks a plugin's implementation of a hook."""


@hookspec
def partywall_backends() -> Iterable[BackendSpec]:  # type: ignore[empty-body]  # a specification has no body
    """The backends that the plugin offers. Called once per engine and by ``partywall plugins``.

    Must be cheap: open nothing here. An exception disables this plugin alone and is shown as its error.
    """


@hookspec
def partywall_config_applied(change: CatalogChange) -> None:
    """Edited files, or an edit by a caller, are in force: one call for each snapshot that was published.

    ``change.snapshot`` is in force, ``change.previous`` was before; ``change.tenants`` and ``change.plans`` differ.
    Also called at open for what was edited while no engine ran. On a thread of the engine's own: it may call the
    engine. An exception is logged and changes nothing.
    """


@hookspec
def partywall_config_refused(problems: Sequence[Problem]) -> None:
    """A file was found wrong; what was last good of it stays in force.

    Called, as ``partywall_config_applied`` is, whenever there is a problem that was not there before, with
    everything that is wrong then. An exception is logged and changes nothing.
    """


@hookspec(firstresult=True)
def partywall_sealed_sql() -> Sequence[str] | None:
    """The program, with its first arguments, that runs one statement of sealed SQL; the first plugin's is taken.

    Called when engine.yaml chooses ``sql: sealed``. The engine starts it for each statement, without environment
    or open files, appends the most bytes of memory and seconds of processor time as two numbers, which the
    program must impose on itself first, and writes to its input: the length of a pickle in 8 bytes, the pickle of
    (``partywall.backend.Sql``, the tables), and an Arrow IPC stream of each table's rows. It reads from its output
    one line, ``{"error": null}`` or what to tell the caller, and then an Arrow IPC stream of the result.
    """


@hookspec
def partywall_status_changed(tenant_id: TenantId, before: Status | None, after: Status | None) -> None:
    """A tenant's status in force changed; None stands for a tenant that is not there.

    Called after the change is in force and the tenant's agents were told to stop, in the order of the changes,
    on a thread of the engine's own: it may call the engine. An exception is logged and changes nothing.
    """


@hookspec
def partywall_audit_recorded(record: AuditRecord) -> None:
    """An audit record was committed. Called afterwards, so a failure here cannot undo it: it is logged."""


@hookspec
def partywall_quota_threshold(tenant_id: TenantId, metric: str, percent: int, current: int, limit: int) -> None:
    """A tenant's usage reached 80 or 100 percent of a limit, hard or soft.

    Called after the commit, on the thread that tells of audit records, once for each limit in a calendar
    month. An exception is logged and changes nothing.
    """
