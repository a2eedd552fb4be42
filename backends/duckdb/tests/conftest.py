# tests need no docstrings
from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from partywall.backend import Backend, BackendSetup, Insert, Placement, Scan, Session
from partywall.clock import ManualClock
from partywall.model import Strategy, Table, TablesFile
from partywall.names import Region, TenantId
from partywall_duckdb.databases import DatabaseBackend
from partywall_duckdb.hub import Hub
from partywall_duckdb.rows import RowBackend
from partywall_duckdb.schemas import SchemaBackend

DECLARED: dict[str, Any] = {
    "notes": {
        "columns": {
            "title": {"type": "text"},
            "rank": {"type": "integer"},
            "score": {"type": "float"},
            "done": {"type": "boolean"},
            "at": {"type": "timestamp"},
            "day": {"type": "date"},
            "raw": {"type": "bytes"},
            "extra": {"type": "json"},
        }
    },
    "users": {
        "columns": {"email": {"type": "text"}, "team": {"type": "text"}, "number": {"type": "integer"}},
        "unique": [["email"], ["team", "number"]],
    },
}


BACKENDS: dict[str, tuple[type[Backend], Strategy]] = {
    "duckdb-row": (RowBackend, Strategy.ROW),
    "duckdb-schema": (SchemaBackend, Strategy.SCHEMA),
    "duckdb-database": (DatabaseBackend, Strategy.DATABASE),
}


def tables_of(declared: Mapping[str, Any]) -> dict[Any, Table]:
    return TablesFile.model_validate_json(json.dumps({"tables": declared})).tables


NOTES: Table = tables_of(DECLARED)["notes"]
USERS: Table = tables_of(DECLARED)["users"]


@dataclass
class Store:
    """A folder, the backends that are open on it, and short ways to use them."""

    folder: Path
    kind: str = "duckdb-row"
    clock: ManualClock = field(default_factory=ManualClock)
    reports: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    backends: list[Backend] = field(default_factory=list)

    def open(self, declared: Mapping[str, Any] = DECLARED, *, shards: int | None = None, **options: Any) -> Any:
        """A backend over the folder; ``shards`` says whether tenants should be in one file or in several."""

        def home(region: Region | None) -> Path:
            folder = self.folder / (region or "home")
            folder.mkdir(exist_ok=True)
            return folder

        if shards is not None and self.kind == "duckdb-row":
            options["shards"] = shards
        if shards is not None and shards > 1 and self.kind == "duckdb-schema":
            options["schemas_per_shard"] = 1
        backend = BACKENDS[self.kind][0](
            BackendSetup(  # type: ignore[call-arg]  # each of them takes the setup alone
                tables=tables_of(declared),
                folder=home,
                clock=self.clock,
                options=options,
                report=lambda event, details: self.reports.append((event, details)),
                regions=(Region("eu"),),
            )
        )
        self.backends.append(backend)
        return backend

    @property
    def noun(self) -> str:
        """What reports call one file."""
        return "database" if self.kind == "duckdb-database" else "shard"

    def file_of(self, placement: Placement) -> Path:
        return self.folder / (placement.region or "home") / f"{placement.location}.duckdb"

    def hub(self, backend: Backend) -> Hub:
        """The instance that the tenant ten_aaaa is served by."""
        return self.session(backend, "ten_aaaa")._store.hub

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    def holds(self, needle: str) -> list[Path]:
        return [path for path in self.files() if needle.encode() in path.read_bytes()]

    declared = DECLARED
    notes = NOTES
    users = USERS

    def placed(self, backend: Backend, tenant: str, region: str | None = None) -> Placement:
        where = None if region is None else Region(region)
        location = backend.provision(TenantId(tenant), where)
        return Placement(TenantId(tenant), BACKENDS[self.kind][1], self.kind, where, location)

    def session(self, backend: Backend, tenant: str, region: str | None = None) -> Session:
        return backend.session(self.placed(backend, tenant, region))

    @staticmethod
    def note(row_id: str, **values: Any) -> dict[str, Any]:
        return {"id": row_id, **dict.fromkeys(NOTES.columns), **values}

    @staticmethod
    def user(
        row_id: str, email: str | None = None, team: str | None = None, number: int | None = None
    ) -> dict[str, Any]:
        return {"id": row_id, "email": email, "team": team, "number": number}

    def write_note(self, session: Session, row_id: str, **values: Any) -> None:
        session.write(Insert(NOTES, [self.note(row_id, **values)]))

    @staticmethod
    def note_ids(session: Session) -> list[str]:
        return sorted(row["id"] for row in session.scan(Scan(NOTES)))

    @staticmethod
    def opened_elsewhere(file: Path) -> str:
        """What a second process meets that opens the file: ``open``, or whether it was refused by the lock."""
        code = (
            "import sys, duckdb\n"
            "try:\n    duckdb.connect(sys.argv[1])\n"
            "except duckdb.Error as error:\n    print('locked' if 'lock' in str(error) else error)\n"
            "else:\n    print('open')\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(file)], capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout.strip() or done.stderr


def opened_store(folder: Path, kind: str) -> Iterator[Store]:
    opened = Store(folder, kind)
    with ExitStack() as closing:
        yield opened
        for backend in opened.backends:
            closing.callback(backend.close)


@pytest.fixture(params=sorted(BACKENDS))
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    yield from opened_store(tmp_path, request.param)


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Store]:
    yield from opened_store(tmp_path, "duckdb-row")


@pytest.fixture
def schemas(tmp_path: Path) -> Iterator[Store]:
    yield from opened_store(tmp_path, "duckdb-schema")


@pytest.fixture
def databases(tmp_path: Path) -> Iterator[Store]:
    yield from opened_store(tmp_path, "duckdb-database")


@pytest.fixture
def pair(store: Any) -> Any:
    """Two tenants, in one file if the backend puts any two into one."""
    backend = store.open(shards=1)
    return backend, store.session(backend, "ten_aaaa"), store.session(backend, "ten_bbbb")
