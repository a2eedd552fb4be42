"""Finds plugins and the backends that they offer; one bad plugin is one error, and the others live."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import pluggy

from partywall import hookspecs
from partywall.backend import BackendSpec, Capability
from partywall.errors import BackendNotFound, ConfigError
from partywall.model import BackendChoice, EngineConfig, SqlTier, Strategy
from partywall.names import meant

__all__ = ["FoundBackend", "PluginProblem", "Registry"]

_OURS: Final = "partywall-duckdb"
"""The distribution to recommend when nothing offers a strategy."""


@dataclass(frozen=True, slots=True)
class FoundBackend:
    """A backend, and the distribution that brought it."""

    spec: BackendSpec
    distribution: str
    version: str


@dataclass(frozen=True, slots=True)
class PluginProblem:
    """A plugin, or one of its backends, that could not be used, and why."""

    distribution: str
    entry_point: str
    message: str

    def __str__(self) -> str:
        return f"{self.distribution} ({self.entry_point}): {self.message}"


class Registry:
    """The installed plugins, and those that the embedder passed in."""

    def __init__(self, plugins: Sequence[object] = ()) -> None:
        self._manager = pluggy.PluginManager(hookspecs.GROUP)
        self._manager.add_hookspecs(hookspecs)
        self.problems: list[PluginProblem] = []
        self.backends: dict[str, FoundBackend] = {}
        self._sealed_sql: Sequence[str] | None = None
        for entry_point in sorted(entry_points(group=hookspecs.GROUP), key=lambda found: found.name):
            self._load(entry_point)
        for plugin in plugins:
            self._add(plugin, getattr(plugin, "__name__", type(plugin).__name__), "embedder", "")

    @property
    def sealed_sql(self) -> Sequence[str] | None:
        """The program that runs sealed SQL; None when no plugin brings one."""
        if self._sealed_sql is None:
            self._sealed_sql = self._manager.hook.partywall_sealed_sql()
        return self._sealed_sql

    @property
    def hook(self) -> Any:
        """Calls a hook of every plugin."""
        return self._manager.hook

    def choose(self, strategy: Strategy, config: EngineConfig) -> FoundBackend:
        """The backend that serves a strategy under engine.yaml; BackendNotFound says what to install."""
        choice = config.backends.get(strategy)
        found = self._named(strategy, choice) if choice else self._only(strategy)
        if Capability.DURABLE not in found.spec.capabilities and not (choice and choice.ephemeral):
            raise ConfigError(
                f"backend '{found.spec.name}' does not keep rows across a restart; to use it all the same, write in "
                f"engine.yaml: backends: {{{strategy}: {{backend: {found.spec.name}, ephemeral: true}}}}"
            )
        self.sql_tier(found, config)
        return found

    def sql_tier(self, found: FoundBackend, config: EngineConfig) -> SqlTier:
        """What becomes of SQL that the backend's tenants write; ConfigError for a tier that it cannot have."""
        spec = found.spec
        choice = config.backends.get(spec.strategy)
        wanted = choice.sql if choice is not None and choice.backend == spec.name else None
        able = Capability.SQL in spec.capabilities
        if wanted is None:
            return SqlTier.VALIDATED if able and spec.enforced_by == "engine" else SqlTier.REFUSED
        if wanted is SqlTier.VALIDATED and not able:
            raise ConfigError(
                f"engine.yaml: backend '{spec.name}' cannot have 'sql: validated': its tenants share one store, and a "
                "guard of texts would be all that keeps a statement from the others; write 'sql: sealed' or "
                "'sql: refused', or place tenants who need SQL at database_level"
            )
        if wanted is SqlTier.SEALED and self.sealed_sql is None:
            raise ConfigError(
                f"engine.yaml: 'sql: sealed' of backend '{spec.name}' needs a plugin that brings a process for it; "
                f"install {_OURS}"
            )
        return wanted

    def check_sql(self, config: EngineConfig) -> None:
        """Raise ConfigError when engine.yaml gives a backend a tier that it cannot have."""
        for choice in config.backends.values():
            found = self.backends.get(choice.backend)
            if found is not None:
                self.sql_tier(found, config)

    def named(self, name: str) -> FoundBackend:
        """The backend of that name, for a placement that was made with it; BackendNotFound."""
        try:
            return self.backends[name]
        except KeyError:
            hint = meant(name, self.backends)
            advice = f"{hint} If not, install" if hint else "; install"
            raise BackendNotFound(f"backend '{name}' is not installed{advice} {_distribution_of(name)}") from None

    def _named(self, strategy: Strategy, choice: BackendChoice) -> FoundBackend:
        found = self.named(choice.backend)
        if found.spec.strategy is not strategy:
            raise ConfigError(
                f"engine.yaml names backend '{choice.backend}' for {strategy}, but it implements {found.spec.strategy}"
            )
        return found

    def _only(self, strategy: Strategy) -> FoundBackend:
        offered = [found for found in self.backends.values() if found.spec.strategy is strategy]
        if not offered:
            raise BackendNotFound(
                f"no installed backend offers {strategy}; install a release of {_OURS} that does, or another "
                f"distribution whose backend does, or give the tenant another 'isolation'"
            )
        durable = [found for found in offered if Capability.DURABLE in found.spec.capabilities]
        candidates = durable or offered
        if len(candidates) > 1:
            names = ", ".join(sorted(found.spec.name for found in candidates))
            raise ConfigError(f"several backends offer {strategy} ({names}); name one under 'backends' in engine.yaml")
        return candidates[0]

    def _load(self, entry_point: EntryPoint) -> None:
        distribution = entry_point.dist.name if entry_point.dist else "unknown"
        version = entry_point.dist.version if entry_point.dist else ""
        try:
            plugin = entry_point.load()
        except Exception as error:  # noqa: BLE001  # whatever a stranger's import raises is that plugin's problem alone
            self._fail(distribution, entry_point.name, error)
        else:
            self._add(plugin, entry_point.name, distribution, version)

    def _add(self, plugin: object, name: str, distribution: str, version: str) -> None:
        try:
            self._manager.register(plugin)
            self._manager.check_pending()
            for spec in self._announced(plugin):
                self._admit(FoundBackend(spec, distribution, version), name)
        except Exception as error:  # noqa: BLE001  # as above: a hook may raise anything
            if self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
            self._fail(distribution, name, error)

    def _announced(self, plugin: object) -> Iterable[BackendSpec]:
        for implementation in self._manager.hook.partywall_backends.get_hookimpls():
            if implementation.plugin is plugin:
                announced: list[BackendSpec] = list(implementation.function())  # type: ignore[call-overload]  # pluggy types it as object
                return announced
        return []

    def _admit(self, found: FoundBackend, entry_point: str) -> None:
        if not isinstance(found.spec, BackendSpec):
            raise TypeError(f"partywall_backends returned {type(found.spec).__name__}, not a BackendSpec")
        taken = self.backends.get(found.spec.name)
        if taken is not None:
            message = f"backend '{found.spec.name}' is already offered by {taken.distribution}"
            self.problems.append(PluginProblem(found.distribution, entry_point, message))
            return
        self.backends[found.spec.name] = found

    def _fail(self, distribution: str, entry_point: str, error: Exception) -> None:
        self.problems.append(PluginProblem(distribution, entry_point, f"{type(error).__name__}: {error}"))


def _distribution_of(backend: str) -> str:
    return f"the distribution that offers it (partywall-{backend.partition('-')[0]}, by convention)"
