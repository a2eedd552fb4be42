from __future__ import annotations

import difflib
import os
import threading
from datetime import UTC, datetime

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from partywall.catalog import load
from partywall.catalog.disk import writer
from partywall.catalog.text.edits import changed, rewrite
from partywall.errors import ConfigError, InvalidArgument, TenantConflict, TenantNotFound
from partywall.model import Owner, Quotas, Settings, Status, TenantSpec

HAND_MADE = """\
# Acme, our first customer
id: ten_acme0001   # never changes
name:   "Acme & Sons"
slug: acme
type: free

status: active     # see the wiki
owner: {userId: u1, email: 'a@acme.test', name: Ann}   # ask her
settings:
  # chosen in May
  defaultModel: 'model-1'
  allowedModels:
    - model-1   # cheap
    - model-2
  # more to come
quotas: {maxProjects: 5}
domains: [a.acme.test, b.acme.test]
# the end
"""

EDITS = [
    ({"status": "suspended", "suspendedAt": datetime(2026, 11, 23, 10, tzinfo=UTC), "suspensionReason": "no"}, [
        "-status: active     # see the wiki",
        "+status: suspended     # see the wiki",
        '+suspendedAt: "2026-11-23T10:00:00Z"',
        '+suspensionReason: "no"',
    ]),
    ({"settings.defaultModel": "it's new"}, ["-  defaultModel: 'model-1'", "+  defaultModel: 'it''s new'"]),
    ({"settings.defaultModel": None}, ["-  defaultModel: 'model-1'"]),
    ({"settings.dataResidency": "eu"}, ["+  dataResidency: eu"]),
    ({"settings.allowedModels": ["model-1", "model-2", "12:30"]}, ['+    - "12:30"']),
    ({"settings.allowedModels": ["model-2"]}, ["-    - model-1   # cheap"]),
    ({"settings.allowedModels": None}, ["-  allowedModels:", "-    - model-1   # cheap", "-    - model-2"]),
    ({"quotas.maxProjects": "unlimited"}, ["-quotas: {maxProjects: 5}", "+quotas: {maxProjects: unlimited}"]),
    ({"quotas.maxUsers": 3}, ["-quotas: {maxProjects: 5}", "+quotas: {maxProjects: 5, maxUsers: 3}"]),
    ({"quotas.maxProjects": None}, ["-quotas: {maxProjects: 5}", "+quotas: {}"]),
    ({"quotas": None}, ["-quotas: {maxProjects: 5}"]),
    ({"owner.name": "Bo O'Neil"}, [
        "-owner: {userId: u1, email: 'a@acme.test', name: Ann}   # ask her",
        "+owner: {userId: u1, email: 'a@acme.test', name: \"Bo O'Neil\"}   # ask her",
    ]),
    ({"domains": ["b.acme.test"]}, ["-domains: [a.acme.test, b.acme.test]", "+domains: [b.acme.test]"]),
    ({'rate_limits."api.calls".maxRequests': 3, 'rate_limits."api.calls".windowMs': 1000}, [
        "+rate_limits:", "+  api.calls:", "+    maxRequests: 3", "+    windowMs: 1000",
    ]),
    ({"name": "Acme"}, ['-name:   "Acme & Sons"', '+name:   "Acme"']),
    ({"billing.stripeCustomerId": None}, []),
]  # fmt: skip


def difference(before: str, after: str) -> list[str]:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


@pytest.mark.parametrize(("changes", "lines"), EDITS, ids=lambda value: next(iter(value), "") if value else "none")
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_an_edit_touches_only_the_lines_that_change(files, changes, lines, newline: str) -> None:
    text = HAND_MADE.replace("\n", newline)
    files.write("tenants/acme.yaml", text)
    catalog = files.open()
    catalog.edit_tenant("ten_acme0001", changes)
    after = files.text("tenants/acme.yaml")
    assert sorted(difference(text, after)) == sorted(lines)
    assert after.count("\n") == after.count(newline)
    assert catalog.problems == ()


def test_the_end_of_a_file_without_a_newline_can_be_extended(files) -> None:
    files.write("tenants/acme.yaml", files.tenant("acme").rstrip("\n"))
    catalog = files.open()
    catalog.edit_tenant("ten_acme0001", {"owner.name": "Bo", "quotas.maxUsers": 2})
    assert files.text("tenants/acme.yaml").endswith("  name: Bo\nquotas:\n  maxUsers: 2")


