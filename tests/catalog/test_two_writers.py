"""An operator and the engine edit one file: neither loses an edit, whenever either saves or is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from partywall.catalog.disk import writer
from partywall.model import Status

KEY = "tenants/acme.yaml"
ACME = "ten_acme0001"
QUOTAS = "quotas: {maxUsers: 0, maxProjects: 0}\n"


class Operator(threading.Thread):
    """Reads the file, adds one to a number in it, saves it in one of three ways, and reads again."""

    def __init__(self, files, edits: int) -> None:
        super().__init__(daemon=True)
        self.files = files
        self.edits = edits
        self.lost: list[str] = []
        self.pace = threading.Event()

    def run(self) -> None:
        for number in range(1, self.edits + 1):
            text = self.files.text(KEY)
            if f"maxUsers: {number - 1}," not in text:
                self.lost.append(f"edit {number - 1} was lost: {text}")
            wanted = text.replace(f"maxUsers: {number - 1},", f"maxUsers: {number},")
            self.pace.wait(0.005 * (number % 3))  # what is saved is by now an old reading, more or less
            (self.files.rename_over, self.files.write, self.in_pieces)[number % 3](KEY, wanted)
            self.pace.wait(0.01)  # nobody reads again what they saved within less

    def in_pieces(self, key: str, text: str) -> None:
        with (self.files.tenancy / key).open("w") as file:
            for line in text.splitlines(keepends=True):
                file.write(line)
                file.flush()
                self.pace.wait(0.001)


@pytest.mark.parametrize("edits", [40, pytest.param(300, marks=[pytest.mark.long, pytest.mark.timeout(300)])])
@pytest.mark.parametrize("watch", [False, True])
def test_neither_the_operator_nor_the_engine_loses_an_edit_of_the_file_that_both_edit(
    files, watch: bool, edits: int
) -> None:
    files.tenant("acme", more=QUOTAS)
    catalog = files.open(watch=watch)
    catalog.start()
    operator = Operator(files, edits)
    operator.start()
    lost: list[int] = []
    number = 0
    while number < edits or operator.is_alive():
        number += 1
        catalog.edit_tenant(ACME, {"quotas.maxProjects": number})
        catalog.refresh()
        if catalog.snapshot.tenant(ACME).quotas.max_projects != number:
            lost.append(number)
    operator.join(60)
    quotas = catalog.refresh().tenant(ACME).quotas
    assert (operator.lost, lost) == ([], [])
    assert (quotas.max_users, quotas.max_projects) == (edits, number)
    assert [path.name for path in files.tenants.iterdir()] == ["acme.yaml"]


def test_a_save_that_cannot_have_seen_the_engines_edit_does_not_take_it_back(files, heard) -> None:
    old = files.tenant("acme", more=QUOTAS)
    catalog = files.open()
    ear = heard(catalog)
    catalog.edit_tenant(ACME, {"quotas.maxProjects": 7, "settings.defaultModel": "small"})
    files.write(KEY, "# by hand\n" + old)
    assert catalog.refresh().tenant(ACME).quotas.max_projects == 7
    files.write(KEY, "# by hand\n" + old.replace("Acme", "By hand"))
    catalog.refresh()
    found = catalog.snapshot.tenant(ACME)
    assert (found.name, found.quotas.max_projects, found.settings.default_model) == ("By hand", 7, "small")
    assert files.text(KEY).startswith("# by hand\n")
    assert [change.source for change in ear.changes] == ["engine", "file"]


def test_an_operator_who_means_another_value_gets_it(files) -> None:
    old = files.tenant("acme", more=QUOTAS)
    catalog = files.open()
    catalog.edit_tenant(ACME, {"quotas.maxProjects": 7})
    files.write(KEY, old.replace("maxProjects: 0", "maxProjects: 3"))
    assert catalog.refresh().tenant(ACME).quotas.max_projects == 3


def test_a_value_that_is_put_back_by_somebody_who_saw_the_other_was_meant(files) -> None:
    old = files.tenant("acme", more=QUOTAS)
    catalog = files.open()
    catalog.edit_tenant(ACME, {"quotas.maxProjects": 7})
    files.write(KEY, old.replace("maxProjects: 0", "maxProjects: 7").replace("Acme", "Seen"))
    assert catalog.refresh().tenant(ACME).quotas.max_projects == 7
    files.write(KEY, old)
    assert files.reopen().snapshot.tenant(ACME).quotas.max_projects == 0


def test_a_save_is_not_taken_for_later_because_the_engine_was_killed_meanwhile(files) -> None:
    old = files.tenant("acme", more=QUOTAS)
    files.open().edit_tenant(ACME, {"quotas.maxProjects": 7})
    files.write(KEY, old.replace("Acme", "Hand"))
    found = files.reopen().snapshot.tenant(ACME)
    assert (found.name, found.quotas.max_projects) == ("Hand", 7)


def test_a_value_that_is_put_back_later_was_meant(files) -> None:
    old = files.tenant("acme", more=QUOTAS)
    catalog = files.open()
    catalog.edit_tenant(ACME, {"quotas.maxProjects": 7})
    path = files.write(KEY, old)
    intents = catalog._reload.intents._known[KEY]
    intents[:] = [type(each)(each.path, each.before, each.after, each.at - 3) for each in intents]
    os.utime(path)
    assert catalog.refresh().tenant(ACME).quotas.max_projects == 0


def test_who_has_seen_a_later_edit_of_the_engine_has_seen_those_before_it(files) -> None:
    files.tenant("acme", more=QUOTAS)
    catalog = files.open()
    catalog.edit_tenant(ACME, {"quotas.maxProjects": 7})
    catalog.edit_tenant(ACME, {"settings.defaultModel": "small"})
    files.write(KEY, files.text(KEY).replace("maxProjects: 7", "maxProjects: 0"))
    found = catalog.refresh().tenant(ACME)
    assert (found.quotas.max_projects, found.settings.default_model) == (0, "small")
    assert files.reopen().snapshot.tenant(ACME).quotas.max_projects == 0


def test_a_save_from_between_two_edits_of_the_engine_takes_back_neither(files) -> None:
    files.tenant("acme", more=QUOTAS)
    catalog = files.open()
    catalog.edit_tenant(ACME, {"quotas.maxProjects": 7})
    between = files.text(KEY)
    catalog.edit_tenant(ACME, {"settings.defaultModel": "small"})
    files.write(KEY, between.replace("Acme", "By hand"))
    found = catalog.refresh().tenant(ACME)
    assert (found.name, found.quotas.max_projects, found.settings.default_model) == ("By hand", 7, "small")


@pytest.mark.parametrize("restarted", [False, True])
def test_who_puts_an_earlier_version_back_as_a_whole_means_it(files, restarted: bool) -> None:
    old = files.tenant("acme", more=QUOTAS)
    catalog = files.open()
    catalog.edit_tenant(ACME, {"quotas.maxProjects": 7})
    catalog.edit_tenant(ACME, {"settings.defaultModel": "small"})
    files.write(KEY, old)  # as git checkout does
    catalog = files.reopen() if restarted else catalog
    found = catalog.refresh().tenant(ACME)
    assert (found.quotas.max_projects, found.settings.default_model) == (0, None)
    assert files.text(KEY) == old
    files.write(KEY, old.replace("Acme", "By hand"))
    assert catalog.refresh().tenant(ACME).quotas.max_projects == 0


@pytest.mark.parametrize("with_more", [False, True])
def test_a_tenant_that_is_suspended_by_file_right_after_it_was_resumed_stays_suspended(files, with_more: bool) -> None:
    old = files.tenant("acme")
    catalog = files.open()
    catalog.edit_tenant(ACME, {"status": "suspended", "suspensionReason": "unpaid"})
    catalog.edit_tenant(ACME, {"status": "active", "suspensionReason": None})
    saved = old.replace("active", "suspended")
    files.write(KEY, saved.replace("Acme", "Fraud") + "suspensionReason: unpaid\n" if with_more else saved)
    found = catalog.refresh().tenant(ACME)
    assert (found.status, found.suspension_reason) == (Status.SUSPENDED, "unpaid" if with_more else None)
    catalog.edit_tenant(ACME, {"status": "active"})
    assert catalog.refresh().tenant(ACME).status is Status.ACTIVE


def test_what_was_written_for_one_tenant_is_never_written_into_the_file_of_another(files) -> None:
    files.tenant("acme")
    other = files.tenant("beta")
    catalog = files.open()
    catalog.edit_tenant(ACME, {"settings.defaultModel": "small"})
    files.write(KEY, other)
    catalog.refresh()
    assert files.text(KEY) == other


def test_a_save_that_cannot_have_seen_a_suspension_does_not_lift_it(files) -> None:
    old = files.tenant("acme")
    catalog = files.open()
    catalog.edit_tenant(ACME, {"status": "suspended", "suspensionReason": "unpaid"})
    files.write(KEY, old.replace("Acme", "By hand"))
    found = catalog.refresh().tenant(ACME)
    assert (found.name, found.status, found.suspension_reason) == ("By hand", Status.SUSPENDED, "unpaid")


def test_a_removed_tenants_edits_are_forgotten(files) -> None:
    files.tenant("acme", more=QUOTAS)
    catalog = files.open()
    catalog.edit_tenant(ACME, {"name": "Very private words"})
    catalog.remove_tenant(ACME)
    catalog.recorded(catalog.unrecorded()[0].id)
    catalog.recorded(catalog.unrecorded()[0].id)
    catalog.scrub()
    catalog.close()
    for path in (files.root / "var").glob("catalog.sqlite*"):
        assert b"Very private words" not in path.read_bytes()


def test_somebody_who_is_saving_while_their_file_is_replaced_has_it_back(files, monkeypatch) -> None:
    text = files.tenant("acme", more=QUOTAS)
    catalog = files.open()
    exchange = writer._exchange
    writing = threading.Event()
    threads: list[threading.Thread] = []

    def save() -> None:
        with (files.tenancy / KEY).open("r+") as file:
            writing.set()
            threading.Event().wait(0.1)
            file.write(text.replace("Acme", "Hand"))

    def saved_meanwhile(one: Path, other: Path) -> bool:
        if not threads:
            threads.append(threading.Thread(target=save))
            threads[0].start()
            assert writing.wait(10)
        return exchange(one, other)

    monkeypatch.setattr(writer, "_exchange", saved_meanwhile)
    catalog.edit_tenant(ACME, {"quotas.maxProjects": 7})
    threads[0].join(10)
    found = catalog.refresh().tenant(ACME)
    assert (found.name, found.quotas.max_projects) == ("Hand", 7)


KILLED = """
import os, signal, sys
from pathlib import Path
from partywall.catalog import Catalog
from partywall.catalog.disk import writer

