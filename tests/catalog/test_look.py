from __future__ import annotations

import os
import shutil
from contextlib import closing

import pytest

from partywall.catalog import check, edit_plan, look, look_at, reported
from partywall.catalog.disk.reader import Folder
from partywall.catalog.memory.cache import Cache
from partywall.errors import ConfigError, InvalidArgument
from partywall.names import PlanName

FREE = PlanName("free")


def test_a_look_writes_nothing_and_shows_what_an_engine_would_have_in_force(files) -> None:
    files.tenant("acme")
    seen = look(files.root)
    assert (seen.snapshot.by_slug("acme").name, seen.config.base_domain) == ("Acme", "partywall.test")
    assert list(seen.tables) == ["projects"]
    assert len(seen.before) == 0
    assert not (files.root / "var").exists()


def test_a_look_shows_a_wrong_file_as_its_last_good_version_and_the_files_alone_without_it(files) -> None:
    files.tenant("acme")
    files.open().close()
    files.write("tenants/acme.yaml", "slug: [\n")
    assert look(files.root).snapshot.by_slug("acme") is not None
    assert look(files.root, last_good=False).snapshot.by_slug("acme") is None
    assert [problem.file for problem in look(files.root).problems] == ["system/tenancy/tenants/acme.yaml"]


def test_a_look_tells_what_was_in_force_before_from_what_the_files_say_now(files) -> None:
    files.tenant("acme")
    files.open().close()
    files.tenant("acme", plan="starter")
    files.tenant("beta")
    seen = look(files.root)
    assert (seen.before.by_slug("acme").type, seen.before.by_slug("beta")) == ("free", None)
    assert (seen.snapshot.by_slug("acme").type, seen.snapshot.by_slug("beta").type) == ("starter", "free")
    assert look(files.root).before.by_slug("beta") is None, "a look is remembered by nobody"


@pytest.mark.parametrize("key", ["plans.yaml", "engine.yaml", "tables.yaml"])
def test_a_file_that_is_being_saved_is_called_that_and_not_missing(files, key: str) -> None:
    with (files.tenancy / key).open("a") as file:
        file.write("# more to come\n")
        file.flush()
        with pytest.raises(ConfigError) as refused:
            files.open()
        written = [(f"system/tenancy/{key}", "the file is being written; try again")]
        assert [(problem.file, problem.message) for problem in refused.value.problems] == written
        assert [(problem.file, problem.message) for problem in check(files.root)] == written
    assert files.open().problems == ()


@pytest.mark.parametrize("opened", [False, True])
def test_a_tenants_file_that_is_being_saved_is_a_problem_of_a_look(files, opened: bool) -> None:
    files.tenant("acme")
    if opened:
        files.open().close()
    with (files.tenants / "acme.yaml").open("a") as file:
        file.write("nonsense: [\n")
        file.flush()
        seen = look(files.root)
        assert [problem.message for problem in seen.problems] == ["the file is being written; try again"]
        assert (seen.snapshot.by_slug("acme") is not None) == opened
        assert [problem.message for problem in check(files.root)] == ["the file is being written; try again"]
    assert "being written" not in str(look(files.root).problems)


def test_a_file_without_an_id_counts_only_for_those_who_ask_for_it(files) -> None:
    files.write("tenants/new.yaml", files.tenant("new").partition("\n")[2])
    assert look(files.root).snapshot.by_slug("new") is None
    assert look(files.root, give_ids=True).snapshot.by_slug("new") is not None
    assert check(files.root) == []


def test_a_plan_is_edited_beside_an_open_catalog_which_reads_it_as_an_edit(files) -> None:
    files.tenant("acme")
    catalog = files.open()
    edit_plan(files.root, FREE, {"quotas.maxProjects": 9})
    assert catalog.refresh().plans[FREE].quotas.max_projects == 9
    with pytest.raises(InvalidArgument, match="maxProjects"):
        edit_plan(files.root, FREE, {"quotas.maxProjects": -1})


def test_the_report_of_an_open_catalog_is_read_by_others_and_follows_every_edit(files) -> None:
    assert reported(files.root) is None
    files.tenant("acme")
    catalog = files.open()
    first = reported(files.root)
    assert (first.pid, first.generation, first.digest) == (os.getpid(), 1, catalog.snapshot.digest)
    assert (first.problems, first.last_success) == ((), files.clock.now())
    files.clock.advance(10)
    files.write("tenants/acme.yaml", "slug: [\n")
    catalog.refresh()
    wrong = reported(files.root)
    assert (wrong.problems, wrong.generation) == (catalog.problems, 1)
    assert (wrong.last_success, wrong.checked_at) == (catalog.last_success, files.clock.now())
    files.tenant("acme", plan="starter")
    catalog.refresh()
    assert (reported(files.root).generation, reported(files.root).problems) == (2, ())


def test_a_report_that_is_no_longer_understood_is_none(files) -> None:
    files.open().close()
    with closing(Cache(files.root / "var" / "catalog.sqlite")) as cache:
        cache.report('{"pid": 1}')
    assert reported(files.root) is None


def test_a_folder_without_usable_plans_cannot_be_looked_at(files) -> None:
    shutil.rmtree(files.tenants)
    files.write("plans.yaml", "plans: 3\n")
    with pytest.raises(ConfigError):
        look(files.root)


def test_a_look_at_one_tenant_opens_no_other_tenants_file(files, monkeypatch) -> None:
    for slug in ("acme", "beta", "gamma"):
        files.tenant(slug)
    files.open().close()
    files.tenant("acme", plan="starter")
    opened: list[str] = []
    read = Folder.read
    monkeypatch.setattr(Folder, "read", lambda folder, key: (opened.append(key), read(folder, key))[1])
    for reference in ("acme", "ten_acme0001"):
        seen = look_at(files.root, reference)
        assert (seen.snapshot.by_slug("acme").type, len(seen.snapshot)) == ("starter", 1)
    assert {key for key in opened if key.startswith("tenants/")} == {"tenants/acme.yaml"}


def test_what_one_file_alone_cannot_tell_is_left_to_a_look_at_all(files) -> None:
    files.tenant("acme")
    files.tenant("beta")
    assert look_at(files.root, "acme") is None, "no catalog was ever open"
    files.open().close()
    assert look_at(files.root, "nobody") is None
    files.write("tenants/acme.yaml", files.text("tenants/acme.yaml").replace("slug: acme", "slug: other"))
    assert look_at(files.root, "acme") is None
    files.write("tenants/acme.yaml", "slug: [\n")
    assert look_at(files.root, "acme") is None
    (files.tenants / "beta.yaml").unlink()
    assert look_at(files.root, "beta") is None
