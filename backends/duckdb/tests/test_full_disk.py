# tests need no docstrings
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from partywall.errors import BackendError

FULL = """
import json, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import Store
from partywall.backend import Count, Insert
from partywall.errors import PartywallError

def attempt(work):
    try:
        return repr(work())
    except PartywallError as error:
        return f"{type(error).__name__}: {error}"

store = Store(Path(sys.argv[2]), sys.argv[3])
backend = store.open(shards=1)
mine, other = store.session(backend, "ten_aaaa"), store.session(backend, "ten_bbbb")
for session in (mine, other):
    store.write_note(session, "kept")
longest = max(path.stat().st_size for path in store.files())
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (longest + 4096, hard))
wide = {"title": "w" * 100_000}
told = [attempt(lambda: store.write_note(mine, "mine", **wide)), attempt(lambda: store.write_note(other, "n", **wide))]
backend.maintain()
read = [attempt(lambda: session.count(Count(store.notes))) for session in (mine, other)]
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
store.clock.advance(60)
backend.maintain()
for session in (mine, other):
    store.write_note(session, "later", **wide)
again = [store.note_ids(store.session(backend, tenant)) for tenant in ("ten_aaaa", "ten_bbbb")]
backend.close()
print(json.dumps({"told": told, "read": read, "again": again, "reports": store.reports}))
"""


def filled(folder: Path, kind: str) -> dict[str, Any]:
    """What two tenants are told by a store whose disk is full, and what is there once it has room again."""
    arguments = [sys.executable, "-c", FULL, str(Path(__file__).parent), str(folder), kind]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_i9_a_full_disk_reads_the_same_to_everybody_and_loses_nothing(store: Any) -> None:
    found = filled(store.folder, store.kind)
    assert found["told"] == ["BackendError: the store could not carry out the statement; nothing was written"] * 2
    assert found["read"] == ["1", "1"]
    assert found["again"] == [["kept", "later"]] * 2
    assert found["reports"] == []


def test_i9_a_full_pool_reads_the_same_to_everybody(databases: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = databases.open(max_open=1)
    placements = [databases.placed(backend, tenant) for tenant in ("ten_aaaa", "ten_bbbb", "ten_holds")]
    holding = backend.session(placements[2])
    monkeypatch.setattr("partywall_duckdb.databases._ADMISSION", 0.0)
    told = set()
    for placement in placements[:2]:
        with pytest.raises(BackendError) as refused:
            backend.session(placement)
        told.add(str(refused.value))
    assert told == {"the store is busy: as many databases are in use as may be open; try again"}
    holding.close()
    assert databases.note_ids(backend.session(placements[0])) == []
