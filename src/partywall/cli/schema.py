"""``partywall schema``: the JSON Schemas of the files, for editors and other tools."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Final

import click

from partywall.cli.app import Call, command, partywall

__all__ = ["schema"]

_NAMES: Final = {
    "engine": "engine.yaml",
    "plans": "plans.yaml",
    "tables": "tables.yaml",
    "tenant": "tenants/*.yaml",
}


@command(partywall)
@click.argument("name", required=False, type=click.Choice(list(_NAMES)))
@click.option("--write", is_flag=True, help="Write all of them into the data folder, over those of an older release.")
def schema(call: Call, name: str | None, write: bool) -> None:
    """Print the JSON Schema of a file.

    Without NAME, list them. `init` writes them all beside the files, and the first line of each file names its
    own, so that editors complete, explain and underline.
    """
    if write:
        _write(call)
    elif name is None:
        _list(call)
    else:
        call.output.document(json.loads(_raw(name)))


def _raw(name: str) -> bytes:
    return (files(__package__) / "starter" / "schema" / f"{name}.json").read_bytes()


def _write(call: Call) -> None:
    call.folder.require()
    written = {call.folder.tenancy / "schema" / f"{name}.json": _raw(name) for name in _NAMES}
    for path, raw in written.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(raw)
    if call.output.as_json:
        call.output.document({"files": [str(path) for path in written]})
    else:
        for path in written:
            call.output.line(f"wrote {path}")


def _list(call: Call) -> None:
    if call.output.as_json:
        schemas = [{"name": name, "describes": described} for name, described in _NAMES.items()]
        call.output.document({"schemas": schemas})
    else:
        call.output.table(["schema", "describes"], list(_NAMES.items()))
