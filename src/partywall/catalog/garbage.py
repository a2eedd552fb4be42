"""When not to look for garbage: loading very many files makes very many objects and hardly any garbage."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["without_collections"]

_MANY: Final = 500
_VERY_MANY: Final = 10_000


def _trim() -> None:
    """Give back to the system what loading took, where the C library can."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def without_collections(files: int) -> Iterator[None]:
    """Loading many files collects no garbage, which would double its time.

    What very many files leave behind lives as long as the catalog: it is set aside, so that no later collection
    looks through it again and again, and no request waits for that.
    """
    pause = files > _MANY and gc.isenabled()
    if pause:
        gc.disable()
    try:
        yield
    finally:
        if pause:
            if files > _VERY_MANY:
                gc.collect()
                gc.freeze()
                _trim()
            gc.enable()
