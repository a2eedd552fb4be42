"""Finds the backend that a run is about, in this process and in the children that it kills."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace

from partywall.backend import BackendSpec
from partywall.errors import BackendNotFound
from partywall.hookspecs import hookimpl
from partywall.registry import Registry

__all__ = ["plugins_for", "resolve"]


def resolve(name: str) -> BackendSpec:
    """The backend with this name; BackendNotFound tells which are installed, and which plugins are broken.

    ``module:attribute`` names a ``BackendSpec`` that no installed plugin announces yet.
    """
    module, separate, attribute = name.partition(":")
    if separate:
        spec = getattr(import_module(module), attribute)
        if not isinstance(spec, BackendSpec):
            raise BackendNotFound(f"{name} is not a BackendSpec")
        return spec
    registry = Registry()
    if name in registry.backends:
        return registry.backends[name].spec
    installed = ", ".join(sorted(registry.backends)) or "none"
    broken = "".join(f"\n  {problem}" for problem in registry.problems)
    raise BackendNotFound(f"backend '{name}' is not installed; installed are: {installed}{broken}")


def plugins_for(name: str) -> list[object]:
    """What an engine must be given beside the installed plugins, so that it finds the backend."""
    if ":" not in name:
        return []
    spec = resolve(name)

    def partywall_backends() -> list[BackendSpec]:
        return [spec]

    return [SimpleNamespace(partywall_backends=hookimpl(partywall_backends))]
