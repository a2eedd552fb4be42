"""The backends that are open, each opened once, when the first tenant needs it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from partywall.backend import Backend, BackendSetup
from partywall.catalog import Catalog
from partywall.clock import Clock
from partywall.errors import BackendError, PartywallError
from partywall.model import SqlTier, Strategy
from partywall.names import Region
from partywall.registry import FoundBackend, Registry

__all__ = ["Stores"]

_log = logging.getLogger("partywall.stores")


class Stores:
    """Opens backends on demand and keeps them until the engine closes."""

    def __init__(
        self,
        registry: Registry,
        catalog: Catalog,
        clock: Clock,
        folder: Path,
        report: Callable[[str, str, Mapping[str, str]], None],
    ) -> None:
        self._registry = registry
        self._catalog = catalog
        self._clock = clock
        self._folder = folder
        self._report = report
        self._open: dict[str, Backend] = {}
        self._opening = threading.Lock()

    def chosen(self, strategy: Strategy) -> FoundBackend:
        """The backend for tenants that are placed from now on; BackendNotFound, ConfigError."""
        return self._registry.choose(strategy, self._catalog.config)

    def named(self, name: str) -> FoundBackend:
        """The backend that a placement names; BackendNotFound."""
        return self._registry.named(name)

    def sql_tier(self, name: str) -> SqlTier:
        """What becomes of SQL that a tenant of the backend writes itself; BackendNotFound, ConfigError."""
        return self._registry.sql_tier(self.named(name), self._catalog.config)

    def backend(self, name: str) -> Backend:
        """The open backend; opens it if need be. BackendNotFound, ConfigError, BackendError."""
        opened = self._open.get(name)
        if opened is not None:
            return opened
        found = self.named(name)
        with self._opening:
            if name not in self._open:
                self._open[name] = self._opened(found)
            return self._open[name]

    def check_region(self, region: Region | None) -> None:
        """Raise BackendError for a region that engine.yaml gives no folder: its data has nowhere to be."""
        if region is not None and region not in self._catalog.config.regions:
            raise BackendError(f"engine.yaml names no data folder for region '{region}'; add it under 'regions'")

    def maintain(self) -> None:
        """Let every open backend keep itself; one that has become of no use is closed, and opened anew when needed."""
        for name, backend in list(self._open.items()):
            if backend.usable():
                backend.maintain()
            else:
                self._discard(name, backend)

    def health(self) -> dict[str, Mapping[str, str]]:
        """What is wrong, by backend and location."""
        return {name: problems for name, backend in list(self._open.items()) if (problems := backend.health())}

    def close(self) -> None:
        """Close every backend; the first error is raised after all were tried."""
        errors: list[Exception] = []
        with self._opening:
            while self._open:
                _, backend = self._open.popitem()
                try:
                    backend.close()
                except Exception as error:  # noqa: BLE001  # raised below, once the others are closed too
                    errors.append(error)
        if errors:
            raise errors[0]

    def _discard(self, name: str, backend: Backend) -> None:
        with self._opening:
            if self._open.pop(name, None) is backend:
                try:
                    backend.close()
                except Exception as error:  # noqa: BLE001  # it is of no use any more, whatever it says
                    _log.warning("%s was of no use any more, and closing it failed: %s", name, type(error).__name__)
                self._report(name, "reopened", {})

    def _opened(self, found: FoundBackend) -> Backend:
        name = found.spec.name
        choice = self._catalog.config.backends.get(found.spec.strategy)
        options = dict(choice.options) if choice is not None and choice.backend == name else {}
        setup = BackendSetup(
            tables=self._catalog.tables,
            folder=lambda region: self._region_folder(name, region),
            clock=self._clock,
            options=options,
            report=lambda event, details: self._report(name, event, details),
            regions=tuple(self._catalog.config.regions),
        )
        try:
            return found.spec.open(setup)
        except PartywallError:
            raise
        except Exception as error:
            raise BackendError(f"backend '{name}' could not be opened") from error

    def _region_folder(self, name: str, region: Region | None) -> Path:
        base = self._folder / ("data" if region is None else self._catalog.config.regions[region])
        folder = base / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder
