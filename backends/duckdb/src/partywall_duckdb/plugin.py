"""What this distribution announces. DuckDB itself is imported only when a backend is opened."""

from __future__ import annotations

from collections.abc import Iterable

from partywall import hookimpl
from partywall.backend import Backend, BackendSetup, BackendSpec, Capability
from partywall.model import Strategy

__all__ = ["partywall_backends"]


def _open_rows(setup: BackendSetup) -> Backend:
    from partywall_duckdb.backend import RowBackend  # noqa: PLC0415  # announcing must not load 60 MB of DuckDB

    return RowBackend(setup)


@hookimpl
def partywall_backends() -> Iterable[BackendSpec]:
    """``duckdb-row``: many tenants' rows in a few dozen files."""
    return [
        BackendSpec(
            name="duckdb-row",
            strategy=Strategy.ROW,
            open=_open_rows,
            capabilities=frozenset({Capability.DURABLE, Capability.FILTERS, Capability.KEYS, Capability.INTERRUPTS}),
            enforced_by="adapter",
            summary="rows of many tenants in a few dozen DuckDB files",
        )
    ]
