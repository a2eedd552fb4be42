"""The health of reloading says what is in force, what is wrong, and whether somebody is looking."""

from __future__ import annotations

from partywall.errors import Problem


def test_health_follows_what_is_in_force_and_what_is_wrong(files) -> None:
    text = files.tenant("acme")
    catalog = files.open()
    start = files.clock.now()
    well = catalog.health
    assert (well.generation, well.digest, well.tenants) == (1, catalog.snapshot.digest, 1)
    assert (well.last_success, well.last_failure, well.problems, well.sweeps) == (start, None, (), 1)
    files.clock.advance(7)
    assert catalog.health.checked_at == start
    files.write("tenants/acme.yaml", text.replace("type: free", "type: fre"))
    catalog.refresh()
    bad = catalog.health
    assert (bad.generation, bad.last_success, bad.last_failure, bad.checked_at) == (1, start, start + 7, start + 7)
    assert [(problem.line, problem.column) for problem in bad.problems] == [(4, 7)]
    assert bad.sweeps > 1
    files.clock.advance(3)
    catalog.refresh()
    assert catalog.health.last_failure == start + 7
    files.write("tenants/acme.yaml", text.replace("Acme", "New"))
    catalog.refresh()
    again = catalog.health
    assert (again.generation, again.last_success, again.last_failure, again.problems) == (2, start + 10, start + 7, ())


def test_health_says_whether_edits_are_noticed_by_events(files) -> None:
    watched = files.open(watch=True)
    assert not watched.health.watching
    watched.start()
    assert watched.health.watching
    watched.close()
    assert not watched.health.watching


def test_new_problems_are_told_with_all_that_there_are_and_old_ones_are_not_told_again(files) -> None:
    told: list[tuple[Problem, ...]] = []
    good = files.tenant("acme")
    files.tenant("beta")
    catalog = files.open()
    catalog.on_refusal(told.append)
    catalog.on_refusal(lambda _: 1 / 0)
    files.write("tenants/acme.yaml", "name: [\n")
    catalog.refresh()
    catalog.refresh()
    files.write("tenants/beta.yaml", "name: [\n")
    catalog.refresh()
    files.write("tenants/acme.yaml", good)
    catalog.refresh()
    assert [[problem.file.rpartition("/")[2] for problem in each] for each in told] == [
        ["acme.yaml"],
        ["acme.yaml", "beta.yaml"],
    ]