def test_an_edit_is_in_force_when_the_call_returns_and_its_echo_is_not_published_again(files, heard) -> None:
    files.tenant("acme")
    catalog = files.open()
    ear = heard(catalog)
    catalog.edit_tenant("ten_acme0001", {"status": Status.SUSPENDED})
    assert catalog.snapshot.tenant("ten_acme0001").status is Status.SUSPENDED
    catalog.refresh()
    assert [(change.source, change.tenants) for change in ear.changes] == [("engine", {"ten_acme0001"})]
    assert files.reopen().snapshot.tenant("ten_acme0001").status is Status.SUSPENDED


def test_a_plan_is_edited_within_its_comments(files, heard) -> None:
    files.tenant("acme")
    catalog = files.open()
    before = files.text("plans.yaml")
    ear = heard(catalog)
    catalog.edit_plan("free", {"quotas.maxProjects": 4, "rate_limits.api_requests.maxRequests": 150})
    assert difference(before, files.text("plans.yaml")) == [
        "-      maxProjects: 3",
        "+      maxProjects: 4",
        "-      api_requests: { maxRequests: 100, windowMs: 60000 }",
        "+      api_requests: { maxRequests: 150, windowMs: 60000 }",
    ]
    assert (ear.changes[0].plans, ear.changes[0].source) == ({"free"}, "engine")
    assert catalog.snapshot.grants("ten_acme0001").quotas.projects == 4
    with pytest.raises(InvalidArgument, match="no plan 'gold'"):
        catalog.edit_plan("gold", {"price": 1})


def spec(slug: str, **more: object) -> TenantSpec:
    owner = Owner(user_id="u1", email="a@b.test", name="Ann")
    return TenantSpec(
        **{"id": f"ten_{slug}0001", "name": "No", "slug": slug, "type": "free", "status": "active", "owner": owner}
        | more
    )


def test_a_created_tenant_has_a_tidy_file_and_is_in_force(files) -> None:
    files.write("tenants/acme.yaml", files.tenant("other"))
    (files.tenants / "other.yaml").unlink()
    catalog = files.open()
    made = spec(
        "acme",
        name="12:30",
        created_at=datetime(2026, 11, 23, tzinfo=UTC),
        settings=Settings(allowed_models=("m1", "no")),
        quotas=Quotas(max_storage_gb=0.5),
    )
    catalog.create_tenant(made)
    assert files.text("tenants/acme-2.yaml") == (
        'id: ten_acme0001\nname: "12:30"\nslug: acme\ntype: free\nstatus: active\n'
        'createdAt: "2026-11-23T00:00:00Z"\nowner:\n  userId: u1\n  email: "a@b.test"\n  name: Ann\n'
        'settings:\n  allowedModels: [m1, "no"]\nquotas:\n  maxStorageGB: 0.5\n'
    )
    assert catalog.snapshot.tenant("ten_acme0001") == made
    assert files.reopen().snapshot.tenant("ten_acme0001") == made


def test_the_first_tenant_makes_the_folder(files) -> None:
    files.tenants.rmdir()
    catalog = files.open()
    catalog.create_tenant(spec("acme"))
    assert len(catalog.refresh()) == 1


@pytest.mark.parametrize(
    ("made", "error"),
    [
        (spec("acme", id="ten_other0001"), TenantConflict),
        (spec("other", id="ten_acme0001"), TenantConflict),
        (spec("other", domains=("x.test",)), TenantConflict),
        (spec("other", type="gold"), InvalidArgument),
        (spec("other", settings=Settings(data_residency="mars")), InvalidArgument),
        (spec("other", name="a\0b"), InvalidArgument),
        (spec("other", id=None), InvalidArgument),
    ],
)
def test_a_tenant_that_cannot_be_in_force_is_not_created(files, made: TenantSpec, error: type[Exception]) -> None:
    files.tenant("acme", more="domains: [x.test]\n")
    catalog = files.open()
    with pytest.raises(error) as caught:
        catalog.create_tenant(made)
    assert "acme.yaml" not in str(caught.value)
    assert [path.name for path in files.tenants.iterdir()] == ["acme.yaml"]
    assert catalog.problems == ()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"slug": "beta"}, TenantConflict),
        ({"slug": "Beta"}, InvalidArgument),
        ({"type": "gold"}, InvalidArgument),
        ({"quotas.maxUsers": -1}, InvalidArgument),
        ({"qoutas.maxUsers": 1}, InvalidArgument),
        ({"id": "ten_other0001"}, InvalidArgument),
        ({"name": None}, InvalidArgument),
        ({"name": "a\0"}, InvalidArgument),
        ({"name": object()}, InvalidArgument),
        ({"a..b": 1}, InvalidArgument),
        ({"": 1}, InvalidArgument),
    ],
)
def test_an_edit_that_cannot_be_in_force_changes_nothing(
    files, changes: dict[str, object], error: type[Exception]
) -> None:
    text = files.tenant("acme")
    files.tenant("beta")
    catalog = files.open()
    before = catalog.snapshot
    with pytest.raises(error) as caught:
        catalog.edit_tenant("ten_acme0001", changes)
    assert "beta.yaml" not in str(caught.value)
    assert files.text("tenants/acme.yaml") == text
    assert catalog.snapshot is before
    assert sorted(path.name for path in files.tenants.iterdir()) == ["acme.yaml", "beta.yaml"]


