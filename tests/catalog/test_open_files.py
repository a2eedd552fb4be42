"""Somebody has a file open for writing while the engine edits it: neither loses anything."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from partywall.catalog.disk import writer
from partywall.errors import TenantConflict

KEY = "tenants/acme.yaml"
ACME = "ten_acme0001"
LINE = "quotas: {maxProjects: 77}\n"


@pytest.fixture
def acme(files) -> Path:
    files.tenant("acme")
    path = files.tenants / "acme.yaml"
    os.utime(path, (1, 1))
    return path


@pytest.fixture
def appending(acme: Path) -> Iterator[IO[str]]:
    """Open for writing as a shell has it that is to append, long before it does."""
    with acme.open("a") as file:
        yield file


def names(files) -> list[str]:
    return sorted(path.name for path in files.tenants.iterdir())


def test_a_line_that_a_shell_appends_after_the_edit_began_is_kept_beside_the_edit(files, acme: Path) -> None:
    catalog = files.open()
    shell = subprocess.Popen(["sh", "-c", f"(echo; read go; printf '{LINE}' >&3) 3>>{acme}"], stdin=-1, stdout=-1)
    assert shell.stdout
    assert shell.stdin
    assert shell.stdout.readline()
    threading.Timer(0.3, shell.stdin.close).start()
    catalog.edit_tenant(ACME, {"settings.defaultModel": "small"})
    assert shell.wait(10) == 0
    shell.stdout.close()
    found = catalog.refresh().tenant(ACME)
    assert (found.quotas.max_projects, found.settings.default_model) == (77, "small")
    assert names(files) == ["acme.yaml"]


def test_an_edit_of_a_file_that_stays_open_is_refused_and_neither_side_loses_anything(
    files, appending: IO[str]
) -> None:
    text = files.text(KEY)
    catalog = files.open()
    with pytest.raises(TenantConflict, match=r"acme\.yaml is open for writing"):
        catalog.edit_tenant(ACME, {"settings.defaultModel": "small"})
    assert (files.text(KEY), names(files)) == (text, ["acme.yaml"])
    appending.write(LINE)
    appending.close()
    assert catalog.refresh().tenant(ACME).quotas.max_projects == 77
    catalog.edit_tenant(ACME, {"settings.defaultModel": "small"})
    found = catalog.refresh().tenant(ACME)
    assert (found.quotas.max_projects, found.settings.default_model) == (77, "small")


def test_an_editor_that_keeps_a_file_open_stops_no_reload(files, acme: Path, appending: IO[str]) -> None:
    catalog = files.open()
    appending.write(LINE)
    appending.flush()
    os.utime(acme, (1, 1))
    assert catalog.refresh().tenant(ACME).quotas.max_projects == 77


def test_who_opened_the_file_in_the_moment_of_the_swap_and_keeps_it_has_it_back(files, acme: Path, monkeypatch) -> None:
    exchange = writer._exchange
    opened: list[IO[str]] = []

    def opened_just_before(one: Path, other: Path) -> bool:
        if not opened:
            opened.append(acme.open("a"))
        return exchange(one, other)

    catalog = files.open()
    monkeypatch.setattr(writer, "_exchange", opened_just_before)
    with pytest.raises(TenantConflict, match="open for writing"):
        catalog.edit_tenant(ACME, {"settings.defaultModel": "small"})
    opened[0].write(LINE)
    opened[0].close()
    found = catalog.refresh().tenant(ACME)
    assert (found.quotas.max_projects, found.settings.default_model) == (77, None)
    assert names(files) == ["acme.yaml"]


@pytest.mark.parametrize("renamed", [False, True])
def test_of_two_that_save_around_the_swap_neither_is_dropped(files, acme: Path, monkeypatch, renamed: bool) -> None:
    exchange = writer._exchange
    old = files.text(KEY)
    opened: list[IO[str]] = []

    def one_before_and_one_after(one: Path, other: Path) -> bool:
        if opened:
            return exchange(one, other)
        opened.append(acme.open("a"))
        done = exchange(one, other)
        if renamed:
            files.rename_over(KEY, old.replace("Acme", "Renamed"))
        else:
            opened.append(acme.open("a"))
        return done

    catalog = files.open()
    monkeypatch.setattr(writer, "_exchange", one_before_and_one_after)
    with pytest.raises(TenantConflict, match="open for writing"):
        catalog.edit_tenant(ACME, {"settings.defaultModel": "small"})
    for number, file in enumerate(opened):
        file.write(f"# {number}\n")
        file.close()
    texts = [files.text("tenants/" + name) for name in names(files)]
    assert names(files) == ["acme.yaml", "acme.yaml.conflict1"]
    if renamed:
        assert texts == [old.replace("Acme", "Renamed"), old + "# 0\n"]
    else:
        assert texts[0] == old + "# 0\n"
        assert "small" in texts[1]
        assert texts[1].endswith("# 1\n")


def test_what_was_displaced_is_set_aside_when_the_file_is_gone_meanwhile(files, acme: Path, monkeypatch) -> None:
    exchange = writer._exchange

    def saved_before_and_removed_after(one: Path, other: Path) -> bool:
        files.write(KEY, "# theirs\n")
        done = exchange(one, other)
        acme.unlink()
        monkeypatch.setattr(writer, "_exchange", exchange)
        return done

    catalog = files.open()
    monkeypatch.setattr(writer, "_exchange", saved_before_and_removed_after)
    with pytest.raises(TenantConflict, match="gone"):
        catalog.edit_tenant(ACME, {"settings.defaultModel": "small"})
    assert names(files) == ["acme.yaml.conflict1"]
    assert files.text(KEY + ".conflict1") == "# theirs\n"


def test_a_file_without_an_id_is_given_one_once_it_is_closed(files, acme: Path) -> None:
    body = files.text(KEY).partition("\n")[2]
    files.write(KEY, body)
    os.utime(acme, (1, 1))
    with acme.open("a") as file:
        catalog = files.open()
        assert "no id" in catalog.problems[0].message
        assert files.text(KEY) == body
        file.write(LINE)
    [tenant_id] = catalog.refresh().ids()
    assert catalog.problems == ()
    assert files.text(KEY) == f"id: {tenant_id}\n{body}{LINE}"


def test_a_save_that_has_not_seen_the_engines_edit_is_merged_with_it_once_it_is_closed(files, acme: Path) -> None:
    old = files.text(KEY)
    catalog = files.open()
    catalog.edit_tenant(ACME, {"settings.defaultModel": "small"})
    with acme.open("w") as file:
        file.write(old.replace("Acme", "By hand"))
        file.flush()
        os.utime(acme, (1, 1))
        assert catalog.refresh().tenant(ACME).name == "Acme"
        file.write(LINE)
    found = catalog.refresh().tenant(ACME)
    assert (found.name, found.settings.default_model, found.quotas.max_projects) == ("By hand", "small", 77)
