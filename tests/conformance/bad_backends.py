"""Backends that are wrong on purpose, by name, each announced as a plugin would announce it."""

from __future__ import annotations

import bad_stores  # noqa: F401  # announces those that it holds
import bad_walls  # noqa: F401  # as above
from suspects import SUSPECTS

from partywall.backend import BackendSpec


def __getattr__(name: str) -> BackendSpec:
    if name not in SUSPECTS:
        raise AttributeError(name)
    return SUSPECTS[name].spec
