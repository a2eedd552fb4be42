from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from partywall.folder import DataFolder

Run = Callable[..., Any]


@pytest.mark.parametrize("name", ["engine", "plans", "tables", "tenant"])
def test_the_schema_that_is_printed_is_the_one_that_init_writes(here: Run, folder: DataFolder, name: str) -> None:
    printed = here("schema", name)
    assert (printed.code, printed.err) == (0, "")
    assert printed.out == (folder.tenancy / "schema" / f"{name}.json").read_text()


def test_the_schemas_are_listed_and_an_unknown_one_is_refused(here: Run) -> None:
    assert "tenant" in here("schema").out
    assert [each["name"] for each in here("schema", "--json").document["schemas"]] == [
        "engine",
        "plans",
        "tables",
        "tenant",
    ]
    assert here("schema", "tenants").code == 2


def test_the_schemas_of_an_older_release_are_written_anew(here: Run, folder: DataFolder) -> None:
    old = folder.tenancy / "schema" / "plans.json"
    wanted = old.read_bytes()
    old.write_text("{}")
    (folder.tenancy / "schema" / "tenant.json").unlink()
    written = here("schema", "--write", "--json").document["files"]
    assert len(written) == 4
    assert old.read_bytes() == wanted
    assert (folder.tenancy / "schema" / "tenant.json").is_file()
    assert here("schema", "--write").out.startswith(f"wrote {folder.tenancy}")
