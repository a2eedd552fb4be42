"""The DuckDB backend that is installed, over a few files; `make conformance` runs every backend as it comes."""

from __future__ import annotations

from partywall.conformance import Conformance


class TestDuckdbRow(Conformance):
    backend = "duckdb-row"
    options = {"shards": 2}  # noqa: RUF012  # as an author would write it
    operations = 200
