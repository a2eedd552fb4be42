from __future__ import annotations

import os

import pytest

from partywall.errors import TenantConflict

LABEL = "system/tenancy/"


def at(catalog) -> list[tuple[str, int, int]]:
    return [(problem.file.removeprefix(LABEL), problem.line, problem.column) for problem in catalog.problems]


def test_a_vanished_file_keeps_its_tenant_for_the_grace_and_then_it_leaves(files, heard) -> None:
    text = files.tenant("acme")
    files.tenant("beta")
    catalog = files.open()
    ear = heard(catalog)
    (files.tenants / "acme.yaml").unlink()
    assert len(catalog.refresh()) == 2
    files.clock.advance(1.9)
    assert len(catalog.refresh()) == 2
    files.write("tenants/acme.yaml", text)
    assert len(catalog.refresh()) == 2
    (files.tenants / "acme.yaml").unlink()
    catalog.refresh()
    files.clock.advance(1.9)
    assert len(catalog.refresh()) == 2
    assert ear.changes == []
    files.clock.advance(0.2)
    assert list(catalog.refresh().ids()) == ["ten_beta0001"]
    assert (ear.changes[0].tenants, catalog.problems) == ({"ten_acme0001"}, ())
    assert list(files.reopen().snapshot.ids()) == ["ten_beta0001"]


def test_an_edit_of_a_file_that_is_gone_says_so(files) -> None:
    files.tenant("acme")
    catalog = files.open()
    (files.tenants / "acme.yaml").unlink()
    with pytest.raises(TenantConflict, match="the file is gone: put it back"):
        catalog.edit_tenant("ten_acme0001", {"name": "Apollo"})


def test_a_renamed_file_keeps_its_tenant_without_a_gap(files, heard) -> None:
    files.tenant("acme")
    catalog = files.open()
    ear = heard(catalog)
    (files.tenants / "acme.yaml").rename(files.tenants / "better-name.yaml")
    snapshot = catalog.refresh()
    assert (snapshot.file_of("ten_acme0001"), catalog.problems) == ("better-name.yaml", ())
    assert all(change.snapshot.tenant("ten_acme0001") for change in ear.changes)
    files.clock.advance(10)
    assert len(catalog.refresh()) == 1


def test_a_file_removed_while_nothing_ran_is_gone_at_the_next_start(files) -> None:
    files.tenant("acme")
    files.tenant("beta")
    files.open()
    (files.tenants / "acme.yaml").unlink()
    assert list(files.reopen().snapshot.ids()) == ["ten_beta0001"]


@pytest.mark.parametrize("restart", [False, True])
def test_many_files_gone_at_once_are_held_and_reported(files, restart: bool) -> None:
    for number in range(30):
        files.tenant(f"t{number}")
    catalog = files.open()
    texts = {number: files.text(f"tenants/t{number}.yaml") for number in range(11)}
    for number in texts:
        (files.tenants / f"t{number}.yaml").unlink()
    catalog = files.reopen() if restart else catalog
    catalog.refresh()
    files.clock.advance(100)
    assert len(catalog.refresh()) == 30
    assert [problem.file for problem in catalog.problems] == [LABEL + "tenants"]
    assert "11 of 30 tenant files are gone at once" in catalog.problems[0].message
    files.write("tenants/t0.yaml", texts[0])
    assert len(catalog.refresh()) == 30
    assert catalog.problems == ()
    files.clock.advance(3)
    assert len(catalog.refresh()) == 20


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("how", ["empty", "moved away"])
def test_an_empty_or_missing_folder_takes_nobody_out_of_service(files, how: str, restart: bool) -> None:
    files.tenant("acme")
    files.tenant("beta")
    catalog = files.open()
    files.tenants.rename(files.tenancy / "aside")
    if how == "empty":
        files.tenants.mkdir()
    catalog = files.reopen() if restart else catalog
    catalog.refresh()
    files.clock.advance(100)
    assert len(catalog.refresh()) == 2
    assert [problem.file for problem in catalog.problems] == [LABEL + "tenants"]


def test_a_folder_that_cannot_be_listed_holds_everything(files) -> None:
    files.tenant("acme")
    catalog = files.open()
    files.tenants.rename(files.tenancy / "aside")
    files.tenants.write_text("not a folder")
    files.clock.advance(100)
    assert len(catalog.refresh()) == 1
    assert "cannot be listed" in catalog.problems[0].message
    catalog = files.reopen()
    assert (len(catalog.snapshot), len(catalog.problems)) == (1, 1)
    assert "cannot be listed" in catalog.problems[0].message
    files.tenants.unlink()
    (files.tenancy / "aside").rename(files.tenants)
    assert (len(catalog.refresh()), catalog.problems) == (1, ())


def test_what_is_no_regular_file_is_reported_and_blocks_nothing(files) -> None:
    files.tenant("acme")
    os.mkfifo(files.tenants / "pipe.yaml")
    (files.tenants / "folder.yaml").mkdir()
    (files.tenants / "dangling.yaml").symlink_to("nowhere")
    files.write("tenants/big.yaml", "#" * 300_000)
    files.write("tenants/.hidden.yaml", "x")
    files.write("tenants/notes.txt", "x")
    catalog = files.open()
    assert list(catalog.snapshot.ids()) == ["ten_acme0001"]
    assert [place[0] for place in at(catalog)] == ["tenants/big.yaml", "tenants/folder.yaml", "tenants/pipe.yaml"]


def test_symlinked_sources_are_read_and_a_swapped_release_is_one_snapshot(files, heard) -> None:
    for release, plan in (("r1", "free"), ("r2", "starter")):
        folder = files.root / release
        folder.mkdir()
        for slug in ("acme", "beta"):
            (folder / f"{slug}.yaml").write_text(files.tenant(slug, plan=plan))
    for path in files.tenants.iterdir():
        path.unlink()
    files.tenants.rmdir()
    files.tenants.symlink_to(files.root / "r1")
    catalog = files.open()
    ear = heard(catalog)
    assert catalog.snapshot.by_slug("acme").type == "free"
    (files.tenancy / "next").symlink_to(files.root / "r2")
    (files.tenancy / "next").replace(files.tenants)
    assert catalog.refresh().by_slug("acme").type == "starter"
    assert [change.tenants for change in ear.changes] == [{"ten_acme0001", "ten_beta0001"}]
