"""A data folder whose ledger is gone: nobody may be taken for in service on the word of the files alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from partywall import Engine, LedgerError
from partywall.model import Status


@pytest.mark.parametrize("lost", ["removed", "emptied", "cut to its header"])
def test_l5_without_the_ledger_that_was_there_nobody_is_put_back_in_service(
    data_folder: Path, open_engine: Callable[..., Engine], lost: str
) -> None:
    engine = open_engine()
    engine.tenants.suspend(engine.tenants.get_by_slug("acme").id, reason="unpaid")
    ledger = engine.folder.ledger
    engine.close()
    file = data_folder / "system" / "tenancy" / "tenants" / "acme.yaml"
    file.write_text(file.read_text().replace("status: suspended", "status: active"))
    kept = ledger.read_bytes()
    header = sqlite3.connect(data_folder / "header.sqlite")
    header.execute("PRAGMA journal_mode = WAL")
    header.close()
    ledger.unlink()
    if lost != "removed":
        ledger.write_bytes(b"" if lost == "emptied" else (data_folder / "header.sqlite").read_bytes())
    for _ in range(2):
        with pytest.raises(LedgerError, match=r"the ledger that was here is gone.*put a backup"):
            open_engine()
    ledger.write_bytes(kept)
    assert open_engine().tenants.get_by_slug("acme").status is Status.SUSPENDED
