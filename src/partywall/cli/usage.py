"""``partywall usage``: what tenants have of what they may have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from partywall.cli.app import Call, command, partywall
from partywall.cli.documents import limit_text
from partywall.cli.references import tenant_id
from partywall.cli.sight import Sight, look
from partywall.clock import SystemClock, month_of
from partywall.names import TenantId
from partywall.quotas import Usage

__all__ = ["usage"]

_BAR: Final = 20
_GAUGE: Final = "agents"
"""The metric that only the engine itself knows: how many run at this moment is in its memory."""


@partywall.group()
def usage() -> None:
    """What tenants have of what they may have."""


@command(usage)
@click.argument("ref")
@click.option("--period", help="A month such as 2026-11 for what is counted by the month; default: this one, in UTC.")
def show(call: Call, ref: str, period: str | None) -> None:
    """Show a tenant's usage against its quotas."""
    month = period or month_of(SystemClock().now())
    known = tenant_id(call, ref)
    with look(call.folder) as sight:
        document = _usage(sight, known, month)
    if call.output.as_json:
        call.output.document(document)
        return
    call.output.line(f"{document['tenant_id']} ({document['slug']}), {month}")
    call.output.table(
        ["metric", "used", "limit", "%", ""],
        [
            (metric, limit_text(metric, entry["used"], none="-"), limit_text(metric, entry["limit"]), *_share(entry))
            for metric, entry in document["usage"].items()
        ],
    )


@command(usage, "list")
@click.option("--period", help="A month such as 2026-11 for what is counted by the month; default: this one, in UTC.")
def list_usage(call: Call, period: str | None) -> None:
    """List the usage of every tenant, by slug."""
    month = period or month_of(SystemClock().now())
    with look(call.folder) as sight:
        documents = [_usage(sight, known, month) for known in sight.directory.ids()]
    documents.sort(key=lambda document: str(document["slug"]))
    if call.output.as_json:
        call.output.document({"period": month, "tenants": documents})
        return
    metrics = [metric for metric in next(iter(documents), {"usage": {}})["usage"] if metric != _GAUGE]
    call.output.table(
        ["id", "slug", *metrics],
        [
            (each["tenant_id"], each["slug"], *(_brief(metric, each["usage"][metric]) for metric in metrics))
            for each in documents
        ],
    )


def _usage(sight: Sight, known: TenantId, month: str) -> dict[str, Any]:
    totals = Usage(sight.ledger, sight.directory, SystemClock()).totals(known, month)
    limits = dict(sight.directory.grants(known).quotas)
    used: Mapping[str, int | None] = {**totals, _GAUGE: None}
    return {
        "tenant_id": known,
        "slug": sight.directory.spec(known).slug,
        "period": month,
        "usage": {metric: {"used": used[metric], "limit": limit} for metric, limit in limits.items()},
    }


def _brief(metric: str, entry: Mapping[str, int | None]) -> str:
    return f"{limit_text(metric, entry['used'], none='-')} / {limit_text(metric, entry['limit'])}"


def _share(entry: Mapping[str, int | None]) -> tuple[str, str]:
    used, limit = entry["used"], entry["limit"]
    if used is None or limit is None:
        return "", ""
    share = used / limit if limit else float(used > 0)
    filled = min(_BAR, round(share * _BAR))
    return f"{share:.0%}", "#" * filled + "." * (_BAR - filled)
