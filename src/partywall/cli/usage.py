"""``partywall usage``: what tenants have of what they may have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from partywall.cli.app import Call, command, partywall
from partywall.cli.changing import change
from partywall.cli.charts import Bar, bar, svg
from partywall.cli.documents import limit_text
from partywall.cli.references import tenant_id
from partywall.cli.sight import Sight, look
from partywall.clock import SystemClock, month_of
from partywall.names import TenantId
from partywall.quotas import COUNTED, PeriodTotal, Usage

__all__ = ["usage"]

_REPAIR_SECONDS: Final = 600.0
"""Seconds that a running engine has: the log of every tenant is summed."""
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
    with look(call.folder, known) as sight:
        document = _usage(sight, known, month)
    if call.output.as_json:
        call.output.document(document)
        return
    call.output.line(f"{document['tenant_id']} ({document['slug']}), {month}")
    call.output.table(
        ["metric", "used", "reserved", "limit", "%", ""],
        [
            (
                metric,
                limit_text(metric, entry["used"], none="-"),
                limit_text(metric, entry["reserved"], none="-"),
                limit_text(metric, entry["limit"]),
                *_share(entry),
            )
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


@command(usage)
@click.argument("ref")
@click.option("--metric", type=click.Choice(COUNTED), help="This metric alone.")
@click.option("--plot", is_flag=True, help="Draw a bar beside each total.")
@click.option("--svg", "drawing", type=click.Path(dir_okay=False, path_type=Path), help="Draw the bars into this file.")
def history(call: Call, ref: str, metric: str | None, plot: bool, drawing: Path | None) -> None:
    """Show a tenant's totals month by month: of tokens those of the month, of the rest what there was at its end."""
    known = tenant_id(call, ref)
    with look(call.folder, known) as sight:
        slug = sight.directory.spec(known).slug
        totals = Usage(sight.ledger, sight.directory, SystemClock()).history(known, metric)
    if drawing is not None:
        drawing.write_text(svg(f"{slug} ({known})", _charts(totals)), encoding="utf-8")
    if call.output.as_json:
        call.output.document({"tenant_id": known, "slug": slug, "history": [total._asdict() for total in totals]})
        return
    most = {name: max(length for _, _, length in bars) for name, bars in _charts(totals)}
    bars = [(bar(each.total / most[each.metric] if most[each.metric] else 0),) if plot else () for each in totals]
    call.output.table(
        ["month", "metric", "total", *([""] if plot else [])],
        [
            (each.period, each.metric, limit_text(each.metric, each.total), *drawn)
            for each, drawn in zip(totals, bars, strict=True)
        ],
    )


@command(usage)
@click.argument("ref", required=False)
@click.option("--repair", is_flag=True, help="Set those that differ to what their log comes to; audited.")
def verify(call: Call, ref: str | None, repair: bool) -> int:
    """Compare counters with the log that they are made of, a tenant's or everybody's; exit 1 when one differs."""
    known = None if ref is None else tenant_id(call, ref)
    repaired = change(call.folder, "usage.repair", {"tenant_id": known}, wait=_REPAIR_SECONDS) if repair else []
    with look(call.folder) as sight:
        found = Usage(sight.ledger, sight.directory, SystemClock()).verify(known)
    differences = [asdict(difference) for difference in found]
    if call.output.as_json:
        call.output.document({"differences": differences, **({"repaired": repaired} if repair else {})})
        return 1 if differences else 0
    _table(call, "repaired", repaired)
    _table(call, "differs", differences)
    if not differences:
        call.output.line("every counter is what its log comes to")
    return 1 if differences else 0


def _table(call: Call, title: str, differences: Sequence[Mapping[str, Any]]) -> None:
    if differences:
        call.output.table(
            ["tenant", "month", "metric", title, "counter", "rebuilt"],
            [tuple(difference.values()) for difference in differences],
        )


def _charts(totals: Sequence[PeriodTotal]) -> list[tuple[str, list[Bar]]]:
    charts: dict[str, list[Bar]] = {}
    for each in totals:
        behind = limit_text(each.metric, each.total)
        charts.setdefault(each.metric, []).append((each.period, behind, each.total))
    return list(charts.items())


def _usage(sight: Sight, known: TenantId, month: str) -> dict[str, Any]:
    usage = Usage(sight.ledger, sight.directory, SystemClock())
    used: Mapping[str, int | None] = {**usage.totals(known, month), _GAUGE: None}
    reserved = usage.reserved(known, month)
    return {
        "tenant_id": known,
        "slug": sight.directory.spec(known).slug,
        "period": month,
        "usage": {
            metric: {"used": used[metric], "reserved": reserved.get(metric), "limit": limit}
            for metric, limit in sight.directory.grants(known).quotas
        },
    }


def _brief(metric: str, entry: Mapping[str, int | None]) -> str:
    return f"{limit_text(metric, entry['used'], none='-')} / {limit_text(metric, entry['limit'])}"


def _share(entry: Mapping[str, int | None]) -> tuple[str, str]:
    used, limit = entry["used"], entry["limit"]
    if used is None or limit is None:
        return "", ""
    share = used / limit if limit else float(used > 0)
    return f"{share:.0%}", bar(share)
