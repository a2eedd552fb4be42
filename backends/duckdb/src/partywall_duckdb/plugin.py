"""What this distribution announces. DuckDB itself is imported only when a backend is opened."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Final

from partywall import hookimpl
from partywall.backend import Backend, BackendSetup, BackendSpec, Capability
from partywall.model import Strategy

__all__ = ["partywall_backends", "partywall_sealed_sql"]

_CAPABILITIES: Final = frozenset(
    {
        Capability.DURABLE,
        Capability.FILTERS,
        Capability.AGGREGATES,
        Capability.ARROW,
        Capability.KEYS,
        Capability.INTERRUPTS,
    }
)


# Announcing must not load 60 MB of DuckDB, so each backend is imported when it is opened.


def _open_rows(setup: BackendSetup) -> Backend:
    from partywall_duckdb.rows import RowBackend  # noqa: PLC0415  # see above

    return RowBackend(setup)


def _open_schemas(setup: BackendSetup) -> Backend:
    from partywall_duckdb.schemas import SchemaBackend  # noqa: PLC0415  # see above

    return SchemaBackend(setup)


def _open_databases(setup: BackendSetup) -> Backend:
    from partywall_duckdb.databases import DatabaseBackend  # noqa: PLC0415  # see above

    return DatabaseBackend(setup)


@hookimpl
def partywall_backends() -> Iterable[BackendSpec]:
    """``duckdb-row``, ``duckdb-schema`` and ``duckdb-database``: one for each isolation strategy."""
    return [
        BackendSpec(
            name="duckdb-row",
            strategy=Strategy.ROW,
            open=_open_rows,
            capabilities=_CAPABILITIES,
            enforced_by="adapter",
            summary="rows of many tenants in a few dozen DuckDB files",
        ),
        BackendSpec(
            name="duckdb-schema",
            strategy=Strategy.SCHEMA,
            open=_open_schemas,
            capabilities=_CAPABILITIES,
            enforced_by="adapter",
            summary="a schema for each tenant, a hundred of them in one DuckDB file",
        ),
        BackendSpec(
            name="duckdb-database",
            strategy=Strategy.DATABASE,
            open=_open_databases,
            capabilities=_CAPABILITIES | {Capability.SQL},
            enforced_by="engine",
            summary="a DuckDB file for each tenant, opened in an instance of its own",
        ),
    ]


@hookimpl
def partywall_sealed_sql() -> Sequence[str]:
    """This very Python, without what its environment and its folder would make it import."""
    return [sys.executable, "-I", "-m", "partywall_duckdb.sealedsql"]
