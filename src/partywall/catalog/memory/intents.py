"""What the engine wrote a moment ago: a save whose author cannot have seen it does not take it back.

Somebody reads a file, the engine edits it, and then they save what they had read with their own change in it.
Their change counts, and so does the engine's, as long as they left alone what the engine had changed. A save
without a change of their own is no such save: whoever puts an earlier version back, as ``git checkout`` does, means it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from math import inf
from typing import Final

from partywall.catalog.disk.reader import Folder, Read, Unreadable, Unstable
from partywall.catalog.disk.writer import replace
from partywall.catalog.memory.cache import Cache
from partywall.catalog.text.document import load
from partywall.catalog.text.edits import changed, encoded, plain_of, rewrite, value_at
from partywall.catalog.text.scalars import Plain
from partywall.catalog.text.validation import canonical
from partywall.errors import ConfigError, InvalidArgument, TenantConflict
from partywall.model import Status

__all__ = ["Intents", "reconcile"]

_UNSEEN_SECONDS: Final = 2.0
"""Who saves later than this after an edit of the engine means what they save."""
_KEPT_SECONDS: Final = 60.0
_MOST: Final = 32
"""Values that are remembered of one file."""
_TICK_SECONDS: Final = 0.01
"""The disk's clock may be this much behind ours."""


@dataclass(frozen=True, slots=True)
class Intent:
    """One value that the engine wrote; moments are seconds since the epoch, by the machine's clock."""

    path: str
    before: Plain
    after: Plain
    at: float
    base: str = ""
    """The digest of the file before."""
    tenant: Plain = None
    """Whose file it was; None of a file that all share."""

    def unseen_at(self, moment: float) -> bool:
        """Whether what was saved at the moment may be of somebody who did not see it."""
        return self.at - _TICK_SECONDS <= moment < self.at + _UNSEEN_SECONDS

    def is_of(self, tenant: Plain) -> bool:
        """Whether a file with this id, or none yet, is the one that it was written into."""
        return tenant is None or self.tenant in (None, tenant)


class Intents:
    """The engine's latest edits by file, kept across restarts. Used under the catalog's lock."""

    def __init__(self, cache: Cache | None) -> None:
        self._cache = cache
        self._known: dict[str, list[Intent]] = {}
        for key, intent in [] if cache is None else cache.intents():
            self._known.setdefault(key, []).append(Intent(*intent))

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def note(self, key: str, read: Read, data: dict[str, Plain], changes: Mapping[str, object], at: float) -> None:
        """Remember what was written, from the moment on, into the file that was read and held the data."""
        made = [
            Intent(path, value_at(data, path), plain_of(value), at, read.digest, data.get("id"))
            for path, value in changes.items()
        ]
        for known in [known for known, found in self._known.items() if found[-1].at < at - _KEPT_SECONDS]:
            self._keep(known, [])
        self._keep(key, [*self._known.get(key, ()), *made][-_MOST:])

    def forget(self, key: str) -> None:
        """Drop what is known of a file."""
        if key in self._known:
            self._keep(key, [])

    def _keep(self, key: str, intents: list[Intent]) -> None:
        self._known[key] = intents
        if not intents:
            del self._known[key]
        if self._cache is not None:
            self._cache.keep_intents(key, [astuple(each) for each in intents])

    def unseen(self, key: str, read: Read, data: dict[str, Plain]) -> dict[str, Plain]:
        """What the engine had written, and whoever saved the file with this data has in its earlier form.

        What has its new form or another one was seen, and whatever is saved from then on was meant. So was an earlier
        version as a whole, and a status that keeps a tenant out of service: in doubt it stays out.
        """
        known = self._known.get(key, [])
        since = [each for each in known if each.unseen_at(read.placed_at) and each.is_of(data.get("id"))]
        if since and read.digest in {each.base for each in known}:
            self._keep(key, [])
            return {}
        until = _seen_until(since, data)
        since = _without_relief([each for each in since if each.at > until], data)
        found: dict[str, Plain] = {}
        seen: set[str] = set()
        for path, after in {each.path: each.after for each in since}.items():
            saved = canonical(value_at(data, path))
            earlier = {canonical(each.before) for each in since if each.path == path}
            if saved == canonical(after) or saved not in earlier:
                seen.add(path)
            else:
                found[path] = after
        if seen or until > -inf:
            self._keep(key, [each for each in known if each.at > until and each.path not in seen])
        return found


def _seen_until(intents: list[Intent], data: dict[str, Plain]) -> float:
    """The moment of the latest edit that the data shows: who has seen that one saw everything before it, too."""
    forms = Counter((each.path, form) for each in intents for form in {canonical(each.before), canonical(each.after)})
    shown = [
        each.at
        for each in intents
        if each.before != each.after
        and canonical(value_at(data, each.path)) == canonical(each.after)
        and forms[each.path, canonical(each.after)] == 1  # else it may be the value of before, or of another edit
    ]
    return max(shown, default=-inf)


def _without_relief(intents: list[Intent], data: dict[str, Plain]) -> list[Intent]:
    """The intents, but for what was written with a status that would give back a service that the data denies."""
    last = next((each for each in reversed(intents) if each.path == "status"), None)
    if last is None or _strictness(data.get("status")) <= _strictness(last.after):
        return intents
    relief = {each.path for each in intents if each.at == last.at}
    return [each for each in intents if each.path not in relief]


def _strictness(status: Plain) -> int:
    return next((known.strictness for known in Status if known.value == status), -1)


def reconcile(folder: Folder, intents: Intents, key: str, read: Read) -> Read | None:
    """The file with what its author cannot have seen written into it again; None when it changed or is open."""
    document = load(folder.label(key), read.raw) if key in intents else None
    if document is None or document.problems or not isinstance(data := document.data, dict):
        return read
    unseen = intents.unseen(key, read, data)
    if not unseen:
        return read
    try:
        raw = encoded(rewrite(document, changed(data, unseen)), read.raw)
        written = folder.read(key) if replace(folder.path(key), read.digest, raw, patience=0) else None
    except (ConfigError, InvalidArgument, Unreadable):
        return read
    except (OSError, TenantConflict, Unstable):
        return None
    return written if written is not None and written.raw == raw else None
