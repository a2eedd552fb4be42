"""The same history with and without the other tenants: whatever a tenant is told must be the same, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest

from partywall.backend import BackendSpec
from partywall.conformance.plugin import name_of, operations
from partywall.conformance.suite.actor import NO_CURSOR, Actor
from partywall.conformance.suite.calls import Call
from partywall.conformance.suite.engine import SLUGS, House
from partywall.conformance.suite.kit import Kit
from partywall.conformance.suite.sample import TABLES

__all__ = ["Interference"]

TURNS: Final = 500
"""Turns of all tenants together in one history."""
MOST: Final = 100
"""Histories at most: each needs two engines."""
FEW: Final = 20
"""Turns of a tenant after which it counts something and asks where it stands."""


class Interference(Kit):
    """Two runs of one history (Goguen and Meseguer's non-interference)."""

    def test_i2_i7_what_a_caller_is_told_is_the_same_with_and_without_the_others(
        self, spec: BackendSpec, request: pytest.FixtureRequest
    ) -> None:
        histories = min(max(operations(type(self), request.config) // 2_000, 1), MOST)
        name = name_of(type(self), request.config)
        for seed in range(histories):
            crowded, quiet = (self.told(spec, name, seed, slugs) for slugs in (SLUGS, SLUGS[:1]))
            for number, (one, other) in enumerate(zip_longest(crowded, quiet)):
                assert one == other, f"seed {seed}, the tenant's turn {number}: with the others, and without"

    def told(self, spec: BackendSpec, name: str, seed: int, slugs: Sequence[str]) -> list[str]:
        """All that the first tenant is told while these tenants are at work."""
        with TemporaryDirectory() as folder:
            house = House(Path(folder), spec, name, self.options)
            try:
                tenants = {slug: house.tenant(slug) for slug in slugs}
                return [text.replace(tenants[SLUGS[0]], "me") for text in _history(house, seed, tenants)]
            finally:
                house.engine.close()


def _history(house: House, seed: int, tenants: dict[str, str]) -> list[str]:
    actors = {slug: _actor(house, seed, slug) for slug in tenants}
    turns = Random(seed)  # noqa: S311  # the same each time, on purpose
    told: list[str] = []
    for slug in turns.choices(SLUGS, k=TURNS):
        if slug in actors:
            said = repr(actors[slug].turn()) + _standing(house, tenants[slug], len(told))
            told += [said] if slug == SLUGS[0] else []
    for actor in actors.values():
        if actor.busy:
            actor.end()
    return told + [repr(actors[SLUGS[0]].make(Call("select", table, ({},)), inside=False)) for table in TABLES]


def _actor(house: House, seed: int, slug: str) -> Actor:
    # The neighbour is named in calls that are refused for it: here by an id that the tenant can know without one.
    return Actor(house.query(slug), f"{seed} {slug}", "ten_neighbour", lambda: NO_CURSOR, anonymous=False)


def _standing(house: House, tenant_id: str, turns: int) -> str:
    """What the tenant's counters say now and then: usage, quotas."""
    if turns % FEW:
        return ""
    counted: list[Any] = [
        house.engine.usage.increment(tenant_id, "tokens", 3),
        house.engine.usage.totals(tenant_id),
        house.engine.quotas.check(tenant_id),
    ]
    return repr(counted)
