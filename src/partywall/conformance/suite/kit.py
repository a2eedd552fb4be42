"""What every part of the kit stands on: one store in one folder, opened and closed as a test likes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest

from partywall.backend import Backend, BackendSetup, BackendSpec, Capability, Insert, Placement, Row, Scan, Session
from partywall.clock import ManualClock
from partywall.conformance.check import SHORT
from partywall.conformance.plugin import claimed, spec_of
from partywall.conformance.suite.sample import SPECIMENS, TABLES, token, token_row
from partywall.model import ID, Table
from partywall.names import Region, TableName, TenantId

__all__ = ["ABROAD", "MINE", "OTHERS", "Kit", "Store", "Stored", "by_id", "ids_of", "refusal", "requires", "texts_of"]

F = TypeVar("F", bound=Callable[..., Any])

MINE = TenantId("ten_mine01")
OTHERS = (TenantId("ten_mine02"), TenantId("ten_other1"))
"""The neighbours of the tenant that a test is about."""
ABROAD = Region("abroad")
"""The one region that the kit declares, beside none."""

Stored = tuple[str, str, Row]
"""What an oracle tells of each row that is there: whose it is, in which table, and its values."""


def requires(*wanted: Capability | str) -> Callable[[F], F]:
    """Marks a test of what a backend claims, or of what the author's class brings, such as ``oracle``."""

    def marked(function: F) -> F:
        function.partywall_requires = wanted  # type: ignore[attr-defined]  # read when tests are collected
        return function

    return marked


class Store:
    """A folder, the backend that is open on it, and short ways to use them."""

    def __init__(self, spec: BackendSpec, folder: Path, options: Mapping[str, Any]) -> None:
        self.spec = spec
        self.root = folder
        self.options = options
        self._sessions: list[Session] = []
        self._backend: Backend | None = None
        self.home(None)
        self.home(ABROAD)

    @property
    def backend(self) -> Backend:
        """The open backend; opens it if need be."""
        return self._backend or self.open()

    def home(self, region: Region | None) -> Path:
        """The folder of a region."""
        folder = self.root / {None: "home", ABROAD: "abroad"}[region]
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def open(self, tables: Mapping[TableName, Table] = TABLES, options: Mapping[str, Any] | None = None) -> Backend:
        """Open the backend on the folder, as an engine would."""
        self.close()
        setup = BackendSetup(tables, self.home, ManualClock(), {**self.options, **(options or {})}, regions=(ABROAD,))
        self._backend = self.spec.open(setup)
        return self._backend

    def close(self) -> None:
        """Close the sessions and the backend."""
        while self._sessions:
            self._sessions.pop().close()
        backend, self._backend = self._backend, None
        if backend is not None:
            backend.close()

    def placed(self, tenant: TenantId, region: Region | None = None) -> Placement:
        """Where the tenant's data lives; makes room for it."""
        location = self.backend.provision(tenant, region)
        return Placement(tenant, self.spec.strategy, self.spec.name, region, location)

    def session(self, tenant: TenantId, region: Region | None = None) -> Session:
        """A new session of the tenant, closed with the store."""
        return self.at(self.placed(tenant, region))

    def at(self, placement: Placement) -> Session:
        """A new session at a placement, closed with the store."""
        session = self.backend.session(placement)
        self._sessions.append(session)
        return session

    def rows(self, tenant: TenantId, table: Table = SPECIMENS, region: Region | None = None) -> list[Row]:
        """What a session opened just now sees, by id."""
        session = self.backend.session(self.placed(tenant, region))
        try:
            return by_id(session.scan(Scan(table)))
        finally:
            session.close()

    def fill(self, tenant: TenantId, ids: Iterable[str] = ("a", "b", "c"), region: Region | None = None) -> str:
        """Give the tenant rows that carry a token of its own, which is returned."""
        canary = token()
        rows = [token_row(row_id, canary) for row_id in ids]
        self.session(tenant, region).write(Insert(SPECIMENS, rows))
        return canary

    def files(self) -> list[Path]:
        """Every file of the store, in any region."""
        return sorted(path for path in self.root.rglob("*") if path.is_file())

    def holding(self, needle: str) -> list[Path]:
        """The files in whose bytes, or name, the text occurs."""
        encoded = needle.encode()
        return [path for path in self.files() if encoded in path.read_bytes() or needle in str(path)]


class Kit:
    """The attributes and fixtures that an author may override."""

    partywall_conformance: ClassVar[bool] = True

    backend: ClassVar[str] = ""
    """The name of an installed backend, or ``module:attribute`` of a BackendSpec; ``--backend`` when empty."""
    options: ClassVar[Mapping[str, Any]] = {}
    """The ``options`` that the backend is opened with; plain JSON."""
    oracle: ClassVar[Callable[..., Iterable[Stored]] | None] = None
    """Set to a method ``oracle(self, backend, folder)`` that yields every row there is as (tenant id, table, row),
    read beneath the backend while that is open. It proves what sessions cannot show.
    """

    operations: ClassVar[int] = SHORT
    """How long the random histories are, all together, unless ``--operations`` says so."""
    patience: ClassVar[float] = 20.0
    """Seconds within which an interrupted statement must have stopped, on a slow and busy machine."""
    shrink: ClassVar[bool] = True
    """Whether a random history that fails is reduced to a short one before it is shown; takes some seconds."""

    @pytest.fixture
    def spec(self, request: pytest.FixtureRequest) -> BackendSpec:
        """The backend's announcement."""
        return spec_of(type(self), request.config)

    @pytest.fixture
    def store_folder(self, tmp_path: Path) -> Path:
        """Where the backend is given its folders."""
        return tmp_path / "store"

    @pytest.fixture
    def store(self, spec: BackendSpec, store_folder: Path) -> Iterator[Store]:
        """An empty store of the backend; opened at its first use, closed at the end."""
        store = Store(spec, store_folder, self.options)
        with ExitStack() as closing:
            closing.callback(store.close)
            yield store

    @pytest.fixture(autouse=True)
    def only_what_is_claimed(self, request: pytest.FixtureRequest) -> None:
        """Fails a test that the plugin should have left out, rather than pass or skip it in silence."""
        for wanted in getattr(request.function, "partywall_requires", ()):
            assert claimed(type(self), request.config, wanted), "load the plugin: pytest -p partywall.pytest_plugin"


def by_id(rows: Iterable[Row]) -> list[Row]:
    """The rows in the order of their ids."""
    return sorted(rows, key=lambda row: str(row[ID]))


def refusal(attempt: Callable[[], object]) -> Exception:
    """The error that the attempt ends in; fails when there is none."""
    try:
        outcome = attempt()
    except Exception as error:  # noqa: BLE001  # a backend refuses with whatever error it likes
        return error
    pytest.fail(f"this was not refused; it returned {outcome!r}")


def texts_of(error: BaseException | None) -> str:
    """All that an error and its causes say."""
    seen: list[str] = []
    while error is not None and len(seen) < 20:
        seen.append(f"{type(error).__name__} {error} {error.args!r} {getattr(error, '__notes__', '')}")
        error = error.__cause__ or error.__context__
    return "\n".join(seen)


def ids_of(rows: Sequence[Row]) -> list[str]:
    """The ids of rows, in the order of the rows."""
    return [str(row[ID]) for row in rows]
