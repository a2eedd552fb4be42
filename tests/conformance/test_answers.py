"""The model of dicts that the kit compares backends with is right itself, where it once was not."""

from __future__ import annotations

from partywall.backend import Capability
from partywall.conformance.suite.answers import Answers, Taken
from partywall.conformance.suite.calls import Call, Refused


def test_rows_of_a_refused_insert_do_not_collide_for_want_of_an_id() -> None:
    answers = Answers(frozenset({Capability.KEYS}))
    held = {"id": "a", "email": None, "team": "red", "seat": 1}
    answers.to(Call("insert", "accounts", (held,)), held, inside=False)
    rows = [{"team": "red", "seat": 1}, {"email": "o@x", "seat": 2}]
    refused = Refused("ConstraintViolation", "accounts.team, seat is already taken")
    wanted = answers.to(Call("insert_many", "accounts", (rows,)), refused, inside=False)
    assert wanted == Taken("accounts", ("team, seat",))
    assert list(answers.tables["accounts"]) == ["a"]
