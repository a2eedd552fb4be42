"""The pages for operators name every command, and what they show is so."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from partywall.cli.app import partywall as everything
from partywall.folder import DataFolder

Run = Callable[..., Any]
DOCS = Path(__file__).parents[2] / "docs"


def commands(group: click.Group = everything) -> Iterator[tuple[str, str]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from ((name, inner) for inner in command.commands)
        else:
            yield "", name


@pytest.mark.parametrize(("group", "name"), list(commands()))
def test_the_page_names_every_command(group: str, name: str) -> None:
    rows = [line for line in (DOCS / "command-line.md").read_text().splitlines() if line.startswith("|")]
    named = [re.findall(r"`([^`]+)`", row.split("|")[1]) for row in rows]
    found = [spans for spans in named if spans and (not group or spans[0].split()[0] == group)]
    assert any(name in span.split()[:2] for spans in found for span in spans), f"{group} {name}"


def test_the_hook_on_the_page_is_the_one_that_ships() -> None:
    shipped = (DOCS.parent / ".pre-commit-hooks.yaml").read_text()
    page = (DOCS / "files.md").read_text()
    for key in ("id", "name", "entry", "files", "pass_filenames"):
        (line,) = re.findall(rf"^[- ] {key}: .*$", shipped, re.MULTILINE)
        assert line.lstrip("- ") in page


def test_what_the_page_says_is_refused_as_ambiguous_is(here: Run, folder: DataFolder) -> None:
    page = (DOCS / "files.md").read_text()
    (words,) = re.findall(r"so is a plain (.*?), which one", page, re.DOTALL)
    plain = re.findall(r"`([^`]+)`", words)
    assert len(plain) == 6
    tenant = folder.tenancy / "tenants" / "acme.yaml"
    text = tenant.read_text()
    for word in plain:
        tenant.write_text(text.replace('name: "Acme"', f"name: {word}"))
        assert f"'{word}' means different things to different readers" in here("validate").out
