from __future__ import annotations

import time
from pathlib import Path

import pytest

from partywall.catalog import check
from partywall.errors import ConfigError

LABEL = "system/tenancy/"


def problems(files, key: str, text: str) -> list[tuple[int, int, str, str]]:
    files.write(key, text)
    found = check(files.root)
    assert all(problem.file == LABEL + key for problem in found), found
    return [(problem.line, problem.column, problem.message, problem.path) for problem in found]


TENANT = """\
# a tenant
id: ten_acme0001
name: 12
slug: Acme
type: free
status: activ
owner:
  userId: u1
  e_mail: a@acme.test
qoutas:
  maxUsers: 3
quotas:
  maxUsers: -1
  maxStorageGB: lots
settings:
  allowedModels: m1
domains: [acme.test, Acme.test]
rate_limits:
  api_requests: {maxRequests: 1}
created_at: x
"""


def test_all_problems_of_a_file_are_told_at_once_at_exact_places_in_plain_words(files) -> None:
    assert problems(files, "tenants/acme.yaml", TENANT) == [
        (3, 7, "expected a text; put it in quotes", "name"),
        (4, 7, "slug 'Acme' is not legal: 1 to 48 of a-z, 0-9 and inner hyphens", "slug"),
        (
            6,
            9,
            "expected one of active, pending, suspended, deleted; did you mean 'active'?",
            "status",
        ),
        (8, 3, "'email' is missing", "owner.email"),
        (8, 3, "'name' is missing", "owner.name"),
        (9, 3, "unknown key 'e_mail'; did you mean 'email'?", "owner.e_mail"),
        (10, 1, "unknown key 'qoutas'; did you mean 'quotas'?", "qoutas"),
        (13, 13, "expected a whole number from 0 to 2^53, or 'unlimited'", "quotas.maxUsers"),
        (14, 17, "expected a number of gigabytes from 0 to 9 million, or 'unlimited'", "quotas.maxStorageGB"),
        (16, 18, "expected a list", "settings.allowedModels"),
        (17, 22, "expected a host name in lower-case ASCII, such as 'app.acme.test'", "domains[1]"),
        (19, 17, "'windowMs' is missing", "rate_limits.api_requests.windowMs"),
        (20, 1, "unknown key 'created_at'; did you mean 'createdAt'?", "created_at"),
    ]


def test_k10_a_key_that_nobody_knows_is_refused_at_the_key(files) -> None:
    text = files.tenant("acme", more="settings:\n  defaultModle: m\n")
    assert problems(files, "tenants/acme.yaml", text) == [
        (11, 3, "unknown key 'defaultModle'; did you mean 'defaultModel'?", "settings.defaultModle")
    ]


def test_a_rate_limit_that_has_no_meaning_is_refused_at_the_value(files) -> None:
    limits = """rate_limits:
  windows: {maxRequests: 5, windowMs: 1000, burst: 3}
  too_much:
    maxRequests: 5
    windowMs: 1000
    algorithm: gcra
    burst: 9
  twice: {maxRequests: 5, windowMs: 1000, per: user, perUser: {maxRequests: 1, windowMs: 1000}}
  within: {maxRequests: 5, windowMs: 1000, perUser: {maxRequests: 1, burst: x}}
"""
    assert problems(files, "tenants/acme.yaml", files.tenant("acme", more=limits)) == [
        (11, 52, "burst has a meaning only beside 'algorithm: gcra'; windows admit maxRequests at once",
         "rate_limits.windows.burst"),
        (16, 12, "burst is at most maxRequests, 5; a longer window admits more at once", "rate_limits.too_much.burst"),
        (17, 63, "perUser stands beside the tenant's limit; 'per: user' says that there is none",
         "rate_limits.twice.perUser"),
        (18, 53, "'windowMs' is missing", "rate_limits.within.perUser.windowMs"),
        (18, 77, "expected a whole number", "rate_limits.within.perUser.burst"),
    ]  # fmt: skip


@pytest.mark.parametrize("value", [".nan", ".inf", "-1", "1.5", "9007199254740993"])
def test_k7_a_quota_that_is_no_count_is_refused(files, value: str) -> None:
    text = files.tenant("acme", more=f"quotas:\n  maxUsers: {value}\n")
    assert [place[:2] for place in problems(files, "tenants/acme.yaml", text)] == [(11, 13)]


def test_structural_and_model_problems_come_together_and_each_place_once(files) -> None:
    text = files.tenant("acme", more="quotas:\n  maxUsers: 012\n  maxProjects: -1\n")
    found = problems(files, "tenants/acme.yaml", text)
    assert [place[:2] for place in found] == [(11, 13), (12, 16)]


def test_problems_of_the_other_files_have_places_too(files) -> None:
    files.write("engine.yaml", "reload:\n  sweep_secs: 1\n")
    files.write("plans.yaml", "plans:\n  Free: {}\n")
    files.write("tables.yaml", "tables:\n  main:\n    columns:\n      a: {type: txt}\n")
    with pytest.raises(ConfigError) as caught:
        files.open()
    places = {(problem.file.removeprefix(LABEL), problem.line, problem.column) for problem in caught.value.problems}
    assert {("engine.yaml", 2, 3), ("plans.yaml", 2, 3), ("tables.yaml", 2, 3), ("tables.yaml", 4, 17)} <= places
    assert "did you mean 'sweep_seconds'?" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"), [("- a\n", "expected a mapping"), ("a\n", "expected a mapping"), ("", "the file is empty")]
)
def test_a_document_that_is_no_mapping_is_refused(files, text: str, message: str) -> None:
    assert problems(files, "tenants/acme.yaml", text) == [(1, 1, message, "")]


def test_an_undeclared_region_is_a_problem_of_the_tenant(files) -> None:
    text = files.tenant("acme", more="settings:\n  dataResidency: mars\n")
    line, column, message, path = problems(files, "tenants/acme.yaml", text)[0]
    assert (line, column, path) == (11, 18, "settings.dataResidency")
    assert message == "the region 'mars' is not declared in engine.yaml (declared: eu, us)"


def test_check_reads_everything_writes_nothing_and_raises_nothing(files) -> None:
    files.write("tenants/new.yaml", files.tenant("new").partition("\n")[2])
    before = {path: path.read_bytes() for path in files.root.rglob("*") if path.is_file()}
    assert check(files.root) == []
    files.write("plans.yaml", "plans: 3\n")
    files.write("tenants/bad.yaml", "name: 1\n")
    labels = {problem.file for problem in check(files.root)}
    assert labels == {LABEL + "plans.yaml", LABEL + "tenants/bad.yaml"}
    files.write("plans.yaml", before[files.tenancy / "plans.yaml"])
    (files.tenants / "bad.yaml").unlink()
    assert {path: path.read_bytes() for path in files.root.rglob("*") if path.is_file()} == before
    assert check(files.root / "nowhere") != []


def test_the_samples_that_ship_are_well() -> None:
    root = Path(__file__).parents[2] / "orchestrator-data"
    assert check(root) == []


def test_what_is_wrong_with_a_files_shape_hides_nothing_of_what_is_wrong_between_files(files) -> None:
    files.tenant("acme", more="domains: [app.acme.test]\n")
    text = "name: 3\nslug: acme\ntype: starer\nsettings: {dataResidency: eur}\ndomains: [a.test, app.acme.test]\n"
    files.write("tenants/bad.yaml", text)
    files.write("tenants/twin.yaml", "id: ten_acme0001\nslug: x\ndomains: [a.test]\n")
    found = [(problem.file, problem.line, problem.column, problem.message) for problem in check(files.root)]
    acme, bad, twin = (f"{LABEL}tenants/{name}.yaml" for name in ("acme", "bad", "twin"))
    assert [each for each in found if "missing" not in each[3]] == [
        (bad, 1, 7, "expected a text; put it in quotes"),
        (bad, 2, 7, f"the slug 'acme' is taken by {acme}:3:7"),
        (bad, 3, 7, "the plan 'starer' is not in plans.yaml; did you mean 'starter'?"),
        (bad, 4, 27, "the region 'eur' is not declared in engine.yaml (declared: eu, us); did you mean 'eu'?"),
        (bad, 5, 19, f"the domain 'app.acme.test' is taken by {acme}:10:11"),
        (twin, 1, 5, f"the id 'ten_acme0001' is taken by {acme}:1:5"),
        (twin, 3, 11, f"the domain 'a.test' is taken by {bad}:5:11"),
    ]


def test_without_usable_plans_every_file_is_still_held_against_the_others_and_the_plans_names(files) -> None:
    files.tenant("acme")
    files.tenant("beta", plan="fre", tenant_id="ten_acme0001")
    files.write("plans.yaml", files.text("plans.yaml").replace("price: 0", "price: cheap"))
    assert [(problem.file.removeprefix(LABEL), problem.message.partition(";")[0]) for problem in check(files.root)] == [
        ("plans.yaml", "expected a price of at least 0, or 'custom'"),
        ("tenants/beta.yaml", f"the id 'ten_acme0001' is taken by {LABEL}tenants/acme.yaml:1:5"),
        ("tenants/beta.yaml", "the plan 'fre' is not in plans.yaml"),
    ]


@pytest.mark.parametrize(
    ("key", "old", "new", "told"),
    [
        ("plans.yaml", "isolation: schema_level", "isolation: schema", "did you mean 'schema_level'?"),
        ("plans.yaml", "windowMs: 60000 }", "windowMs: 60000, per: usr }", "expected 'tenant' or 'user'; did you mean"),
        ("plans.yaml", "windowMs", "window_ms", "unknown key 'window_ms'; did you mean 'windowMs'?"),
        ("plans.yaml", "- sso", "- Single Sign-on", "expected the name of a feature: a letter, then up to 63 of"),
        ("tables.yaml", "type: text", "type: txt", "did you mean 'text'?"),
        ("engine.yaml", "base_domain: ", "durability: comit\nbase_domain: ", "did you mean 'commit'?"),
    ],
)
def test_a_word_that_is_nearly_right_is_named(files, key: str, old: str, new: str, told: str) -> None:
    text = files.text(key)
    assert old in text
    found = problems(files, key, text.replace(old, new, 1))
    assert any(told in message for _, _, message, _ in found), found


def test_wrong_references_and_keys_of_tables_are_told_all_at_their_places(files) -> None:
    columns = "a: {type: text, references: task}, b: {type: text, references: projekt}"
    text = f"tables:\n  projects:\n    columns: {{{columns}}}\n  tasks:\n    columns: {{a: {{type: text}}}}\n"
    assert problems(files, "tables.yaml", text) == [
        (
            3,
            43,
            "references 'task', which is not declared; did you mean 'tasks'?",
            "tables.projects.columns.a.references",
        ),
        (
            3,
            78,
            "references 'projekt', which is not declared; did you mean 'projects'?",
            "tables.projects.columns.b.references",
        ),
    ]
    text = "tables: {t: {columns: {name: {type: text}, f: {type: float}}, unique: [[nam], [f], []]}}"
    assert [(message, path) for _, _, message, path in problems(files, "tables.yaml", text)] == [
        ("unique names 'nam', which is not a column of this table; did you mean 'name'?", "tables.t.unique[0][0]"),
        ("unique names 'f', whose type cannot be a key", "tables.t.unique[1][0]"),
        ("a unique key names at least one column, and each once", "tables.t.unique[2]"),
    ]
    text = "tables: {t: {columns: {num: {type: integer, default: x}, r: {type: date, references: t}}}}"
    assert [path for _, _, _, path in problems(files, "tables.yaml", text)] == [
        "tables.t.columns.num.default",
        "tables.t.columns.r.type",
    ]


@pytest.mark.parametrize(
    ("more", "others"),
    [
        ("".join(f"k{number}:\n" for number in range(30_000)), 29_901),
        ("domains:\n" + "- 1\n" * 60_000, 59_901),
        ("a: no\n" * 50 + "".join(f"k{number}:\n" for number in range(200)), 200 + 1),
    ],
)
def test_of_very_many_problems_of_a_file_the_first_are_told_and_the_others_counted(files, more, others: int) -> None:
    found = problems(files, "tenants/acme.yaml", files.tenant("acme", more=more))
    assert (len(found), found) == (100, sorted(found))
    assert found[-1][2] == f"there are {others:,} more problems from here on"
    assert found[-1][:2] > found[-2][:2]


def test_a_copy_of_a_file_with_very_many_domains_is_told_in_time_and_once(files) -> None:
    domains = "domains:\n" + "".join(f"- d{number}.test\n" for number in range(10_000))
    files.tenant("acme", more=domains)
    files.tenant("twin", more=domains)
    started = time.monotonic()
    catalog = files.open()
    files.tenant("other")
    catalog.refresh()
    assert [len(catalog.problems), len(check(files.root))] == [100, 100]
    assert catalog.problems[-1].message == "there are 9,901 more problems from here on"
    assert time.monotonic() - started < 30  # an hour if each of them is looked up in the files by itself


@pytest.mark.parametrize("name", ["plans.yml", "Plans.yaml", "PLANS.YML"])
def test_a_missing_file_names_the_one_that_may_be_meant(files, name: str) -> None:
    (files.tenancy / "plans.yaml").rename(files.tenancy / name)
    with pytest.raises(ConfigError, match=f"plans.yaml:1:1: the file is missing; there is {name}$"):
        files.open()
    assert {(problem.file, problem.message) for problem in check(files.root)} == {
        (f"{LABEL}{name}", "this file is not read; rename it to plans.yaml"),
        (f"{LABEL}plans.yaml", f"the file is missing; there is {name}"),
    }


