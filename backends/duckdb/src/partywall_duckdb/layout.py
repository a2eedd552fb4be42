"""How many shards a folder's tenants are spread over: decided when the folder is first used."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any, Final

from partywall.errors import BackendError
from partywall_duckdb.files import sync_folder

__all__ = ["LAYOUT", "is_shard", "shard_count", "shard_names", "shard_of"]

LAYOUT: Final = "layout.json"
_FORMAT: Final = 1
_SHARD: Final = re.compile(r"shard-[0-9]{2,3}")


def is_shard(location: str) -> bool:
    """Whether the text is a shard's name."""
    return _SHARD.fullmatch(location) is not None


def shard_of(tenant_id: str, count: int) -> str:
    """The shard of a new tenant."""
    digest = hashlib.blake2b(tenant_id.encode(), digest_size=8).digest()
    return _name(int.from_bytes(digest) % count)


def shard_names(folder: Path, count: int) -> list[str]:
    """The shards of a folder: those that there may be, and those whose files are there."""
    present = {path.name.partition(".")[0] for path in folder.iterdir()}
    return sorted({_name(number) for number in range(count)} | {name for name in present if is_shard(name)})


def shard_count(folder: Path, wanted: int) -> int:
    """The number of shards that the folder began with; ``wanted`` when it begins now.

    BackendError when its record is unreadable: tenants would be looked for in the wrong place.
    """
    record = folder / LAYOUT
    if record.is_symlink():
        raise BackendError(f"{LAYOUT} of the store is a symbolic link; put the file itself in its place")
    if not record.exists():
        _write(record, {"format": _FORMAT, "shards": wanted})
        return wanted
    try:
        found = json.loads(record.read_bytes())
        count = found["shards"] if found["format"] == _FORMAT else None
    except (ValueError, KeyError, TypeError):
        count = None
    if type(count) is not int or not 1 <= count <= 256:
        raise BackendError(f"{LAYOUT} of the store is damaged or of a newer release")
    return count


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
