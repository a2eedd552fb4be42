from __future__ import annotations

import os

import pytest

from partywall.catalog import check
from partywall.errors import ConfigError

LABEL = "system/tenancy/"


def at(catalog) -> list[tuple[str, int, int]]:
    return [(problem.file.removeprefix(LABEL), problem.line, problem.column) for problem in catalog.problems]


def test_open_reads_everything(files) -> None:
    files.tenant("acme", plan="professional", more="domains: [app.acme.test]\nquotas: {maxProjects: 7}\n")
    files.tenant("beta")
    catalog = files.open()
    snapshot = catalog.snapshot
    assert (len(snapshot), snapshot.generation, catalog.problems, catalog.notices) == (2, 1, (), ())
    assert list(snapshot.ids()) == ["ten_acme0001", "ten_beta0001"]
    acme = snapshot.tenant("ten_acme0001")
    assert acme is snapshot.by_slug("acme") is snapshot.by_domain("app.acme.test")
    grants = snapshot.grants("ten_acme0001")
    assert (grants.plan, grants.quotas.projects, grants.quotas.users, grants.retention_days) == (
        "professional",
        7,
        25,
        60,
    )
    assert snapshot.file_of("ten_acme0001") == "acme.yaml"
    assert (snapshot.tenant("ten_none"), snapshot.by_slug("x"), snapshot.by_domain("x"), snapshot.grants("x")) == (
        None,
    ) * 4
    assert catalog.config.base_domain == "partywall.test"
    assert list(catalog.tables) == ["projects"]
    assert catalog.last_success == files.clock.now()


def test_an_edit_is_published_once_with_what_changed_and_the_old_snapshot_stays_as_it_was(files, heard) -> None:
    text = files.tenant("acme")
    catalog = files.open()
    ear = heard(catalog)
    before = catalog.snapshot
    files.write("tenants/acme.yaml", text.replace("free", "starter"))
    after = catalog.refresh()
    assert after.generation == before.generation + 1
    assert (before.tenant("ten_acme0001").type, after.tenant("ten_acme0001").type) == ("free", "starter")
    [change] = ear.changes
    assert (change.previous, change.snapshot) == (before, after)
    assert (change.tenants, change.plans, change.source) == ({"ten_acme0001"}, frozenset(), "file")
    assert catalog.refresh() is after


def test_touch_comment_and_formatting_publish_nothing(files) -> None:
    text = files.tenant("acme")
    catalog = files.open()
    before = catalog.snapshot
    os.utime(files.tenants / "acme.yaml", (1, 1))
    assert catalog.refresh() is before
    files.write("tenants/acme.yaml", "# why\n" + text.replace("Acme", '"Acme"'))
    assert catalog.refresh() is before
    assert files.reopen().snapshot.digest == before.digest


def test_a_plan_edit_reaches_its_tenants_without_naming_them(files, heard) -> None:
    files.tenant("acme")
    catalog = files.open()
    ear = heard(catalog)
    before = catalog.snapshot
    assert before.grants("ten_acme0001") is before.grants("ten_acme0001")
    files.write("plans.yaml", files.text("plans.yaml").replace("maxProjects: 3\n", "maxProjects: 4\n"))
    after = catalog.refresh()
    assert (before.grants("ten_acme0001").quotas.projects, after.grants("ten_acme0001").quotas.projects) == (3, 4)
    assert (ear.changes[0].plans, ear.changes[0].tenants) == ({"free"}, frozenset())


BAD = {
    "k1_tag": ("name: !!python/name:os.system x\n", (2, 7)),
    "k2_alias": ("name: &n Acme\nsettings: {defaultModel: *n}\n", (2, 7)),
    "k4_nesting": ("settings: " + "[" * 15000 + "\n", (2, 2011)),
    "k5_duplicate": ("name: A\nname: B\n", (3, 1)),
    "k6_ambiguous": ("name: 22:22\n", (2, 7)),
    "k7_number": ("quotas: {maxUsers: .inf}\n", (2, 20)),
    "k9_cut_in_a_line": ('name: "Ac', (2, 10)),
    "k10_field": ("maxProjects: 3\n", (2, 1)),
    "k11_plan": (
        "name: Acme\nslug: acme\ntype: fere\nstatus: active\nowner: {userId: a, email: a@b.c, name: A}\n",
        (4, 7),
    ),
}


