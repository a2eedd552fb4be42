"""Listeners hear of every change in order, and whoever edits goes on only once they have."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from partywall.catalog import Catalog, CatalogChange
from partywall.names import TenantId

SAMPLE = Path(__file__).parents[2] / "orchestrator-data" / "system"
ACME, BETA = TenantId("ten_acme000000001"), TenantId("ten_betalabs00001")


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    shutil.copytree(SAMPLE, tmp_path / "system")
    return Catalog(tmp_path, watch=False)


def test_an_edit_returns_once_it_was_told_although_another_thread_is_telling(catalog: Catalog) -> None:
    told: list[TenantId] = []
    telling, go_on = threading.Event(), threading.Event()

    def listener(change: CatalogChange) -> None:
        telling.set()
        assert go_on.wait(10)
        told.extend(change.tenants)

    catalog.subscribe(listener)
    first = threading.Thread(target=lambda: catalog.edit_tenant(ACME, {"name": "Acme 2"}))
    first.start()
    assert telling.wait(10)
    threading.Timer(0.05, go_on.set).start()
    catalog.edit_tenant(BETA, {"name": "Beta 2"})
    assert told == [ACME, BETA]
    first.join()
    catalog.close()


def test_a_listener_may_edit_itself(catalog: Catalog) -> None:
    told: list[str] = []

    def listener(change: CatalogChange) -> None:
        told.append(next(iter(change.tenants)))
        if len(told) == 1:
            catalog.edit_tenant(BETA, {"name": "Beta 2"})

    catalog.subscribe(listener)
    catalog.edit_tenant(ACME, {"name": "Acme 2"})
    assert told == [ACME, BETA]
    catalog.close()
