"""``partywall plans``: what each plan grants."""

from __future__ import annotations

from typing import Any

import click

from partywall.catalog import edit_plan
from partywall.catalog.text.document import load
from partywall.cli.app import Call, command, partywall
from partywall.cli.documents import limit_text, plan_document, rate_text
from partywall.cli.sight import look
from partywall.errors import InvalidArgument
from partywall.names import parse_plan

__all__ = ["plans"]


@partywall.group()
def plans() -> None:
    """What each plan grants."""


@command(plans, "list")
def list_plans(call: Call) -> None:
    """List the plans."""
    with look(call.folder) as sight:
        documents = [plan_document(name, plan) for name, plan in sight.snapshot.plans.items()]
    if call.output.as_json:
        call.output.document({"plans": documents})
        return
    quotas = list(documents[0]["quotas"])
    call.output.table(
        ["plan", "name", "price", "isolation", *quotas],
        [
            (
                each["plan"],
                each["name"],
                each["price"],
                each["isolation"],
                *(limit_text(metric, each["quotas"][metric]) for metric in quotas),
            )
            for each in documents
        ],
    )


@command(plans)
@click.argument("name")
def show(call: Call, name: str) -> None:
    """Show all that the plan NAME grants."""
    with look(call.folder) as sight:
        plan = sight.snapshot.plans.get(parse_plan(name))
        if plan is None:
            raise InvalidArgument(f"plan '{name}' is not in plans.yaml; it has {', '.join(sight.snapshot.plans)}")
        document = plan_document(parse_plan(name), plan)
    if call.output.as_json:
        call.output.document(document)
        return
    call.output.fields(
        {
            **{key: document[key] for key in ("plan", "name", "price", "isolation")},
            **{metric: limit_text(metric, limit) for metric, limit in document["quotas"].items()},
            "features": ", ".join(document["features"]),
            **{f"rate limit {action}": rate_text(limit) for action, limit in document["rate_limits"].items()},
            "retention": f"{document['retention_days']} days",
        }
    )


@command(plans, "set")
@click.argument("name")
@click.argument("path")
@click.argument("value")
def set_value(call: Call, name: str, path: str, value: str) -> None:
    """Set one value of a plan in plans.yaml.

    As in: plans set free quotas.maxProjects 5

    The file is edited as an editor would: comments stay, a running engine reloads and audits it. VALUE is
    written as in the file; an empty one removes what PATH names.
    """
    plan = parse_plan(name)
    call.folder.require()
    edit_plan(call.folder.root, plan, {path: _value(value)})
    if call.output.as_json:
        call.output.document({"plan": plan, "path": path, "value": _value(value)})
    else:
        call.output.line(f"set {path} of plan {plan}")


def _value(text: str) -> Any:
    if not text:
        return None
    document = load("VALUE", text.encode())
    if document.problems:
        raise InvalidArgument("; ".join(problem.message for problem in document.problems))
    return document.data