@pytest.mark.parametrize("attack", BAD)
def test_k1_k2_k4_k5_k6_k7_k9_k10_k11_a_bad_edit_is_placed_and_the_last_good_stays_also_after_a_restart(
    files, attack: str
) -> None:
    files.tenant("acme")
    files.tenant("beta")
    catalog = files.open()
    good = catalog.snapshot
    body, place = BAD[attack]
    files.write("tenants/acme.yaml", "id: ten_acme0001\n" + body)
    files.tenant("beta", plan="starter")
    after = catalog.refresh()
    assert after.tenant("ten_acme0001") is good.tenant("ten_acme0001")
    assert after.tenant("ten_beta0001").type == "starter"
    assert ("tenants/acme.yaml", *place) in at(catalog)
    again = files.reopen()
    assert again.snapshot.tenant("ten_acme0001") == good.tenant("ten_acme0001")
    assert ("tenants/acme.yaml", *place) in at(again)
    files.tenant("acme", plan="professional")
    assert again.refresh().tenant("ten_acme0001").type == "professional"
    assert again.problems == ()


def test_k9_every_cut_of_a_file_leaves_the_last_good_or_a_whole_version(files) -> None:
    text = files.tenant("acme", more="quotas:\n  maxProjects: 5\n")
    catalog = files.open()
    good = catalog.snapshot.tenant("ten_acme0001")
    end = text.index("quotas")
    for cut in range(0, end - 5, 7):
        files.write("tenants/acme.yaml", text[:cut])
        assert catalog.refresh().tenant("ten_acme0001") == good
        assert at(catalog)[0][0] == "tenants/acme.yaml"


def test_k11_a_missing_plan_names_the_near_one_and_applies_once_it_is_there(files) -> None:
    files.tenant("acme", plan="fre")
    catalog = files.open()
    assert len(catalog.snapshot) == 0
    assert (
        str(catalog.problems[0])
        == f"{LABEL}tenants/acme.yaml:4:7: the plan 'fre' is not in plans.yaml; did you mean 'free'? at type"
    )
    files.write("plans.yaml", files.text("plans.yaml").replace("  free:\n", "  fre:\n"))
    assert catalog.refresh().tenant("ten_acme0001").type == "fre"
    assert catalog.problems == ()


def test_plans_and_tenants_of_one_batch_are_checked_together(files) -> None:
    files.tenant("acme")
    catalog = files.open()
    files.write("plans.yaml", files.text("plans.yaml").replace("  free:\n", "  gratis:\n"))
    files.tenant("acme", plan="gratis")
    assert catalog.refresh().grants("ten_acme0001").plan == "gratis"
    assert catalog.problems == ()


def test_plans_that_drop_a_plan_in_use_are_refused_as_a_whole_until_it_is_free(files) -> None:
    files.tenant("acme")
    catalog = files.open()
    without = files.text("plans.yaml").replace("  free:\n", "  gratis:\n").replace("price: 29", "price: 31")
    files.write("plans.yaml", without)
    snapshot = catalog.refresh()
    assert ("free" in snapshot.plans, snapshot.plans["starter"].price) == (True, 29)
    [problem] = catalog.problems
    assert (problem.file, problem.line) == (LABEL + "plans.yaml", 2)
    assert f"the plan 'free' is gone and in use by {LABEL}tenants/acme.yaml:4:7" in problem.message
    assert files.reopen().snapshot.plans["starter"].price == 29
    files.tenant("acme", plan="starter")
    snapshot = files.opened[-1].refresh()
    assert ("free" in snapshot.plans, snapshot.plans["starter"].price) == (False, 31)
    assert files.opened[-1].problems == ()


@pytest.mark.parametrize("bad", ["plans: {}\n", "plans: [\n", ""])
def test_bad_plans_keep_the_last_good_ones_also_after_a_restart(files, bad: str) -> None:
    files.tenant("acme")
    catalog = files.open()
    good = dict(catalog.snapshot.plans)
    files.write("plans.yaml", bad)
    assert catalog.refresh().plans == good
    assert at(catalog)[0][0] == "plans.yaml"
    assert files.reopen().snapshot.plans == good
    assert files.opened[-1].snapshot.grants("ten_acme0001") is not None
    assert at(files.opened[-1])[0][0] == "plans.yaml"


