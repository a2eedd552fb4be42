"""What cost others an outage: ways of saving, swapping, losing and interrupting, by real programs where there are."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

KEY = "tenants/acme.yaml"
ACME = "ten_acme0001"


def run(*command: str, folder: Path) -> None:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=environment)


def in_place(path: Path, text: str) -> None:
    path.write_text(text)


def in_pieces(path: Path, text: str) -> None:
    with path.open("w") as file:
        for line in text.splitlines(keepends=True):
            file.write(line)
            file.flush()


def renamed(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.swp")
    temporary.write_text(text)
    temporary.replace(path)


def moved_from_elsewhere(path: Path, text: str) -> None:
    outside = path.parents[4] / "outside.yaml"
    outside.write_text(text)
    run("mv", str(outside), str(path), folder=path.parent)


def hard_linked(path: Path, text: str) -> None:
    temporary = path.with_name("draft")
    temporary.write_text(text)
    path.unlink()
    path.hardlink_to(temporary)
    temporary.unlink()


def vim(path: Path, text: str) -> None:
    wanted = path.parents[4] / "wanted"
    wanted.write_text(text)
    script = ["set backupskip= writebackup backupcopy=no", "%d", f"0r {wanted}", "wq"]
    run("vim", "-u", "NONE", "-es", *(part for line in script for part in ("-c", line)), str(path), folder=path.parent)


def as_vim_does(path: Path, text: str) -> None:
    (path.parent / "4913").write_bytes(b"")
    (path.parent / "4913").unlink()
    backup = path.with_name(path.name + "~")
    path.rename(backup)
    path.write_text(text)
    backup.unlink()


def sed(path: Path, text: str) -> None:
    script = path.parents[4] / "wanted"
    script.write_text(text)
    run("sed", "-i", "-e", f"1r {script}", "-e", "1,$d", str(path), folder=path.parent)


def as_sed_does(path: Path, text: str) -> None:
    temporary = path.with_name("sedA1b2C3")
    temporary.write_text(text)
    temporary.replace(path)


def git_checkout(path: Path, text: str) -> None:
    before = path.read_text()
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@t.test")
    run(*git, "init", "-q", folder=path.parent)
    run(*git, "add", path.name, folder=path.parent)
    run(*git, "commit", "-qm", "before", folder=path.parent)
    tree = path.parents[4] / "tree"
    run(*git, "worktree", "add", "-q", "-b", "after", str(tree), folder=path.parent)
    (tree / path.name).write_text(text)
    run(*git, "commit", "-qam", "after", folder=tree)
    assert path.read_text() == before
    run(*git, "checkout", "-q", "--detach", "after", folder=path.parent)


def as_git_does(path: Path, text: str) -> None:
    path.unlink()
    path.touch()
    path.write_text(text)


def rsync(path: Path, text: str) -> None:
    source = path.parents[4] / "source.yaml"
    source.write_text(text)
    run("rsync", "-a", str(source), str(path), folder=path.parent)


def as_rsync_does(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.Xy12ab")
    temporary.write_text(text)
    os.utime(temporary, (1_700_000_000, 1_700_000_000))
    temporary.replace(path)


def real(program: str, run_it: Callable[[Path, str], None], the_same: Callable[[Path, str], None]) -> object:
    """The program where it is installed, and otherwise the system calls that it makes."""
    return (
        pytest.param(run_it, id=program) if shutil.which(program) else pytest.param(the_same, id=f"as {program} does")
    )


STYLES = [
    pytest.param(in_place, id="in place"),
    pytest.param(in_pieces, id="in pieces"),
    pytest.param(renamed, id="renamed"),
    pytest.param(moved_from_elsewhere, id="mv"),
    pytest.param(hard_linked, id="hard link"),
    real("vim", vim, as_vim_does),
    real("sed", sed, as_sed_does),
    real("git", git_checkout, as_git_does),
    real("rsync", rsync, as_rsync_does),
]


@pytest.mark.parametrize("save", STYLES)
@pytest.mark.parametrize("damage", ["none", "broken", "empty"])
def test_k9_every_way_of_saving_is_in_force_once_it_is_whole_and_never_when_it_is_wrong(
    files, heard, save: Callable[[Path, str], None], damage: str
) -> None:
    text = files.tenant("acme")
    files.tenant("beta")
    catalog = files.open(watch=True)
    ear = heard(catalog)
    refused = threading.Event()
    catalog.on_refusal(lambda _: refused.set())
    catalog.start()
    path = files.tenancy / KEY
    wanted = text.replace("Acme", "New")
    save(path, {"none": wanted, "broken": wanted.replace("type: free", "type: ["), "empty": "# nothing\n"}[damage])
    if damage == "none":
        ear.until(lambda change: change.snapshot.tenant(ACME).name == "New")
        assert {change.snapshot.tenant(ACME).name for change in ear.changes} == {"New"}
    else:
        assert refused.wait(20)
        assert (ear.changes, catalog.snapshot.tenant(ACME).name) == ([], "Acme")
        assert [problem.file for problem in catalog.problems] == [f"system/tenancy/{KEY}"]
        renamed(path, wanted)
        ear.until(lambda change: change.snapshot.tenant(ACME).name == "New")
    assert catalog.refresh().by_slug("beta") is not None
    assert catalog.problems == ()


def test_k9_of_300_saves_in_pieces_nothing_truncated_is_ever_in_force(files, heard) -> None:
    lines = "".join(f"  - g{number}\n" for number in range(20))
    files.tenant("acme", more=f"settings:\n  defaultModel: m0\n  complianceFrameworks:\n{lines}")
    text = files.text(KEY)
    catalog = files.open(watch=True)
    ear = heard(catalog)
    catalog.start()
    pause = threading.Event()
    for number in range(1, 301):
        whole = text.replace("defaultModel: m0", f"defaultModel: m{number}")
        third = len(whole) // 3
        cuts = [whole.index("\n", third) + 1, whole.index("\n", 2 * third) + 1]
        with (files.tenancy / KEY).open("w") as file:
            for piece in (whole[: cuts[0]], whole[cuts[0] : cuts[1]], whole[cuts[1] :]):
                file.write(piece)
                file.flush()
                pause.wait(0.0005)
        if number % 10 == 0:
            catalog.refresh()
    ear.until(lambda change: change.snapshot.tenant(ACME).settings.default_model == "m300")
    wrong = [change for change in ear.changes if len(change.snapshot.tenant(ACME).settings.compliance_frameworks) != 20]
    assert (wrong, catalog.problems) == ([], ())


def test_k9_a_save_that_pauses_in_the_middle_is_waited_for_however_often_somebody_looks(files) -> None:
    text = files.tenant("acme", more="domains: [a.test]\n")
    catalog = files.open()
    with (files.tenancy / KEY).open("w") as file:
        file.write(text.removesuffix("domains: [a.test]\n"))
        file.flush()
        for _ in range(3):
            os.utime(file.fileno(), (time.time() - 1, time.time() - 1))  # by its times alone it rests
            assert catalog.refresh().by_domain("a.test") is not None
        file.write("domains: [a.test, b.test]\n")
    assert catalog.refresh().by_domain("b.test") is not None


PAUSED = """
import sys, threading
from pathlib import Path
from partywall.catalog import Catalog