root, when, theirs = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
file = next((root / "system/tenancy/tenants").glob("a*.yaml")).resolve()
exchange, settled = writer._exchange, writer._settled

def saved_just_before(one, other):
    file.write_text(file.read_text().replace("Ann", theirs))
    return exchange(one, other)

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

writer._exchange = saved_just_before
if when == "after the swap":
    writer._settled = lambda path, *more: settled(path, *more) if path == file else die()
else:
    writer._exchange = die
with Catalog(root, watch=False) as catalog:
    catalog.edit_tenant("ten_acme0001", {"name": "New"})
"""


def kill(files, when: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(files.root), when, "Bo"], check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.fixture
def acme(files) -> Iterator[str]:
    yield files.tenant("acme")
    assert [path.name for path in files.tenants.iterdir() if path.name.startswith(".")] == []


def test_a_save_that_a_killed_engine_had_displaced_is_put_back(files, acme: str) -> None:
    kill(files, "after the swap")
    assert "Bo" not in files.text(KEY)
    catalog = files.open()
    catalog.recover()
    assert files.text(KEY) == acme.replace("Ann", "Bo")
    assert catalog.snapshot.tenant(ACME).owner.name == "Bo"


def test_what_a_killed_engine_had_not_put_in_place_is_removed(files, acme: str) -> None:
    kill(files, "before the swap")
    files.open().recover()
    assert files.text(KEY) == acme


def test_a_displaced_save_is_set_aside_when_somebody_saved_again_meanwhile(files, acme: str, caplog) -> None:
    kill(files, "after the swap")
    files.write(KEY, acme.replace("Ann", "Cy"))
    catalog = files.open()
    catalog.recover()
    assert catalog.refresh().tenant(ACME).owner.name == "Cy"
    assert files.text(KEY + ".conflict1") == acme.replace("Ann", "Bo")
    assert "acme.yaml.conflict1" in caplog.text
    catalog.remove_tenant(ACME)
    assert list(files.tenants.iterdir()) == []


@pytest.mark.parametrize("name", ["acme.yaml", "acme"])
@pytest.mark.parametrize("links", [1, 2])
def test_what_a_killed_engine_left_where_a_linked_file_lies_is_put_back_and_tidied(
    files, tmp_path: Path, name: str, links: int
) -> None:
    text = files.tenant("acme")
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "between").mkdir(parents=True)
    real = (files.tenancy / KEY).rename(elsewhere / name)
    (elsewhere / "between" / "acme").symlink_to(f"../{name}")
    (files.tenancy / KEY).symlink_to(elsewhere / "between" / "acme" if links == 2 else real)
    kill(files, "after the swap")
    (elsewhere / f".{name}.0123456789ab.new").write_text("private words")
    catalog = files.open()
    catalog.recover()
    assert (files.tenancy / KEY).is_symlink()
    assert real.read_text() == text.replace("Ann", "Bo")
    assert catalog.snapshot.tenant(ACME).owner.name == "Bo"
    assert sorted(path.name for path in elsewhere.iterdir()) == sorted([name, "between"])


@pytest.mark.parametrize("name", ["a" * 250 + ".yaml", "a" + "ü" * 124 + ".yaml"])
def test_a_file_with_the_longest_name_is_edited_and_survives_a_kill_as_any_other(files, name: str) -> None:
    text = files.tenant("acme")
    path = (files.tenancy / KEY).rename(files.tenants / name)
    catalog = files.open()
    catalog.edit_tenant(ACME, {"name": "Long"})
    assert path.read_text() == text.replace("Acme", "Long")
    kill(files, "after the swap")
    catalog.recover()
    assert path.read_text() == text.replace("Acme", "Long").replace("Ann", "Bo")
    assert list(files.tenants.iterdir()) == [path]
    path.write_text(text)
    kill(files, "after the swap")
    path.write_text(text.replace("Ann", "Cy"))
    catalog.recover()
    assert path.read_text() == text.replace("Ann", "Cy")
    assert len(list(files.tenants.iterdir())) == 2
    catalog.refresh()
    catalog.remove_tenant(ACME)
    assert list(files.tenants.iterdir()) == []
