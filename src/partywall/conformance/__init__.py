"""The kit for authors of backends: does the wall hold over any installed backend?

``pytest --pyargs partywall.conformance --backend NAME`` runs it over an installed backend, ``check`` does the
same from a program, and a subclass of ``Conformance`` makes it a part of a test suite of one's own::

    from partywall.conformance import Conformance


    class TestMine(Conformance):
        backend = "mine"

It asks what a backend claims and never who it is. It needs the extra ``partywall[conformance]``: this is the
only room that imports pytest and hypothesis, and only once ``Conformance`` is asked for.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from partywall.conformance.check import check

if TYPE_CHECKING:
    from partywall.conformance.suite import Conformance

__all__ = ["Conformance", "check"]


def __getattr__(name: str) -> Any:
    if name != "Conformance":
        raise AttributeError(f"module 'partywall.conformance' has no attribute '{name}'")
    suite = "partywall.conformance.suite"
    if suite not in sys.modules:
        import pytest  # noqa: PLC0415  # `check` must be there to say that pytest is not

        pytest.register_assert_rewrite(suite)
    from partywall.conformance.suite import Conformance  # noqa: PLC0415  # as above

    return Conformance