count = int(sys.argv[2])
arrived, seen = threading.Event(), set()

def hear(change):
    for tenant_id in change.tenants:
        if change.snapshot.tenant(tenant_id).name == "New":
            seen.add(tenant_id)
    if len(seen) == count:
        arrived.set()

with Catalog(Path(sys.argv[1])) as catalog:
    catalog.subscribe(hear)
    catalog.start()
    print("ready", flush=True)
    arrived.wait(100)
    print(len(seen), flush=True)
"""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.long)])
def test_a_burst_of_replaced_files_while_the_process_is_stopped_misses_none(files, count: int) -> None:
    texts = {f"t{number:05d}": files.tenant(f"t{number:05d}") for number in range(count)}
    command = [sys.executable, "-c", PAUSED, str(files.root), str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline() == "ready\n"
        os.kill(watching.pid, signal.SIGSTOP)
        for slug, text in texts.items():
            files.rename_over(f"tenants/{slug}.yaml", text.replace(f"name: {slug.title()}", "name: New"))
        os.kill(watching.pid, signal.SIGCONT)
        assert watching.stdout.readline() == f"{count}\n"


def test_a_link_to_nowhere_is_a_file_that_is_gone_and_blocks_nobody(files) -> None:
    files.tenant("acme")
    (files.tenants / "lost.yaml").symlink_to("nowhere.yaml")
    catalog = files.open()
    assert ([entry.slug for entry in map(catalog.snapshot.entry, catalog.snapshot.ids())], catalog.problems) == (
        ["acme"],
        (),
    )


def test_a_file_from_the_future_is_in_force_all_the_same(files) -> None:
    text = files.tenant("acme")
    catalog = files.open()
    path = files.write(KEY, text.replace("Acme", "New"))
    os.utime(path, (4_000_000_000, 4_000_000_000))
    assert catalog.refresh().tenant(ACME).name == "New"


def test_after_a_file_was_moved_away_an_edit_of_another_is_still_noticed(files, heard) -> None:
    files.tenant("acme")
    text = files.tenant("beta")
    catalog = files.open(watch=True)
    ear = heard(catalog)
    catalog.start()
    (files.tenancy / KEY).rename(files.root / "elsewhere.yaml")
    files.write("tenants/beta.yaml", text.replace("Beta", "New"))
    ear.until(lambda change: change.snapshot.by_slug("beta").name == "New", seconds=10)
    assert catalog.snapshot.by_slug("acme") is not None


def test_names_that_differ_in_case_are_two_files_and_one_tenant(files) -> None:
    text = files.tenant("acme")
    catalog = files.open()
    files.write("tenants/ACME.yaml", text)
    catalog.refresh()
    assert {problem.file for problem in catalog.problems} == {"system/tenancy/tenants/ACME.yaml"}
    assert len(catalog.snapshot) == 1
