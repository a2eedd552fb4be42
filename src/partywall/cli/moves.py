"""``partywall tenants move``: another strategy or region for a tenant's data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from partywall.cli.app import Call, command
from partywall.cli.changing import change
from partywall.cli.failures import failure_from
from partywall.cli.references import tenant_id
from partywall.cli.tenants import tenants
from partywall.model import Strategy

__all__ = ["move", "move_pending"]

_WAIT: Final = 3600.0
"""Seconds that a running engine has: rows are copied."""


@command(tenants)
@click.argument("ref")
@click.option("--to", type=click.Choice([str(each) for each in Strategy]), help="The isolation strategy.")
@click.option("--region", help="A region of engine.yaml.")
def move(call: Call, ref: str, to: str | None, region: str | None) -> None:
    """Move a tenant's data to another strategy or region.

    Without --to and --region, where its file wishes. Reads go on meanwhile, writes wait; nothing is left behind.
    """
    arguments = {"tenant_id": tenant_id(call, ref), "to": to, "region": region}
    result = change(call.folder, "isolation.move", arguments, wait=_WAIT)
    if call.output.as_json:
        call.output.document(result)
    else:
        _tell(call, result)


@command(tenants, "move-pending")
def move_pending(call: Call) -> int:
    """Move every tenant whose file wishes for another place.

    One that fails keeps none of the others; run it again for those that failed.
    """
    result = change(call.folder, "isolation.move_pending", {}, wait=_WAIT)
    if call.output.as_json:
        call.output.document(result)
    else:
        for moved in result["moved"]:
            _tell(call, moved)
        for known, error in result["failed"].items():
            call.output.line(f"NOT moved {known}: {error['message']}")
        if not result["moved"] and not result["failed"]:
            call.output.line("no move is pending")
    return max((failure_from(error).exit_code for error in result["failed"].values()), default=0)


def _tell(call: Call, moved: Mapping[str, Any]) -> None:
    if moved["from"] == moved["to"]:
        call.output.line(f"{moved['tenant_id']} is in {_place(moved['to'])} already")
        return
    call.output.line(f"moved {moved['tenant_id']} to {_place(moved['to'])}: {moved['rows']:,} rows")
    if not moved["destroyed"]:
        call.output.line("its old place could not be destroyed yet; a running engine tries again once a minute")


def _place(place: Mapping[str, Any]) -> str:
    return f"{place['strategy']} in {place['region']}" if place["region"] else str(place["strategy"])
