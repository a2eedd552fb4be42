"""Who is asking: the tenant context, carried by a context variable and never by a global.

The context follows ``await``, tasks, ``asyncio.to_thread`` and callbacks of the loop. It does not follow
raw threads, executors, timers or queues: there nobody is asking, and what needs a tenant refuses.
``carry`` takes the context along to such a place on purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from partywall.errors import PermissionDenied, TenantRequired

if TYPE_CHECKING:
    from partywall.model import Tenant
    from partywall.names import TenantId

__all__ = ["TenantContext", "carry", "current_tenant", "entered", "require_tenant"]

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class TenantContext:
    """The tenant, the user and the permissions of one request or job."""

    tenant_id: TenantId
    tenant: Tenant
    """The tenant as it stood when the context was entered."""
    user_id: str | None = None
    permissions: frozenset[str] = frozenset()

    def allows(self, permission: str) -> bool:
        """Whether the permission ``resource:action`` was granted; ``*`` stands for one whole part."""
        resource, _, action = permission.partition(":")
        granted = {permission, f"{resource}:*", f"*:{action}", "*:*"}
        return not granted.isdisjoint(self.permissions)

    def require(self, permission: str) -> None:
        """Raise PermissionDenied unless the permission was granted."""
        if not self.allows(permission):
            raise PermissionDenied(f"permission '{permission}' is required")


class _Entry:
    """One block that a context was entered for, and the block around it."""

    __slots__ = ("context", "outer")

    def __init__(self, context: TenantContext, outer: _Entry | None) -> None:
        self.context = context
        self.outer = outer

    def encloses(self, entry: _Entry | None) -> bool:
        """Whether the entry is this one, or was made within it."""
        while entry is not None and entry is not self:
            entry = entry.outer
        return entry is self


_current: ContextVar[_Entry | None] = ContextVar("partywall_tenant", default=None)


def current_tenant() -> TenantContext | None:
    """The tenant context, or None where nobody is asking."""
    entry = _current.get()
    return None if entry is None else entry.context


def require_tenant() -> TenantContext:
    """The tenant context, or TenantRequired."""
    entry = _current.get()
    if entry is None:
        raise TenantRequired(
            "no tenant context is set here; enter one with engine.tenant_context(...), or name the tenant"
        )
    return entry.context


@contextmanager
def entered(context: TenantContext) -> Iterator[TenantContext]:
    """Make the context current within the block; the previous one is current again afterwards."""
    entry = _Entry(context, _current.get())
    _current.set(entry)
    try:
        yield context
    finally:
        # A generator may be closed in a task that works for somebody else: there, nothing may change.
        if entry.encloses(_current.get()):
            _current.set(entry.outer)
        # A task that was begun within the block may outlive it; it must not keep all blocks around it alive.
        entry.outer = None


def carry(function: Callable[P, R]) -> Callable[P, R]:
    """The function, bound to the context that is current now, for threads, executors and timers."""
    context = require_tenant()

    @wraps(function)
    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        with entered(context):
            return function(*args, **kwargs)

    return carried


def permissions_of(names: Iterable[str]) -> frozenset[str]:
    """The permissions as a set; a single text is taken for a mistake and refused."""
    if isinstance(names, str):
        raise TypeError("permissions is a set of texts such as {'projects:read'}, not one text")
    return frozenset(names)