def test_an_unknown_tenant_cannot_be_edited_or_removed(files) -> None:
    catalog = files.open()
    with pytest.raises(TenantNotFound):
        catalog.edit_tenant("ten_none", {"name": "x"})
    with pytest.raises(TenantNotFound):
        catalog.remove_tenant("ten_none")


def test_a_removed_tenant_is_out_at_once_and_its_slug_is_free(files, heard) -> None:
    files.tenant("acme")
    catalog = files.open()
    ear = heard(catalog)
    catalog.remove_tenant("ten_acme0001")
    assert (len(catalog.snapshot), list(files.tenants.iterdir())) == (0, [])
    catalog.refresh()
    catalog.create_tenant(spec("acme", id="ten_new00001"))
    assert [change.source for change in ear.changes] == ["engine", "engine"]
    assert list(files.reopen().snapshot.ids()) == ["ten_new00001"]


@pytest.mark.parametrize("modified", [1, 2**32], ids=["in the past", "in the future"])
def test_a_file_that_is_wrong_already_is_not_edited(files, modified: int) -> None:
    files.tenant("acme")
    catalog = files.open()
    path = files.write("tenants/acme.yaml", "name: [\n")
    os.utime(path, (modified, modified))
    with pytest.raises(ConfigError, match="wrong already") as caught:
        catalog.edit_tenant("ten_acme0001", {"name": "x"})
    assert caught.value.problems[0].line == 2
    assert files.text("tenants/acme.yaml") == "name: [\n"


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_read_only_source_is_not_written(files, what: str) -> None:
    text = files.tenant("acme")
    catalog = files.open()
    target = files.tenants if what == "folder" else files.tenants / "acme.yaml"
    mode = target.stat().st_mode
    target.chmod(0o555)
    try:
        with pytest.raises(ConfigError, match="read-only source"):
            catalog.edit_tenant("ten_acme0001", {"name": "x"})
        if what == "folder":
            with pytest.raises(ConfigError, match="read-only source"):
                catalog.create_tenant(spec("other"))
            with pytest.raises(ConfigError, match="read-only source"):
                catalog.remove_tenant("ten_acme0001")
    finally:
        target.chmod(mode)
    assert files.text("tenants/acme.yaml") == text
    assert catalog.snapshot.tenant("ten_acme0001").name == "Acme"


def test_an_edit_keeps_the_mode_the_mark_and_the_link_of_a_file(files) -> None:
    text = files.tenant("acme")
    real = files.root / "elsewhere.yaml"
    real.write_bytes(b"\xef\xbb\xbf" + text.encode())
    real.chmod(0o640)
    (files.tenants / "acme.yaml").unlink()
    (files.tenants / "acme.yaml").symlink_to(real)
    files.open().edit_tenant("ten_acme0001", {"name": "New"})
    assert (files.tenants / "acme.yaml").is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert real.read_bytes() == b"\xef\xbb\xbf" + text.replace("Acme", "New").encode()


def test_of_a_linked_file_a_removal_removes_the_link_alone(files) -> None:
    files.tenant("acme")
    real = (files.tenants / "acme.yaml").rename(files.root / "elsewhere.yaml")
    (files.tenants / "acme.yaml").symlink_to(real)
    catalog = files.open()
    catalog.remove_tenant("ten_acme0001")
    assert (len(catalog.snapshot), list(files.tenants.iterdir()), real.exists()) == (0, [], True)


