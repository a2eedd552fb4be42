from __future__ import annotations

import logging
import os
import shutil
import threading
import time

import pytest
from watchdog.events import FileClosedEvent
from watchdog.observers.api import BaseObserver

from partywall.catalog import Catalog
from partywall.catalog.disk.watcher import _Dirty

RARELY = "reload: {sweep_seconds: 3600, vanish_seconds: 0.05}\nregions: {}\n"
OFTEN = "reload: {sweep_seconds: 0.05, vanish_seconds: 0.05}\nregions: {}\n"


def started(files, engine: str = RARELY) -> Catalog:
    files.write("engine.yaml", engine)
    catalog = Catalog(files.root)
    files.opened.append(catalog)
    catalog.start()
    return catalog


def names(slug: str, value: str):
    return lambda change: (found := change.snapshot.by_slug(slug)) is not None and found.name == value


@pytest.mark.parametrize("how", ["write", "rename_over"])
def test_a_saved_edit_is_in_force_by_its_event_well_within_a_second(files, heard, how: str) -> None:
    text = files.tenant("acme")
    catalog = started(files)
    ear = heard(catalog)
    for number in range(5):
        begun = time.monotonic()
        getattr(files, how)("tenants/acme.yaml", text.replace("Acme", f"A{number}"))
        ear.until(names("acme", f"A{number}"))
        assert time.monotonic() - begun < 1
    assert [change.source for change in ear.changes] == ["file"] * 5


def test_new_files_and_edited_plans_are_in_force_by_their_events(files, heard) -> None:
    catalog = started(files)
    ear = heard(catalog)
    files.tenant("acme")
    ear.until(lambda change: change.snapshot.by_slug("acme") is not None)
    files.rename_over("plans.yaml", files.text("plans.yaml").replace("price: 29", "price: 31"))
    ear.until(lambda change: change.plans == {"starter"})
    os.link(files.tenancy / "tenants" / "acme.yaml", files.root / "kept")
    (files.root / "linked").write_text(files.tenant("beta").replace("name: Beta", "name: Linked"))
    (files.tenants / "beta.yaml").unlink()
    os.link(files.root / "linked", files.tenants / "linked.yaml")
    ear.until(names("beta", "Linked"))


def test_a_removed_file_leaves_after_the_grace_without_waiting_for_a_sweep(files, heard) -> None:
    files.tenant("acme")
    files.tenant("beta")
    catalog = started(files)
    ear = heard(catalog)
    (files.tenants / "acme.yaml").unlink()
    change = ear.until(lambda change: change.snapshot.by_slug("acme") is None)
    assert (change.tenants, len(change.snapshot)) == ({"ten_acme0001"}, 1)


def test_k9_a_half_written_file_is_not_looked_at_until_it_is_closed(files, heard) -> None:
    text = files.tenant("acme", more="quotas:\n  maxProjects: 5\n")
    files.tenant("beta")
    catalog = started(files)
    ear = heard(catalog)
    wanted = text.replace("Acme", "Whole")
    with (files.tenants / "acme.yaml").open("w") as half:
        half.write(wanted[: wanted.index("quotas")])  # valid, and without its last section
        half.flush()
        files.tenant("beta", plan="starter")
        ear.until(lambda change: change.tenants == {"ten_beta0001"})
        assert catalog.snapshot.by_slug("acme").name == "Acme"
        half.write(wanted[wanted.index("quotas") :])
    change = ear.until(names("acme", "Whole"))
    assert change.snapshot.by_slug("acme").quotas.max_projects == 5
    assert len(ear.changes) == 2


def test_a_bad_edit_changes_nothing_and_the_next_good_one_applies(files, heard) -> None:
    text = files.tenant("acme")
    catalog = started(files)
    ear = heard(catalog)
    files.write("tenants/acme.yaml", "name: [\n")
    catalog.refresh()
    assert (catalog.snapshot.by_slug("acme").name, len(catalog.problems)) == ("Acme", 1)
    files.write("tenants/acme.yaml", text.replace("Acme", "Good"))
    ear.until(names("acme", "Good"))
    catalog.refresh()
    assert catalog.problems == ()


def test_a_burst_is_published_in_a_few_snapshots_and_misses_nothing(files, heard) -> None:
    texts = {number: files.tenant(f"t{number}") for number in range(400)}
    catalog = started(files)
    ear = heard(catalog)
    for number, text in texts.items():
        files.rename_over(f"tenants/t{number}.yaml", text.replace("free", "starter"))
    ear.until(lambda change: all(change.snapshot.by_slug(f"t{number}").type == "starter" for number in texts))
    assert len(ear.changes) < 60


def test_an_edit_of_the_engine_is_published_once_with_the_watcher_running(files, heard) -> None:
    files.tenant("acme")
    files.tenant("beta")
    catalog = started(files)
    ear = heard(catalog)
    for number in range(10):
        catalog.edit_tenant("ten_acme0001", {"name": f"E{number}"})
    files.tenant("beta", plan="starter")
    ear.until(lambda change: change.tenants == {"ten_beta0001"})
    assert [change.source for change in ear.changes] == ["engine"] * 10 + ["file"]


def unseen(files) -> None:
    """An edit that raises no event in the folder: through another name of the same file."""
    os.link(files.tenants / "acme.yaml", files.root / "other-name")
    text = (files.root / "other-name").read_text()
    (files.root / "other-name").write_text(text.replace("Acme", "Unseen"))


