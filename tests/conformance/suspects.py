"""How a bad backend is announced: with the tests of the kit that must catch it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from honest import DurableBackend, HonestBackend, HonestSession, announced

from partywall.backend import (
    BackendSpec,
    Capability,
)


@dataclass(frozen=True)
class Suspect:
    """A bad backend, and the tests that must fail on it."""

    spec: BackendSpec
    caught_by: tuple[str, ...]
    durable: bool


SUSPECTS: dict[str, Suspect] = {}


def caught_by(*tests: str, durable: bool = False, claims: Capability | None = None) -> Callable[[type], BackendSpec]:
    """Announces a bad backend, or one whose sessions are bad; its name stands for the announcement then."""

    def announce(bad: type) -> BackendSpec:
        backend = bad
        if issubclass(bad, HonestSession):
            base = DurableBackend if durable else HonestBackend
            backend = type(bad.__name__, (base,), {"session_type": bad})
        spec = announced(backend, durable=durable)
        if claims is not None:
            spec = replace(spec, capabilities=spec.capabilities | {claims})
        SUSPECTS[bad.__name__] = Suspect(spec, tests, durable)
        return spec

    return announce
