"""Collected by ``pytest --pyargs partywall.conformance --backend NAME``: the kit over the named backend."""

from __future__ import annotations

from partywall.conformance import Conformance


class TestBackend(Conformance):
    """The backend that ``--backend`` names."""