def test_an_edit_keeps_what_was_saved_and_not_yet_read(files) -> None:
    text = files.tenant("acme")
    catalog = files.open()
    files.write("tenants/acme.yaml", text.replace("free", "starter"))
    catalog.edit_tenant("ten_acme0001", {"name": "New"})
    found = catalog.snapshot.tenant("ten_acme0001")
    assert (found.name, found.type) == ("New", "starter")


@pytest.mark.parametrize("in_place", [True, False])
def test_no_edit_of_an_operator_is_lost_beside_those_of_the_engine(files, in_place: bool) -> None:
    files.tenant("acme", more="quotas: {maxUsers: 0, maxProjects: 0}\n")
    catalog = files.open()
    failures: list[str] = []
    pace = threading.Event()

    def operate() -> None:
        for number in range(1, 51):
            text = files.text("tenants/acme.yaml")
            if f"maxUsers: {number - 1}," not in text:
                failures.append(f"edit {number - 1} was lost: {text}")
            wanted = text.replace(f"maxUsers: {number - 1},", f"maxUsers: {number},")
            (files.write if in_place else files.rename_over)("tenants/acme.yaml", wanted)
            pace.wait(0.01)  # nobody reads again what they saved within less

    operator = threading.Thread(target=operate)
    operator.start()
    number = 0
    while number < 50 or operator.is_alive():
        number += 1
        catalog.edit_tenant("ten_acme0001", {"quotas.maxProjects": number})
    operator.join(60)
    assert failures == []
    assert catalog.refresh().tenant("ten_acme0001").quotas.max_users == 50
    assert [path.name for path in files.tenants.iterdir()] == ["acme.yaml"]


@pytest.mark.parametrize("saves", [1, 2, 3])
@pytest.mark.parametrize("in_place", [True, False])
def test_an_edit_saved_in_the_very_moment_of_the_swap_is_put_back_and_both_are_kept(
    files, monkeypatch, in_place: bool, saves: int
) -> None:
    text = files.tenant("acme")
    catalog = files.open()
    exchange = writer._exchange
    left = list(range(saves, 0, -1))

    def saved_just_before(one, other) -> bool:
        if left:
            wanted = text.replace("Ann", f"Bo{left.pop()}")
            (files.write if in_place else files.rename_over)("tenants/acme.yaml", wanted)
        return exchange(one, other)

    monkeypatch.setattr(writer, "_exchange", saved_just_before)
    catalog.edit_tenant("ten_acme0001", {"name": "New"})
    found = catalog.snapshot.tenant("ten_acme0001")
    assert (found.name, found.owner.name) == ("New", f"Bo{saves}")
    assert files.text("tenants/acme.yaml") == text.replace("Acme", "New").replace("Ann", f"Bo{saves}")
    assert [path.name for path in files.tenants.iterdir()] == ["acme.yaml"]


def test_where_files_cannot_be_swapped_an_edit_replaces_the_file_it_read(files, monkeypatch) -> None:
    text = files.tenant("acme")
    catalog = files.open()
    monkeypatch.setattr(writer, "_exchange", lambda *_: False)
    catalog.edit_tenant("ten_acme0001", {"name": "New"})
    assert files.text("tenants/acme.yaml") == text.replace("Acme", "New")


KEYS = st.sampled_from(["name", "a", "b", "no", "12:30", "x y", "ü", "a: b", "# c"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 99)
    | st.sampled_from(["x", "no", "1e3", "a\nb", "'", '"', "# x", "", " y "]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300)
@given(
    st.dictionaries(KEYS, VALUES, min_size=1, max_size=4),
    st.dictionaries(KEYS, VALUES, min_size=1, max_size=4),
    st.booleans(),
)
def test_any_edit_comes_out_as_intended_or_is_refused(before, after, flow: bool) -> None:
    text = yaml.safe_dump(before, default_flow_style=flow, allow_unicode=True, sort_keys=False)
    document = load("f", text.encode())
    if document.problems:  # the other writer leaves out quotes that we ask for
        return
    try:
        result = rewrite(document, after)
    except InvalidArgument:
        return
    assert load("f", result.encode()).data == after == yaml.load(result, Loader=yaml.CSafeLoader)


def test_changes_are_laid_over_a_copy() -> None:
    data = {"a": {"b": 1}, "c": [1]}
    assert changed(data, {"a.b": None, "x.y": {"z": (1,)}, "gone.deep": None}) == {
        "a": {},
        "c": [1],
        "x": {"y": {"z": [1]}},
    }
    assert data == {"a": {"b": 1}, "c": [1]}