def test_plans_that_are_gone_for_a_moment_are_a_problem_until_they_are_back(files) -> None:
    files.tenant("acme")
    catalog = files.open()
    path = files.tenancy / "plans.yaml"
    path.rename(files.root / "aside")
    assert catalog.refresh().grants("ten_acme0001") is not None
    assert at(catalog) == [("plans.yaml", 1, 1)]
    (files.root / "aside").rename(path)
    catalog.refresh()
    assert catalog.problems == ()


def test_a_first_start_with_bad_plans_or_tables_tells_every_problem(files) -> None:
    files.write("plans.yaml", "plans: 3\n")
    (files.tenancy / "tables.yaml").unlink()
    with pytest.raises(ConfigError) as caught:
        files.open()
    assert {problem.file.removeprefix(LABEL) for problem in caught.value.problems} == {"plans.yaml", "tables.yaml"}


def test_engine_yaml_may_be_left_out(files) -> None:
    (files.tenancy / "engine.yaml").unlink()
    catalog = files.open()
    assert (catalog.config.base_domain, catalog.problems) == (None, ())


def test_a_first_start_with_one_bad_tenant_leaves_only_that_one_out(files) -> None:
    files.tenant("acme")
    files.write("tenants/bad.yaml", "id: 3\n")
    catalog = files.open()
    assert list(catalog.snapshot.ids()) == ["ten_acme0001"]
    assert {place[0] for place in at(catalog)} == {"tenants/bad.yaml"}
    assert catalog.last_success is None


def test_edits_of_engine_and_tables_wait_for_the_next_start_and_bad_ones_are_problems(files) -> None:
    catalog = files.open()
    files.write("engine.yaml", files.text("engine.yaml") + "durability: interval\n")
    files.write("tables.yaml", "tables: 3\n")
    catalog.refresh()
    assert catalog.config.durability == "commit"
    assert [(notice.file, notice.message) for notice in catalog.notices] == [
        (LABEL + "engine.yaml", "this edit takes effect at the next start")
    ]
    assert at(catalog) == [("tables.yaml", 1, 9)]
    again = files.reopen()
    assert (again.config.durability, list(again.tables), again.notices) == ("interval", ["projects"], ())
    assert at(again) == [("tables.yaml", 1, 9)]


def test_one_id_in_two_files_names_both_and_the_one_in_force_keeps_it(files) -> None:
    text = files.tenant("zed")
    catalog = files.open()
    files.write("tenants/copy.yaml", text.replace("slug: zed", "slug: copy"))
    assert catalog.refresh().file_of("ten_zed0001") == "zed.yaml"
    [problem] = catalog.problems
    assert (
        str(problem)
        == f"{LABEL}tenants/copy.yaml:1:5: the id 'ten_zed0001' is taken by {LABEL}tenants/zed.yaml:1:5 at id"
    )
    assert files.reopen().snapshot.file_of("ten_zed0001") == "zed.yaml"


def test_one_slug_or_domain_in_two_tenants_goes_to_the_first_file_on_a_cold_start(files) -> None:
    files.tenant("beta", more="domains: [x.test, y.test]\n")
    files.write("tenants/alpha.yaml", files.tenant("acme", more="domains: [z.test, y.test]\n").replace("0001", "0009"))
    files.write("tenants/gamma.yaml", files.tenant("acme").replace("0001", "0008"))
    (files.tenants / "acme.yaml").unlink()
    catalog = files.open()
    assert list(catalog.snapshot.ids()) == ["ten_acme0009"]
    assert at(catalog) == [("tenants/beta.yaml", 10, 19), ("tenants/gamma.yaml", 3, 7)]
    assert f"taken by {LABEL}tenants/alpha.yaml:3:7" in catalog.problems[1].message
    files.write(
        "tenants/alpha.yaml",
        files.text("tenants/alpha.yaml").replace("slug: acme", "slug: other").replace("y.test", "w.test"),
    )
    assert len(catalog.refresh()) == 3
    assert catalog.problems == ()


