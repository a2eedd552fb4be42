"""What a folder says of itself: its format, and how many shards its rows are spread over."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any, Final

from partywall.errors import BackendError
from partywall_duckdb.files import sync_folder

__all__ = ["LAYOUT", "require_layout", "shard_count", "shard_names", "shard_of"]

LAYOUT: Final = "layout.json"
_FORMAT: Final = 1
_SHARD: Final = re.compile(r"shard-[0-9]{2,3}")


def shard_of(tenant_id: str, count: int) -> str:
    """The shard of a new tenant."""
    digest = hashlib.blake2b(tenant_id.encode(), digest_size=8).digest()
    return _name(int.from_bytes(digest) % count)


def shard_names(folder: Path, count: int) -> list[str]:
    """The shards of a folder: those that there may be, and those whose files are there."""
    present = {path.name.partition(".")[0] for path in folder.iterdir()}
    return sorted({_name(number) for number in range(count)} | {name for name in present if _SHARD.fullmatch(name)})


def shard_count(folder: Path, wanted: int) -> int:
    """The number of shards that the folder began with; ``wanted`` when it begins now.

    BackendError when its record is unreadable: tenants would be looked for in the wrong place.
    """
    count = _recorded(folder, {"shards": wanted}).get("shards")
    if type(count) is not int or not 1 <= count <= 256:
        raise _unreadable()
    return count


def require_layout(folder: Path) -> None:
    """Record the format in a folder that begins now; BackendError when a newer release wrote it."""
    _recorded(folder, {})


def _recorded(folder: Path, wanted: dict[str, int]) -> dict[str, Any]:
    record = folder / LAYOUT
    if record.is_symlink():
        raise BackendError(f"{LAYOUT} of the store is a symbolic link; put the file itself in its place")
    if not record.exists():
        _write(record, {"format": _FORMAT, **wanted})
    try:
        found = json.loads(record.read_bytes())
    except ValueError:
        raise _unreadable() from None
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise _unreadable()
    return found


def _unreadable() -> BackendError:
    return BackendError(f"{LAYOUT} of the store is damaged or of a newer release")


def _name(number: int) -> str:
    return f"shard-{number:02d}"


def _write(record: Path, content: dict[str, Any]) -> None:
    part = record.with_name(f"{record.name}.part")
    with part.open("w") as opened:
        opened.write(json.dumps(content) + "\n")
        opened.flush()
        os.fsync(opened.fileno())
    part.replace(record)
    sync_folder(record.parent)
