"""The wall of the installed backends at scale: every answer of very many mixed calls is what a model of dicts says."""

from __future__ import annotations

import pytest

from partywall.conformance.suite.interference import Interference
from partywall.conformance.suite.mixture import Mixture

SHORT = 10_000
LONG = 1_000_000


class TestRow(Mixture, Interference):
    backend = "duckdb-row"
    options = {"shards": 2, "threads": 1}  # noqa: RUF012  # as an author would write it
    operations = SHORT


class TestSchema(Mixture, Interference):
    backend = "duckdb-schema"
    options = {"threads": 1}  # noqa: RUF012  # as above
    operations = SHORT


class TestDatabase(Mixture, Interference):
    backend = "duckdb-database"
    operations = SHORT


@pytest.mark.long
@pytest.mark.timeout(3600)
class TestRowAtLength(TestRow):
    operations = LONG


@pytest.mark.long
@pytest.mark.timeout(3600)
class TestSchemaAtLength(TestSchema):
    operations = LONG


@pytest.mark.long
@pytest.mark.timeout(3600)
class TestDatabaseAtLength(TestDatabase):
    operations = LONG
