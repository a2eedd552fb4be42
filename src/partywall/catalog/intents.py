"""What the engine wrote a moment ago: a save whose author cannot have seen it does not take it back.

Somebody reads a file, the engine edits it, and then they save what they had read with their own change in it.
Their change counts, and so does the engine's, as long as they left alone what the engine had changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from partywall.catalog.cache import Cache
from partywall.catalog.document import load
from partywall.catalog.edits import changed, encoded, plain_of, rewrite, value_at
from partywall.catalog.reader import Folder, Read, Unreadable, Unstable
from partywall.catalog.scalars import Plain
from partywall.catalog.validation import canonical
from partywall.catalog.writer import replace
from partywall.errors import ConfigError, InvalidArgument

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


class Intents:
    """The engine's latest edits by file, kept across restarts. Used under the catalog's lock."""

    def __init__(self, cache: Cache | None) -> None:
        self._cache = cache
        self._known: dict[str, list[Intent]] = {}
        for key, intent in [] if cache is None else cache.intents():
            self._known.setdefault(key, []).append(Intent(*intent))

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def note(self, key: str, data: dict[str, Plain], changes: Mapping[str, object], at: float) -> None:
        """Remember what was written, from the moment on, into the file that held the data."""
        made = [Intent(path, value_at(data, path), plain_of(value), at) for path, value in changes.items()]
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
            self._cache.keep_intents(key, [(each.path, each.before, each.after, each.at) for each in intents])

    def unseen(self, key: str, data: dict[str, Plain], saved_at: float) -> dict[str, Plain]:
        """What the engine had written, and whoever saved this data then has in its earlier form.

        What has its new form or another one was seen, and whatever is saved from then on was meant.
        """
        known = self._known.get(key, [])
        since = [each for each in known if each.at - _TICK_SECONDS <= saved_at < each.at + _UNSEEN_SECONDS]
        found: dict[str, Plain] = {}
        seen: set[str] = set()
        for path, after in {each.path: each.after for each in since}.items():
            saved = canonical(value_at(data, path))
            earlier = {canonical(each.before) for each in since if each.path == path}
            if saved == canonical(after) or saved not in earlier:
                seen.add(path)
            else:
                found[path] = after
        if seen:
            self._keep(key, [each for each in known if each.path not in seen])
        return found


def reconcile(folder: Folder, intents: Intents, key: str, read: Read) -> Read | None:
    """The file with what its author cannot have seen written into it again; None when it changed meanwhile."""
    document = load(folder.label(key), read.raw) if key in intents else None
    if document is None or document.problems or not isinstance(data := document.data, dict):
        return read
    unseen = intents.unseen(key, data, read.placed_at)
    if not unseen:
        return read
    try:
        raw = encoded(rewrite(document, changed(data, unseen)), read.raw)
        written = folder.read(key) if replace(folder.path(key), read.digest, raw) else None
    except (ConfigError, InvalidArgument, Unreadable):
        return read
    except (OSError, Unstable):
        return None
    return written if written is not None and written.raw == raw else None