def test_two_tenants_can_swap_their_slugs_in_one_batch(files) -> None:
    one, two = files.tenant("one"), files.tenant("two")
    catalog = files.open()
    files.write("tenants/one.yaml", one.replace("slug: one", "slug: two"))
    files.write("tenants/two.yaml", two.replace("slug: two", "slug: one"))
    snapshot = catalog.refresh()
    assert (snapshot.by_slug("one").id, snapshot.by_slug("two").id) == ("ten_two0001", "ten_one0001")
    assert catalog.problems == ()


def test_a_refused_move_of_a_slug_refuses_those_who_counted_on_it(files) -> None:
    a, b, _ = files.tenant("aa"), files.tenant("bb"), files.tenant("cc")
    catalog = files.open()
    files.write("tenants/aa.yaml", a.replace("slug: aa", "slug: cc"))
    files.write("tenants/bb.yaml", b.replace("slug: bb", "slug: aa"))
    snapshot = catalog.refresh()
    assert [snapshot.by_slug(slug).id for slug in ("aa", "bb", "cc")] == ["ten_aa0001", "ten_bb0001", "ten_cc0001"]
    assert at(catalog) == [("tenants/aa.yaml", 3, 7), ("tenants/bb.yaml", 3, 7)]


def test_the_id_in_a_file_never_changes(files) -> None:
    text = files.tenant("acme")
    catalog = files.open()
    files.write("tenants/acme.yaml", text.replace("ten_acme0001", "ten_other01"))
    assert list(catalog.refresh().ids()) == ["ten_acme0001"]
    assert at(catalog) == [("tenants/acme.yaml", 1, 5)]


def test_a_broken_cache_is_thrown_away_and_built_anew(files) -> None:
    files.tenant("acme")
    files.open()
    files.opened.pop().close()
    (files.root / "var" / "catalog.sqlite").write_bytes(b"this is no database" * 500)
    assert len(files.open().snapshot) == 1
    files.write("tenants/acme.yaml", "name: [\n")
    assert len(files.reopen().snapshot) == 1


def test_a_listener_that_fails_is_logged_and_the_others_hear(files, heard, caplog) -> None:
    text = files.tenant("acme")
    catalog = files.open()
    catalog.subscribe(lambda _: 1 / 0)
    ear = heard(catalog)
    files.write("tenants/acme.yaml", text.replace("free", "starter"))
    catalog.refresh()
    assert len(ear.changes) == 1
    assert "a listener of the catalog failed" in caplog.text


def test_a_file_without_an_id_gets_one_written_back(files) -> None:
    body = files.tenant("acme").partition("\n")[2]
    files.write("tenants/acme.yaml", "# ours\n\n" + body)
    catalog = files.open()
    [tenant_id] = catalog.snapshot.ids()
    assert files.text("tenants/acme.yaml") == f"# ours\n\nid: {tenant_id}\n{body}"
    assert catalog.problems == ()
    files.write("tenants/acme.yaml", body)
    assert list(catalog.refresh().ids()) == [tenant_id]
    assert files.text("tenants/acme.yaml") == f"id: {tenant_id}\n{body}"
    assert list(files.reopen().snapshot.ids()) == [tenant_id]


def test_on_a_read_only_source_a_file_without_an_id_is_told_which_line_to_add(files) -> None:
    body = files.tenant("acme").partition("\n")[2]
    files.write("tenants/acme.yaml", body).chmod(0o444)
    catalog = files.open()
    assert len(catalog.snapshot) == 0
    line = catalog.problems[0].message.partition("add the line '")[2].removesuffix("'")
    assert files.reopen().problems == catalog.problems, "another id at each start is no line to paste"
    assert check(files.root) == list(catalog.problems)
    catalog = files.opened[-1]
    (files.tenants / "acme.yaml").chmod(0o644)
    files.write("tenants/acme.yaml", f"{line}\n{body}")
    assert list(catalog.refresh().ids()) == [line.removeprefix("id: ")]


def test_files_saved_one_after_another_are_one_snapshot_of_a_refresh(files, heard) -> None:
    files.tenant("one")
    files.tenant("two")
    catalog = files.open()
    ear = heard(catalog)
    files.tenant("one", plan="starter")
    os.utime(files.tenants / "one.yaml", (1, 1))  # quiet for long, while the other was saved just now
    files.tenant("two", plan="starter")
    catalog.refresh()
    assert [change.tenants for change in ear.changes] == [{"ten_one0001", "ten_two0001"}]
