"""``partywall init``: a data folder to start from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import Final

import click

from partywall.cli.app import Call, command, partywall
from partywall.errors import ConfigError
from partywall.folder import DataFolder
from partywall.names import new_tenant_id

__all__ = ["init"]

_STARTER: Final = "starter"
_TEMPLATE: Final = ".tmpl"
"""Ends the name of a starter file in which ``$id`` and ``$created_at`` are filled in."""


@command(partywall)
@click.argument("folder", required=False, type=click.Path(path_type=Path))
def init(call: Call, folder: Path | None) -> None:
    """Write starter files.

    Plans, tables, engine settings and one tenant, into FOLDER or else the data folder. Nothing is overwritten.
    """
    target = call.folder if folder is None else DataFolder(folder)
    written = _write_all(target)
    if call.output.as_json:
        call.output.document({"folder": str(target.root), "files": [str(path) for path in written]})
        return
    for path in written:
        call.output.line(f"wrote {path}")
    shown = os.path.relpath(target.root)
    call.output.line("")
    call.output.line("Next:")
    call.output.line(f"  partywall --data {shown} validate     check the files after every edit")
    call.output.line(f"  partywall --data {shown} plugins      see which backends are installed")
    call.output.line(f"  partywall --data {shown} tenants list")


def _write_all(target: DataFolder) -> list[Path]:
    content = {target.tenancy / name: raw for name, raw in _starter_files(files(__package__) / _STARTER)}
    for path in content:
        if os.path.lexists(path):
            raise ConfigError(f"{path} is there already; nothing was written")
    ignored = target.root / ".gitignore"
    if not os.path.lexists(ignored):
        content[ignored] = b"# What the engine keeps: its ledger, and tenants' data.\n/var/\n"
    for path, raw in content.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(raw)
    return list(content)


def _starter_files(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    for each in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if each.is_dir():
            yield from _starter_files(each, f"{prefix}{each.name}/")
        elif each.name.endswith(_TEMPLATE):
            yield prefix + each.name.removesuffix(_TEMPLATE), _filled_in(each.read_text("utf-8")).encode()
        else:
            yield prefix + each.name, each.read_bytes()


def _filled_in(text: str) -> str:
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return Template(text).substitute(id=new_tenant_id(), created_at=now)
