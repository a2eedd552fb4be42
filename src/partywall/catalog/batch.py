"""Files of one batch: what was loaded, what is wrong with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from partywall.catalog.assembly import TenantCandidate
from partywall.catalog.disk.intake import Gone
from partywall.catalog.disk.reader import Read
from partywall.catalog.memory.cache import Good
from partywall.catalog.sources import Candidate
from partywall.catalog.text.document import Document
from partywall.errors import Problem
from partywall.model import PlansFile

__all__ = ["Batch", "Identify", "Known", "fresh"]

_WRITING_SECONDS: Final = 0.25

Known: TypeAlias = "dict[str, TenantCandidate | None]"
"""The tenants' last good versions, by key; None for what no longer fits."""
Identify = Callable[[str, Document, Read, "str | None"], "Read | Problem | None"]
"""Gives a tenant's file without an id one, or the one that it had, and returns the new bytes; or what prevents it.

None while somebody is writing the file.
"""


@dataclass(slots=True)
class Batch:
    """Files of one batch, loaded."""

    tenants: dict[str, TenantCandidate | None] = field(default_factory=dict)
    plans: Candidate[PlansFile] | None = None
    store: dict[str, Good] = field(default_factory=dict)
    """New good versions of the files that are not reloaded."""
    problems: dict[str, list[Problem]] = field(default_factory=dict)
    """What is wrong with each file of the batch; empty lists for those that are well."""
    notices: dict[str, list[Problem]] = field(default_factory=dict)


def fresh(read: Read | Problem | Gone) -> bool:
    """Whether the bytes were written a moment ago, so that their writer may not be done."""
    # Compared with the disk's idea of time, so by the machine's clock and not the injected one.
    return isinstance(read, Read) and 0 <= time.time() - read.modified_at < _WRITING_SECONDS
