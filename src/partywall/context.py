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


_current: ContextVar[TenantContext | None] = ContextVar("partywall_tenant", default=None)


def current_tenant() -> TenantContext | None:
    """The tenant context, or None where nobody is asking."""
    return _current.get()


def require_tenant() -> TenantContext:
    """The tenant context, or TenantRequired."""
    context = _current.get()
    if context is None:
        raise TenantRequired(
            "no tenant context is set here; enter one with engine.tenant_context(...), or name the tenant"
        )
    return context


@contextmanager
def entered(context: TenantContext) -> Iterator[TenantContext]:
    """Make the context current within the block; the previous one is current again afterwards."""
    before = _current.get()
    _current.set(context)
    try:
        yield context
    finally:
        # Set, not reset: a generator may be closed from another task, where the token would not be valid.
        _current.set(before)


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
