"""A partywall backend over plain dicts: the required part of the contract and nothing else."""
# ruff: noqa: D102, ARG002  # the contract documents the methods, and names arguments that dicts have no use for

from __future__ import annotations

from partywall import BackendError, ConfigError, IsolationBreach, hookimpl
from partywall.backend import Backend, BackendSetup, BackendSpec, Delete, Insert, Placement, Row, Scan, Session, Write
from partywall.model import Strategy
from partywall.names import Region, TenantId

Tables = dict[str, dict[str, Row]]  # one tenant's rows by table and id; replaced, never changed in place


class EphemeralSession(Session):
    """Works for one tenant; a transaction is a draft that takes the place of what was there."""

    def __init__(self, tenants: dict[str, Tables], place: str) -> None:
        self._tenants, self._target, self._place, self._unfinished = tenants, tenants, place, 0

    def begin(self, *, read_only: bool = False) -> None:
        self._target, self._unfinished = {self._place: self._tenants[self._place]}, 0

    def commit(self) -> None:
        target, self._target = self._target, self._tenants
        if target is self._tenants or self._unfinished or self._place not in self._tenants:
            raise BackendError("the transaction cannot be committed; nothing was written")
        self._tenants[self._place] = target[self._place]

    def rollback(self) -> None:
        self._target = self._tenants

    close = rollback

    def scan(self, statement: Scan) -> list[Row]:
        return [dict(row) for row in self._target[self._place].get(statement.table.name, {}).values()]

    def write(self, statement: Write) -> int:
        self._unfinished += 1  # and back to what it was at the end, unless something fails in between
        rows = dict((tables := self._target[self._place]).get(name := statement.table.name, {}))
        if isinstance(statement, Insert):
            touched = {row["id"]: dict(row) for row in statement.rows}
        else:
            changes = {} if isinstance(statement, Delete) else statement.changes
            touched = {row_id: {**rows.pop(row_id), **changes} for row_id in {*statement.ids} & rows.keys()}
        self._target[self._place] = {**tables, name: rows if isinstance(statement, Delete) else {**rows, **touched}}
        self._unfinished -= 1
        return len(touched)


class EphemeralBackend(Backend):
    """The tables of every tenant, in one process's memory."""

    def __init__(self, setup: BackendSetup) -> None:
        self._tenants: dict[str, Tables] = {}
        if setup.options:
            raise ConfigError("ephemeral-dict has no options")

    def provision(self, tenant_id: TenantId, region: Region | None) -> str:
        self._tenants.setdefault(location := f"{tenant_id}@{region or ''}", {})
        return location

    def drop(self, placement: Placement) -> None:
        self._tenants.pop(placement.location, None)

    def stamp(self, placement: Placement) -> TenantId | None:
        return TenantId(placement.location.partition("@")[0]) if placement.location in self._tenants else None

    def session(self, placement: Placement) -> Session:
        if self.stamp(placement) != placement.tenant_id:
            raise IsolationBreach("nothing of this tenant is here")
        return EphemeralSession(self._tenants, placement.location)

    def close(self) -> None:
        self._tenants.clear()


@hookimpl
def partywall_backends() -> list[BackendSpec]:
    """The one backend of this distribution."""
    return [BackendSpec("ephemeral-dict", Strategy.ROW, EphemeralBackend, summary="dicts, gone with the process")]
