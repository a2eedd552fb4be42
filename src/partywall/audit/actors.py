"""Who acts now: named by whoever called the engine, else the user in the tenant context."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from partywall.context import current_tenant
from partywall.errors import InvalidArgument

__all__ = ["acting_as", "actor", "legal_actor"]

_acting: ContextVar[str | None] = ContextVar("partywall_actor", default=None)


def legal_actor(name: object) -> str:
    """The name itself, or InvalidArgument: 1 to 256 printable characters, so that it cannot forge a line of a log."""
    if not isinstance(name, str) or not 0 < len(name) <= 256 or not name.isprintable():
        raise InvalidArgument("an actor must be 1 to 256 printable characters, such as 'cli:root'")
    return name


@contextmanager
def acting_as(name: str) -> Iterator[None]:
    """Record what is done within the block as the actor's doing; InvalidArgument for an unprintable name."""
    before = _acting.get()
    _acting.set(legal_actor(name))
    try:
        yield
    finally:
        # Set, not reset: a generator may be closed from another task, where the token would not be valid.
        _acting.set(before)


def actor() -> str:
    """The actor that was named, else ``user:<id>`` of the tenant context, else ``api``."""
    named = _acting.get()
    if named is not None:
        return named
    context = current_tenant()
    if context is None or context.user_id is None:
        return "api"
    return legal_actor(f"user:{context.user_id}")
