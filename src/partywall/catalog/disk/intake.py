"""Which files need to be read now: what changed, what has settled, and what is gone.

Events only say where to look. A file counts as changed when its signature does, and as new content only
when the digest of its bytes does; so a touch, or an echo of the engine's own write, comes to nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from partywall.catalog.disk.reader import UNSEEN, Folder, Read, Signature, Unreadable, Unstable, modified_at
from partywall.catalog.disk.releases import Releases, Standing
from partywall.clock import Clock
from partywall.errors import Problem

__all__ = ["Glance", "Gone", "Intake", "Reads"]


_GLANCES: Final = 5
"""Looks at every file, until no release was put in place meanwhile."""
_AGAIN: Final = bytes(16) + b"\xff" * len(UNSEEN)
"""What is known of a file that is to be read anew: only that it was there."""


class Gone:
    """Stands for a file that is not there."""


Reads: TypeAlias = "dict[str, Read | Problem | Gone]"
"""What was read, by key: new bytes, why there are none, or that the file is gone."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What one look at every file found, without reading any."""

    due: Mapping[str, Signature]
    """Files that are not as they were last seen."""
    gone: Collection[str]
    """Files that were seen and are not there."""
    standing: Standing
    """Where the files lay."""


class Intake:
    """What was last seen of each file. Used under the catalog's lock, but for ``glance``."""

    def __init__(self, folder: Folder, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._seen: dict[str, bytes] = {}  # digest and signature in one, because there may be very many files
        self._unsettled: set[str] = set()
        self._settled_since: list[tuple[Signature, str, str]] = []
        self._restless: dict[str, tuple[Signature, float]] = {}
        self._releases = Releases(folder)
        self.missing: dict[str, float] = {}
        """Files that are gone, and since when on the monotonic clock."""

    def __contains__(self, key: str) -> bool:
        return key in self._seen

    def expect(self, key: str, digest: str, signature: Signature) -> None:
        """Take a file for known that has this signature, as a look at it will tell."""
        self._seen[key] = bytes.fromhex(digest) + signature

    def seen(self, key: str, read: Read) -> None:
        """Take note of bytes that are known already, such as those of the engine's own write."""
        self.expect(key, read.digest, read.signature)
        self._restless.pop(key, None)
        self.missing.pop(key, None)
        if not read.settled:
            self._unsettled.add(key)
        elif key in self._unsettled:
            self._unsettled.discard(key)
            self._settled_since.append((read.signature, key, read.digest))

    def settled(self) -> list[tuple[Signature, str, str]]:
        """Signature, key and digest of files that were read too soon to know, and now are known for good."""
        found, self._settled_since = self._settled_since, []
        return found

    def note(self, key: str, read: Read) -> bool:
        """Take note of bytes that were read outside a look; whether they are new."""
        new = self._seen.get(key, b"")[:16] != bytes.fromhex(read.digest) or key in self.missing
        self.seen(key, read)
        return new

    def again(self, key: str) -> None:
        """Have the file read anew by the next look, whether or not it changes."""
        self._seen[key] = _AGAIN
        self._unsettled.discard(key)

    def unread(self, reads: Reads) -> None:
        """Put back what was read, of which some may be of one release and some of the next, to be read again."""
        self._releases.undo()
        for key, read in reads.items():
            self.again(key)
            if isinstance(read, Gone):
                self.missing.pop(key, None)

    def forget(self, keys: Iterable[str]) -> None:
        """Drop what is known of files that are out of the catalog."""
        for key in keys:
            self._seen.pop(key, None)
            self._unsettled.discard(key)
            self._restless.pop(key, None)
            self.missing.pop(key, None)

    def glance(self) -> Glance:
        """Look at every file, reading none; needs no lock. OSError when a folder is there and cannot be listed."""
        for _ in range(_GLANCES):
            standing = self._releases.standing()
            due, gone = self._differences()
            if self._releases.standing() == standing:
                break
        return Glance(due, gone, standing)

    def _differences(self) -> tuple[Mapping[str, Signature], Collection[str]]:
        due: dict[str, Signature] = {}
        there = 0
        for key, signature in self._folder.entries():
            known = self._seen.get(key)
            there += known is not None
            if known is None or not known.endswith(signature) or key in self.missing or key in self._unsettled:
                due[key] = signature
        seen = list(self._seen)
        if there >= len(seen):
            return due, ()
        found = self._folder.scan()
        return due, [key for key in seen if key not in found]

    def standing(self) -> Standing:
        """Where the files lie now."""
        return self._releases.standing()

    def stands(self, glance: Glance) -> bool:
        """Whether what the look found still holds: no release was put in place since, and nothing put back."""
        return self._releases.standing() == glance.standing

    def moved(self) -> bool:
        """Whether a release was put in place, of which no look at every file was taken yet."""
        return self._releases.moved()

    def sweep(self, glance: Glance, quiet: float, *, together: bool = False) -> tuple[Reads, bool]:
        """Read every file that changed and was quiet for so many seconds; also whether some were not yet.

        ``together`` reads none until all are quiet, so that files saved one after another are one batch. A release
        that is put in place is one batch in any case, unless some file of it never rests.
        """
        if not self.stands(glance):
            return {}, True
        arriving = self._releases.arriving(glance.standing)
        # The look may be older than a file that the engine wrote since.
        gone = [key for key in glance.gone if key not in self.missing and self._folder.look(key) is None]
        due = [key for key, signature in glance.due.items() if self._changed(key, signature)]
        quiet_now = [key for key in due if self._quiet(key, glance.due[key], quiet)]
        if (together or arriving) and len(quiet_now) < len(due):
            return {}, True
        unsettled = [key for key in self._unsettled if key in glance.due]
        reads, restless = self.take(dict.fromkeys([*gone, *quiet_now, *unsettled]))
        if not self.stands(glance) or (arriving and restless):  # a release came while files were read
            self.unread(reads)
            return {}, True
        self._releases.take(glance.standing)
        return reads, bool(restless) or len(quiet_now) < len(due)

    def _changed(self, key: str, signature: Signature) -> bool:
        return not self._seen.get(key, b"").endswith(signature) or key in self.missing

    def unread_of(self, keys: Iterable[str]) -> list[str]:
        """Those of the files that are there and were not read as they are now: somebody is writing them."""
        looks = ((key, self._folder.look(key)) for key in keys)
        return [key for key, signature in looks if signature is not None and self._changed(key, signature)]

    def _miss(self, key: str) -> None:
        self.missing.setdefault(key, self._clock.monotonic())
        self._restless.pop(key, None)

    def _quiet(self, key: str, signature: Signature, quiet: float) -> bool:
        # The machine's own clocks, not the injected one: they are compared with what the disk says.
        age = time.time() - modified_at(signature)
        known, since = self._restless.get(key, (None, 0.0))
        if known != signature:
            known, since = self._restless[key] = (signature, time.monotonic())
        return age >= quiet or time.monotonic() - since >= quiet

    def take(self, keys: Collection[str]) -> tuple[Reads, set[str]]:
        """Read these files now; also those that changed while they were read, to be tried again soon."""
        reads: Reads = {}
        restless: set[str] = set()
        for key in keys:
            try:
                result = self._take(key)
            except Unstable:
                restless.add(key)
            else:
                if result is not None:
                    reads[key] = result
        return reads, restless

    def _take(self, key: str) -> Read | Problem | Gone | None:
        signature = self._folder.look(key)
        try:
            read = self._folder.read(key)
        except FileNotFoundError:
            if key not in self._seen:
                return None
            self._miss(key)
            return Gone()
        except Unreadable as error:
            self._seen[key] = bytes(16) + (signature or UNSEEN)
            self.missing.pop(key, None)
            return Problem(self._folder.label(key), 1, 1, str(error))
        return read if self.note(key, read) else None

    def expired(self, vanish_seconds: float, keys: Collection[str]) -> list[str]:
        """Those of the files that have been gone for longer than the grace."""
        now = self._clock.monotonic()
        return [key for key, since in self.missing.items() if key in keys and now - since >= vanish_seconds]

    def next_expiry(self, vanish_seconds: float, keys: Collection[str]) -> float | None:
        """Seconds until the next of them is."""
        now = self._clock.monotonic()
        waits = [since + vanish_seconds - now for key, since in self.missing.items() if key in keys]
        return max(0.0, min(waits)) if waits else None

    def restart_grace(self, keys: Callable[[str], bool]) -> None:
        """Count the grace of these files from now."""
        now = self._clock.monotonic()
        self.missing.update({key: now for key in self.missing if keys(key)})
