"""Who a token turned out to be, for one tenant."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from partywall.context import permissions_of
from partywall.errors import InvalidArgument
from partywall.names import TenantId

__all__ = ["Authenticate", "Principal"]


@dataclass(frozen=True, slots=True)
class Principal:
    """A member of the tenant that was asked about. InvalidArgument for a field that cannot be."""

    user_id: str
    permissions: frozenset[str] = frozenset()
    """In this tenant: ``resource:action``."""
    expires_at: float | None = None
    """Seconds since the epoch; None for a token without an end."""

    def __post_init__(self) -> None:
        if not _is_name(self.user_id):
            raise InvalidArgument("user_id is 1 to 200 printable characters")
        if self.expires_at is not None and type(self.expires_at) not in (int, float):
            raise InvalidArgument("expires_at is a number of seconds since the epoch, or None")
        granted = permissions_of(self.permissions)
        if not all(map(_is_name, granted)):
            raise InvalidArgument("permissions are printable texts such as 'projects:read'")
        object.__setattr__(self, "permissions", granted)

    def valid_at(self, now: float) -> bool:
        """Whether the token holds at that moment; a moment that is no number (NaN) never holds."""
        return self.expires_at is None or now < self.expires_at


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()


Verdict: TypeAlias = Principal | None
Authenticate: TypeAlias = Callable[[str, TenantId], Verdict | Awaitable[Verdict]]
"""The embedder's check of a token for one tenant: who it is there, or None for somebody without membership.

Raises AuthenticationFailed for a bad token. Anything else that it raises or returns admits nobody. It is asked
about ids of no tenant too, and answers as it does for any tenant that the token's owner is no member of. A
verdict that is cached is cached by token, tenant and the tenant's membership, never by the token alone.
"""
