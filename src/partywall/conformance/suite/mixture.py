"""Very many calls of several tenants, mixed and drawn from seeds; every answer is compared with a reference model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from partywall.backend import BackendSpec, Capability
from partywall.conformance.plugin import name_of, operations, seed_of
from partywall.conformance.suite.actor import NO_CURSOR, Actor, Told
from partywall.conformance.suite.answers import Answers, Taken
from partywall.conformance.suite.calls import Call, Refused
from partywall.conformance.suite.engine import SLUGS, House
from partywall.conformance.suite.kit import Kit
from partywall.conformance.suite.sample import TABLES

__all__ = ["Mixture"]

HISTORY: Final = 1_000
"""Operations under one seed."""
RESTART: Final = 10
"""Histories after which the engine is closed and opened again."""
WORDINGS: Final = 2
"""Ways to say that one key is taken: by a row of before, or by one of the same transaction."""
PARTS: Final = 2
"""Tests among which the operations are shared, so that two cores can have them."""


class Mixture(Kit):
    """What a caller is told, a million times."""

    @pytest.mark.parametrize("part", range(PARTS))
    def test_a_mixture_of_calls_of_several_tenants_is_answered_as_a_model_says(
        self, part: int, spec: BackendSpec, request: pytest.FixtureRequest, tmp_path: Path
    ) -> None:
        seed = seed_of(request.config)
        wanted = operations(type(self), request.config) // PARTS
        with comparison(spec, name_of(type(self), request.config), self.options, tmp_path / "data") as compared:
            if seed is not None:
                compared.history(seed, HISTORY)
                return
            for number, done in enumerate(range(0, wanted, HISTORY)):
                compared.history(number * PARTS + part, min(HISTORY, wanted - done))
                if number % RESTART == 1:
                    compared.restart()


class Comparison:
    """An engine with three tenants, and for each the answers that it must be given."""

    def __init__(self, house: House, name: str) -> None:
        self._house = house
        self._name = name
        self._answers = {slug: Answers(house.spec.capabilities) for slug in SLUGS}
        self._words: dict[Taken, set[str]] = {}
        self._actors: dict[str, Actor] = {}
        self._seed = 0
        self._step = 0

    def history(self, seed: int, length: int) -> None:
        """So many operations under one seed, from empty tables on."""
        self._seed, self._step = seed, 0
        self._actors = {slug: self._actor(slug, seed) for slug in SLUGS}
        for slug in SLUGS:
            for table in ("parts", "accounts", "specimens"):
                self._require(slug, self._actors[slug].make(Call("delete_where", table, ({},)), inside=False))
        turns = Random(seed)  # noqa: S311  # the same each time, on purpose
        while self._step < length:
            slug = turns.choice(SLUGS)
            self._require(slug, self._actors[slug].turn())
        for slug, actor in self._actors.items():
            if actor.busy:
                self._require(slug, actor.end())
        self.everything()

    def restart(self) -> None:
        """Close the engine and open it again: everything is still there, if the backend keeps anything."""
        self._house.restart()
        if Capability.DURABLE not in self._house.spec.capabilities:
            self._answers = {slug: Answers(self._house.spec.capabilities) for slug in SLUGS}
        self._actors = {slug: self._actor(slug, self._seed) for slug in SLUGS}
        self.everything()

    def everything(self) -> None:
        """Compare all rows of all tenants, values and types."""
        for slug in SLUGS:
            for table in TABLES:
                told = self._actors[slug].make(Call("select", table, ({},)), inside=False)
                self._require(slug, told)
                wanted = self._answers[slug].to(told.call, told.answer, inside=False)
                if repr(told.answer) != repr(wanted):
                    self._differ(slug, told, wanted)

    def _actor(self, slug: str, seed: int) -> Actor:
        self._answers[slug].close_page()
        others = [other for other in SLUGS if other != slug]
        neighbour = self._house.query(others[0]).tenant_id

        def stranger() -> str:
            cursors = [self._actors[other].cursor for other in others]
            return next((cursor for cursor in cursors if cursor is not None), NO_CURSOR)

        return Actor(self._house.query(slug), f"{seed} {slug}", neighbour, stranger, anonymous=True)

    def _require(self, slug: str, told: Told) -> None:
        self._step += told.call.method != "begin"
        wanted = self._answers[slug].to(told.call, told.answer, inside=told.inside)
        if not self._same(told.answer, wanted):
            self._differ(slug, told, wanted)

    def _same(self, answer: Any, wanted: Any) -> bool:
        if not isinstance(wanted, Taken):
            return bool(answer == wanted)
        if not isinstance(answer, Refused) or answer.error != "ConstraintViolation" or wanted.table not in answer.text:
            return False
        # A store that checks keys words its refusal itself; words with values in them, or a count, would be many.
        words = self._words.setdefault(wanted, set())
        words.add(answer.text)
        return len(words) <= WORDINGS * len(wanted.keys)

    def _differ(self, slug: str, told: Told, wanted: Any) -> None:
        where = "in its transaction" if told.inside else "on its own"
        pytest.fail(
            f"seed {self._seed}, step {self._step}: '{slug}' called {where}\n"
            f"  {told.call.method}({told.call.table!r}, {told.call.arguments!r}, {dict(told.call.keywords)!r})\n"
            f"  and was told   {told.answer!r}\n"
            f"  instead of     {wanted!r}\n"
            f"again: pytest --pyargs partywall.conformance "
            f"--backend {self._name} -k mixture --seed {self._seed}",
            pytrace=False,
        )


@contextmanager
def comparison(spec: BackendSpec, name: str, options: Any, folder: Path) -> Iterator[Comparison]:
    """A comparison on a new data folder; closed at the end of the block."""
    house = House(folder, spec, name, options)
    try:
        for slug in SLUGS:
            house.tenant(slug)
        yield Comparison(house, name)
    finally:
        house.engine.close()
