"""A bad file changes nothing that the engine answers: it is told with line and column, and the last good holds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from partywall import Engine
from partywall.errors import ConfigError
from partywall.model import Tenant

BAD = {
    "k1": ("name: !!python/object/apply:os.system [x]", (4, 7)),
    "k2": ("name: &a [x, x]\nbilling: [*a, *a]", (5, 11)),
    "k4": ("name: " + "[" * 40, (4, 38)),
    "k5": ("name: A\nname: B", (5, 1)),
    "k6": ("name: no", (4, 7)),
    "k7": ("name: A\nquotas: {maxUsers: .nan}", (5, 20)),
    "k9": ('name: "Acm', (4, 11)),
    "k10": ("name: A\nfavourite: blue", (5, 1)),
    "k11": ("name: A", (6, 7)),
}
"""What stands in the file instead of the line with the name, and the place that is told."""


@pytest.mark.parametrize("attack", BAD)
def test_k1_k2_k4_k5_k6_k7_k9_k10_k11_the_engine_tells_the_place_and_goes_on_with_what_was_last_good(
    engine: Engine, acme: Tenant, attack: str
) -> None:
    file = engine.folder.tenancy / "tenants" / "acme.yaml"
    good = file.read_text()
    bad, place = BAD[attack]
    text = good.replace("name: Acme", bad, 1)
    if attack == "k9":
        text = text[: text.index(bad) + len(bad)]
    if attack == "k11":
        text = text.replace("type: professional", "type: profesional")
    file.write_text(text)
    engine.catalog.refresh()
    assert ("system/tenancy/tenants/acme.yaml", *place) in [
        (problem.file, problem.line, problem.column) for problem in engine.status().problems
    ]
    assert engine.tenants.get(acme.id) == acme
    assert engine.query(acme.id).count("projects") == 0
    with pytest.raises(ConfigError, match=r"acme\.yaml:\d+:\d+"):
        engine.tenants.rename(acme.id, name="Other")
    assert file.read_text() == text
    file.write_text(good.replace("name: Acme", "name: Better"))
    engine.catalog.refresh()
    assert (engine.tenants.get(acme.id).name, engine.status().problems) == ("Better", ())


def test_k9_k11_what_was_last_good_holds_also_after_a_restart_of_the_engine(
    engine: Engine, acme: Tenant, open_engine: Callable[..., Engine]
) -> None:
    plans = engine.folder.tenancy / "plans.yaml"
    file = engine.folder.tenancy / "tenants" / "acme.yaml"
    grants = engine.directory.grants(acme.id)
    engine.close()
    file.write_text("id: ten_acme000000001\nname: Ac")
    plans.write_text(plans.read_text().replace("  professional:", "  proffesional:"))
    again = open_engine()
    assert again.tenants.get(acme.id) == acme
    assert again.directory.grants(acme.id) == grants
    assert {problem.file for problem in again.status().problems} == {
        "system/tenancy/plans.yaml",
        "system/tenancy/tenants/acme.yaml",
    }
