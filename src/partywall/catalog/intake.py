"""Which files need to be read now: what changed, what has settled, and what is gone.

Events only say where to look. A file counts as changed when its signature does, and as new content only
when the digest of its bytes does; so a touch, or an echo of the engine's own write, comes to nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeAlias

from partywall.catalog.reader import Folder, Read, Signature, Unreadable, Unstable
from partywall.clock import Clock
from partywall.errors import Problem

__all__ = ["Gone", "Intake", "Reads"]


class Gone:
    """Stands for a file that is not there."""


Reads: TypeAlias = "dict[str, Read | Problem | Gone]"
"""What was read, by key: new bytes, why there are none, or that the file is gone."""


class Intake:
    """What was last seen of each file. Used under the catalog's lock."""

    def __init__(self, folder: Folder, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._signatures: dict[str, Signature] = {}
        self._digests: dict[str, str] = {}
        self._restless: dict[str, tuple[Signature, float]] = {}
        self.missing: dict[str, float] = {}
        """Files that are gone, and since when on the monotonic clock."""

    def seen(self, key: str, read: Read) -> None:
        """Take note of bytes that are known already, such as those of the engine's own write."""
        self._signatures[key] = read.signature
        self._digests[key] = read.digest
        self._restless.pop(key, None)
        self.missing.pop(key, None)

    def note(self, key: str, read: Read) -> bool:
        """Take note of bytes that were read outside a look; whether they are new."""
        new = self._digests.get(key) != read.digest or key in self.missing
        self.seen(key, read)
        return new

    def again(self, key: str) -> None:
        """Have the file read anew by the next look, whether or not it changes."""
        self._signatures.pop(key, None)
        self._digests.pop(key, None)

    def forget(self, keys: Iterable[str]) -> None:
        """Drop what is known of files that are out of the catalog."""
        for key in keys:
            self.again(key)
            self._restless.pop(key, None)
            self.missing.pop(key, None)

    def sweep(self, found: Mapping[str, Signature], quiet: float, *, together: bool = False) -> tuple[Reads, bool]:
        """Read every file that changed and was quiet for so many seconds; also whether some were not yet.

        ``together`` reads none until all are quiet, so that files saved one after another are one batch.
        """
        gone = [key for key in self._signatures if key not in found and key not in self.missing]
        # The scan may be older than a file that the engine wrote since.
        gone = [key for key in gone if self._folder.look(key) is None]
        due = [key for key, signature in found.items() if self._signatures.get(key) != signature or key in self.missing]
        settled = [key for key in due if self._settled(key, found[key], quiet)]
        if together and len(settled) < len(due):
            return {}, True
        reads, restless = self.take([*gone, *settled])
        return reads, bool(restless) or len(settled) < len(due)

    def _miss(self, key: str) -> None:
        self.missing.setdefault(key, self._clock.monotonic())
        self._restless.pop(key, None)

    def _settled(self, key: str, signature: Signature, quiet: float) -> bool:
        # The machine's own clocks, not the injected one: they are compared with what the disk says.
        age = time.time() - signature[0] / 1e9
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
            if key not in self._signatures:
                return None
            self._miss(key)
            return Gone()
        except Unreadable as error:
            self._signatures[key] = signature or (0, 0, 0, 0)
            self._digests.pop(key, None)
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
