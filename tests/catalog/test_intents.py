from __future__ import annotations

import time
from pathlib import Path

from partywall.catalog.disk import writer


def test_on_a_slow_disk_an_edit_of_the_engine_is_never_taken_for_one_that_did_not_see_the_edit_before(
    files, monkeypatch
) -> None:
    def slow(_folder: Path) -> None:
        until = time.time() + 0.05
        while time.time() < until:
            pass

    files.tenant("acme")
    catalog = files.open()
    monkeypatch.setattr(writer, "_sync_folder", slow)
    for models in (["small", "large"], None):
        catalog.edit_tenant("ten_acme0001", {"settings.allowedModels": models})
        catalog = files.reopen()
        assert "file" not in {edited.actor for edited in catalog.unrecorded()}
    assert "allowedModels" not in files.text("tenants/acme.yaml")