def test_an_engine_with_defaults_tells_of_a_file_that_may_be_meant_for_its_settings(files) -> None:
    (files.tenancy / "engine.yaml").rename(files.tenancy / "engine.yml")
    catalog = files.open()
    assert [problem.message for problem in catalog.problems] == ["the file is missing; there is engine.yml"]
    (files.tenancy / "engine.yml").rename(files.tenancy / "engine.yaml")
    catalog.refresh()
    assert catalog.problems == ()


def test_a_tenants_file_whose_suffix_is_in_capitals_is_a_problem_until_it_is_renamed(files) -> None:
    files.tenant("acme")
    (files.tenants / "acme.yaml").rename(files.tenants / "acme.YAML")
    catalog = files.open()
    told = [(f"{LABEL}tenants/acme.YAML", "this file is not read, because its name does not end in .yaml: rename it")]
    assert [(problem.file, problem.message) for problem in catalog.problems] == told
    assert [(problem.file, problem.message) for problem in check(files.root)] == told
    plans = files.text("plans.yaml")
    files.write("plans.yaml", "plans: 3\n")
    assert [(problem.file, problem.message) for problem in check(files.root)][1:] == told
    files.write("plans.yaml", plans)
    (files.tenants / "acme.YAML").rename(files.tenants / "acme.yaml")
    assert catalog.refresh().by_slug("acme") is not None
    assert catalog.problems == ()


def test_files_that_lie_where_nobody_reads_them_are_told_with_what_to_do(files) -> None:
    text = files.tenant("acme")
    (files.tenants / "eu" / "west").mkdir(parents=True)
    for name in ("plans.yml", "beta.yaml", "tenants/eu/one.yaml", "tenants/eu/west/two.yml"):
        files.write(name, text)
    assert [(problem.file.removeprefix(LABEL), problem.message) for problem in check(files.root)] == [
        ("beta.yaml", "this file is not read; tenants' files are read in tenants/: move it there"),
        ("plans.yml", "this file is not read; plans.yaml is read instead: remove this one"),
        (
            "tenants/eu/one.yaml",
            "this file (and 1 more below tenants/eu) is not read, because subfolders are not; move it into tenants/",
        ),
    ]


def test_files_that_nobody_means_for_the_engine_are_no_problem(files) -> None:
    text = files.tenant("acme")
    (files.tenants / "releases" / "1").mkdir(parents=True)
    (files.tenants / "docs").mkdir()
    (files.tenants / "..data").mkdir()
    for name in ("releases/1/beta.yaml", "docs/notes.md", "..data/x.yaml", ".x.yaml.swp", "acme.yaml~", "acme.json"):
        files.write(f"tenants/{name}", text.replace("acme", "beta"))
    (files.tenants / "beta.yaml").symlink_to("releases/1/beta.yaml")
    files.write("kustomization.yaml", "resources: [a]\n")
    files.write("broken.yaml", "a: [\n")
    assert check(files.root) == []


@pytest.mark.parametrize(
    "text",
    [
        "".join(
            f"  t{n}:\n    columns:\n      c: \n        type: text\n        references: x{n}\n" for n in range(2900)
        ),
        "  t:\n    columns:\n"
        + "".join(f"      c{n}:\n        type: text\n" for n in range(3000))
        + "    unique:\n"
        + "".join(f"    - \n      - x{n}\n" for n in range(7000)),
    ],
)
def test_very_many_wrong_names_among_very_many_are_told_in_time(files, text: str) -> None:
    started = time.monotonic()
    assert len(problems(files, "tables.yaml", f"tables:\n{text}")) == 100
    assert time.monotonic() - started < 20  # minutes if each is compared with every name


def test_very_many_plans_that_are_gone_and_in_use_are_a_hundred_problems(files) -> None:
    plan = files.text("plans.yaml").partition("plans:\n")[2].partition("\n\n")[0]
    plans = "".join(f"{plan.replace('free:', f'plan{number}:')}\n" for number in range(110))
    files.write("plans.yaml", f"plans:\n{plans}")
    for number in range(110):
        files.tenant(f"t{number}", plan=f"plan{number}")
    catalog = files.open()
    files.write("plans.yaml", f"plans:\n{plan}\n")
    catalog.refresh()
    assert (len(catalog.snapshot), len(catalog.problems)) == (110, 100)
    assert catalog.problems[-1].message == "there are 11 more problems from here on"