def test_the_sweep_finds_what_no_event_told_of(files, heard) -> None:
    files.tenant("acme")
    catalog = started(files, OFTEN)
    ear = heard(catalog)
    unseen(files)
    ear.until(names("acme", "Unseen"))


def test_an_overflow_of_the_event_queue_brings_a_sweep(files, heard) -> None:
    files.write("engine.yaml", RARELY)
    files.tenant("acme")
    for path in files.tenancy.rglob("*.yaml"):
        os.utime(path, (1, 1))
    catalog = files.open(watch=True)
    ear = heard(catalog)
    catalog.start()
    watcher = catalog._watcher
    looks = iter(range(400))
    with watcher._condition:  # until the sweep of the start is over, and the next one far away
        while not time.monotonic() + 60 < watcher._next_sweep < float("inf"):
            assert next(looks, None) is not None
            watcher._condition.wait(0.025)
    unseen(files)
    logging.getLogger("watchdog.observers.inotify_c").warning("Inotify queue overflowed; filesystem events were lost")
    ear.until(names("acme", "Unseen"))


def test_a_dead_observer_is_replaced(files, heard) -> None:
    text = files.tenant("acme")
    catalog = started(files, OFTEN)
    watcher = catalog._watcher
    dead = watcher._observer
    dead.stop()
    dead.join(10)
    ear = heard(catalog)
    files.write("tenants/acme.yaml", text.replace("Acme", "Found"))
    ear.until(names("acme", "Found"))
    assert watcher._observer is not dead
    assert watcher.events


@pytest.mark.parametrize("step", ["schedule", "__init__"])
def test_without_events_sweeps_alone_find_every_edit(files, heard, monkeypatch, caplog, step: str) -> None:
    def no_watches_left(*_: object, **__: object) -> None:
        raise OSError(24, "inotify instance limit reached")

    monkeypatch.setattr(BaseObserver, step, no_watches_left)
    text = files.tenant("acme")
    catalog = started(files)
    ear = heard(catalog)
    files.write("tenants/acme.yaml", text.replace("Acme", "Found"))
    ear.until(names("acme", "Found"))
    assert "watching failed" in caplog.text


def test_a_folder_that_was_swapped_for_another_is_watched_in_its_place(files, heard) -> None:
    text = files.tenant("acme")
    catalog = started(files, "reload: {sweep_seconds: 0.1, vanish_seconds: 60}\nregions: {}\n")
    ear = heard(catalog)
    files.tenants.rename(files.tenancy / "before")
    files.tenants.mkdir()
    files.write("tenants/acme.yaml", text.replace("Acme", "Second"))
    ear.until(names("acme", "Second"))
    files.write("tenants/acme.yaml", text.replace("Acme", "Third"))
    ear.until(names("acme", "Third"))


@pytest.mark.parametrize("linked", ["tenancy", "tenants"])
def test_a_swapped_link_to_a_release_is_in_force_well_within_a_second(files, heard, linked: str) -> None:
    files.tenant("acme")
    files.write("engine.yaml", RARELY)
    place = files.tenancy if linked == "tenancy" else files.tenants
    for name in ("First", "Second", "Third"):
        shutil.copytree(place, files.root / name)
        file = next((files.root / name).rglob("acme.yaml"))
        file.write_text(file.read_text().replace("Acme", name))
    shutil.rmtree(place)
    place.symlink_to(files.root / "First")
    catalog = Catalog(files.root)
    files.opened.append(catalog)
    catalog.start()
    ear = heard(catalog)
    for name in ("Second", "Third"):
        begun = time.monotonic()
        place.with_name("next").symlink_to(files.root / name)
        place.with_name("next").replace(place)
        ear.until(names("acme", name))
        assert time.monotonic() - begun < 1
    file.write_text(file.read_text().replace("Third", "Edited"))
    ear.until(names("acme", "Edited"))


def test_an_event_that_makes_no_sense_brings_a_sweep_and_ends_nothing(files) -> None:
    woken: list[str | None] = []
    handler = _Dirty(files.tenants, "tenants/", lambda key, _: woken.append(key))
    handler.dispatch(FileClosedEvent(3.5))  # type: ignore[arg-type]
    handler.dispatch(FileClosedEvent(os.fspath(files.tenants / "a.yaml")))
    handler.dispatch(FileClosedEvent(os.fspath(files.tenants / ".a.yaml.tmp")))
    handler.dispatch(FileClosedEvent(os.fspath(files.tenants / "..data")))
    assert woken == [None, "tenants/a.yaml", None]


def test_close_ends_every_thread_and_leaves_the_snapshot_readable(files) -> None:
    before = set(threading.enumerate())
    files.tenant("acme")
    catalog = started(files)
    assert set(threading.enumerate()) > before
    catalog.close()
    catalog.close()
    assert set(threading.enumerate()) <= before
    assert len(catalog.snapshot) == 1


def test_a_listener_may_edit_and_hears_of_it_in_order(files, heard) -> None:
    files.tenant("acme")
    catalog = started(files)

    def answer(change) -> None:
        if change.source == "file":
            catalog.edit_tenant("ten_acme0001", {"status": "suspended"})

    catalog.subscribe(answer)
    ear = heard(catalog)
    files.tenant("acme", plan="starter")
    ear.until(lambda change: change.source == "engine")
    generations = [change.snapshot.generation for change in ear.changes]
    assert generations == sorted(generations)
    assert catalog.snapshot.by_slug("acme").status == "suspended"
