"""Releases that are put in place by a link: each is one snapshot, whatever happens meanwhile, and holds nothing up."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from partywall.catalog import Catalog, Snapshot


def release(folder: Path, name: str) -> None:
    made = folder / name
    made.mkdir()
    for number in range(50):
        slug = f"t{number:03d}"
        (made / f"{slug}.yaml").write_text(
            f"id: ten_{slug}0001\nname: {name.strip('.')}\nslug: {slug}\ntype: free\nstatus: active\n"
            f"owner: {{userId: u1, email: a@{slug}.test, name: Ann}}\n"
        )


@pytest.fixture(params=["ConfigMap", "release folder"])
def put_in_place(files, request) -> Callable[[str], None]:
    """Makes a link lead to one of the releases that lie in the folder it returns; ``v1`` is in place already."""
    tenants: Path = files.tenants
    if request.param == "ConfigMap":
        release(tenants, "..v1")
        (tenants / "..data").symlink_to("..v1")
        for path in (tenants / "..v1").iterdir():
            (tenants / path.name).symlink_to(f"..data/{path.name}")
        link, prefix = tenants / "..data", ".."
    else:
        tenants.rmdir()
        release(files.tenancy, "v1")
        tenants.symlink_to("v1")
        link, prefix = tenants, ""

    def put(name: str) -> None:
        if not (link.parent / f"{prefix}{name}").exists():
            release(link.parent, f"{prefix}{name}")
        temporary = link.with_name("..data_tmp")
        temporary.symlink_to(f"{prefix}{name}")
        temporary.replace(link)

    return put


def names(snapshot: Snapshot) -> set[str]:
    return {snapshot.entry(tenant_id).spec.name for tenant_id in snapshot.ids()}


def test_swapped_links_are_exactly_one_snapshot_and_no_reader_sees_a_mixture(files, heard, put_in_place) -> None:
    catalog = files.open(watch=True)
    ear = heard(catalog)
    catalog.start()
    put_in_place("v2")
    change = ear.until(lambda change: change.snapshot.by_slug("t000").name == "v2")
    assert names(change.snapshot) == {"v2"}
    catalog.refresh()
    assert len(ear.changes) == 1


def test_links_that_are_swapped_while_their_files_are_read_are_no_mixture_either(files, heard, put_in_place) -> None:
    for number in range(2, 60):
        put_in_place(f"v{number}")
    put_in_place("v1")
    catalog = files.open(watch=True)
    ear = heard(catalog)
    catalog.start()
    done = threading.Event()

    def swap() -> None:
        for number in range(2, 60):
            put_in_place(f"v{number}")
            done.wait(0.001 * (number % 7))
        done.set()

    swapping = threading.Thread(target=swap)
    swapping.start()
    seen = []
    while not done.is_set():
        seen.append(names(catalog.refresh()))
        opened = files.open()
        seen.append(names(opened.snapshot))
    swapping.join()
    seen.append(names(catalog.refresh()))
    seen += [names(change.snapshot) for change in ear.changes]
    assert [found for found in seen if len(found) != 1] == []
    assert names(catalog.snapshot) == {"v59"}


def started(files, heard) -> tuple[Catalog, Callable[[str, str], None]]:
    """A catalog that watches, and a wait until the tenant of a slug has a name."""
    catalog = files.open(watch=True)
    ear = heard(catalog)
    catalog.start()

    def until(slug: str, name: str) -> None:
        ear.until(lambda change: (spec := change.snapshot.by_slug(slug)) is not None and spec.name == name)

    return catalog, until


def kept_open(file: Path, done: threading.Event) -> None:
    with file.open("a") as open_file:
        while not done.wait(0.2):
            open_file.write("# more\n")
            open_file.flush()


def touched(file: Path, done: threading.Event) -> None:
    while not done.wait(0.04):
        with file.open("a") as open_file:
            open_file.write("# more\n")


@contextmanager
def written_to(file: Path, how: Callable[[Path, threading.Event], None]) -> Iterator[None]:
    done = threading.Event()
    writer = threading.Thread(target=how, args=(file, done))
    writer.start()
    try:
        yield
    finally:
        done.set()
        writer.join()


@pytest.mark.parametrize("how", [kept_open, touched])
def test_a_file_that_never_rests_holds_up_neither_its_release_nor_later_edits(files, heard, put_in_place, how) -> None:
    put_in_place("v2")
    put_in_place("v1")
    catalog, until = started(files, heard)
    folder = next(folder for folder in files.tenancy.rglob("*v2") if folder.is_dir())
    with written_to(folder / "t049.yaml", how):
        put_in_place("v2")
        until("t000", "v2")
        file = folder / "t001.yaml"
        file.write_text(file.read_text().replace("name: v2", "name: Edited"))
        until("t001", "Edited")
        plans = files.tenancy / "plans.yaml"
        plans.write_text(plans.read_text().replace("price: 29", "price: 31"))
        assert catalog.refresh().plans["starter"].price == 31


def test_an_edit_between_a_swap_and_the_look_at_it_waits_for_the_look_and_does_not_void_it(files, put_in_place) -> None:
    put_in_place("v2")
    put_in_place("v1")
    catalog = files.open()
    put_in_place("v2")
    glance = catalog._reload.intake.glance()
    for _ in range(5):
        assert catalog._look({"plans.yaml"}) == {"plans.yaml"}
    assert catalog._reload.intake.stands(glance)
    assert names(catalog.refresh()) == {"v2"}
    assert catalog._look({"plans.yaml"}) == set()


def test_an_edit_by_the_engine_right_after_a_swap_comes_after_the_whole_release(files, heard, put_in_place) -> None:
    catalog = files.open()
    ear = heard(catalog)
    put_in_place("v2")
    catalog.edit_tenant(catalog.snapshot.by_slug("t007").id, {"name": "Edited"})
    assert [names(change.snapshot) for change in ear.changes] == [{"v2"}, {"v2", "Edited"}]


def test_a_release_without_plans_is_told_of_even_when_a_file_of_it_rests_late(files) -> None:
    files.tenant("acme")
    files.tenant("beta")
    second = files.tenancy.with_name("v2")
    shutil.copytree(files.tenancy, second)
    (second / "plans.yaml").unlink()
    files.tenancy.rename(files.tenancy.with_name("v1"))
    files.tenancy.symlink_to("v1")
    catalog = files.open()
    with written_to(second / "tenants" / "beta.yaml", touched):
        files.tenancy.with_name("next").symlink_to("v2")
        files.tenancy.with_name("next").replace(files.tenancy)
        catalog.refresh()
    catalog.refresh()
    assert [problem.message for problem in catalog.problems] == ["the file is missing; what was in force stays"]


def test_what_was_wrong_with_a_file_is_forgotten_with_it_though_it_was_read_amid_a_swap(files, put_in_place) -> None:
    catalog = files.open()
    files.write("tenants/late.yaml", "id: [")
    catalog.refresh()
    assert len(catalog.problems) == 1
    catalog._reload.intake.unread({"tenants/late.yaml": catalog._folder.read("tenants/late.yaml")})
    (files.tenants / "late.yaml").unlink()
    catalog.refresh()
    assert catalog.problems == ()


def test_a_linked_file_whose_target_is_gone_is_gone(files) -> None:
    for slug in ("acme", "beta", "ceta"):
        files.tenant(slug)
    aside = files.root / "aside.yaml"
    (files.tenants / "beta.yaml").rename(aside)
    (files.tenants / "beta.yaml").symlink_to(aside)
    catalog = files.open()
    aside.unlink()
    catalog.refresh()
    files.clock.advance(3)
    assert list(catalog.refresh().ids()) == ["ten_acme0001", "ten_ceta0001"]
    assert list(files.reopen().snapshot.ids()) == ["ten_acme0001", "ten_ceta0001"]


def test_a_name_that_is_no_text_is_a_problem_and_loses_nothing_of_its_batch(files) -> None:
    text = files.tenant("acme")
    catalog = files.open()
    with open(os.fsencode(files.tenants) + b"/caf\xe9.yaml", "w") as file:  # noqa: PTH123  # a name of bytes
        file.write(text)
    files.write("tenants/acme.yaml", text.replace("status: active", "status: suspended"))
    assert catalog.refresh().by_slug("acme").status == "suspended"
    assert [problem.message for problem in catalog.problems] == [
        "the file name caf\\xe9.yaml is not UTF-8, so the file is not read: rename it"
    ]
    assert len(files.reopen().problems) == 1
