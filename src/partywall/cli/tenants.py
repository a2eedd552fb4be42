"""``partywall tenants``: the life of a tenant, from the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import click

from partywall.cli.app import Call, command, partywall
from partywall.cli.changing import change
from partywall.cli.documents import limit_text, tenant_document, tenant_summary
from partywall.cli.failures import Failed, Failure
from partywall.cli.references import tenant_id
from partywall.cli.sight import look
from partywall.errors import InvalidArgument
from partywall.model import Settings, Status, Strategy
from partywall.names import parse_plan

__all__ = ["tenants"]


_if_version = click.option(
    "--if-version",
    metavar="VERSION",
    help="Only if the tenant's file still says what it said at this version, as `tenants show` tells it.",
)


@partywall.group()
def tenants() -> None:
    """Create, change, suspend, delete and list tenants. REF is a tenant's id or slug."""


@command(tenants, "list")
@click.option("--status", type=click.Choice([str(each) for each in Status]), help="Only those that stand there.")
@click.option("--plan", help="Only those on this plan.")
def list_tenants(call: Call, status: str | None, plan: str | None) -> None:
    """List the tenants, by slug."""
    wanted = None if plan is None else parse_plan(plan)
    with look(call.folder) as sight:
        everyone = [tenant_summary(sight.directory.tenant(known)) for known in sight.directory.ids()]
    chosen = [each for each in everyone if status in (None, each["status"]) and wanted in (None, each["plan"])]
    chosen.sort(key=lambda each: str(each["slug"]))
    if call.output.as_json:
        call.output.document({"tenants": chosen})
    else:
        columns = ["id", "slug", "name", "plan", "status", "isolation"]
        call.output.table(columns, [[each[column] for column in columns] for each in chosen])


@command(tenants)
@click.argument("ref")
def show(call: Call, ref: str) -> None:
    """Show all that is known of a tenant."""
    known = tenant_id(call, ref)
    with look(call.folder, known) as sight:
        placement = sight.ledger.read(lambda tx: tx.placement(known))
        document = tenant_document(sight.directory.tenant(known), sight.directory.grants(known), placement)
    if call.output.as_json:
        call.output.document(document)
    else:
        call.output.fields(dict(_shown(document)))


@command(tenants)
@click.option("--name", required=True, help="What people call it.")
@click.option("--slug", required=True, help="Its name in hosts and paths: a-z, 0-9 and hyphens.")
@click.option("--plan", required=True, help="A plan of plans.yaml.")
@click.option("--owner-id", required=True, help="The user who answers for it.")
@click.option("--owner-email", required=True)
@click.option("--owner-name", required=True)
@click.option("--isolation", type=click.Choice([str(each) for each in Strategy]), help="Instead of the plan's.")
@click.option("--region", help="Where its data must stay; a region of engine.yaml.")
@click.option("--pending", is_flag=True, help="Not in service until it is resumed.")
def create(call: Call, region: str | None, pending: bool, owner_id: str, **given: str | None) -> None:
    """Create a tenant.

    Its file, its place in a store and its records: all of it or nothing.
    """
    owner = {"user_id": owner_id, "email": given.pop("owner_email"), "name": given.pop("owner_name")}
    arguments = {**given, "owner": owner, "settings": {"data_residency": region} if region else {}}
    status = Status.PENDING if pending else Status.ACTIVE
    result = change(call.folder, "tenants.create", {**arguments, "status": status})
    _tell(call, result, f"created {result['tenant_id']} ({given['slug']})")


@command(tenants)
@click.argument("ref")
@click.option("--reason", required=True, help="Kept in the tenant's file and in the audit log.")
def suspend(call: Call, ref: str, reason: str) -> None:
    """Take a tenant out of service.

    In force at once: its work is refused, its agents are stopped.
    """
    _out_of_service(call, "tenants.suspend", {"tenant_id": tenant_id(call, ref), "reason": reason}, "suspended")


@command(tenants)
@click.argument("ref")
def resume(call: Call, ref: str) -> None:
    """Put a suspended or pending tenant in service."""
    _change(call, "tenants.resume", ref, {}, "resumed")


@command(tenants)
@click.argument("ref")
def delete(call: Call, ref: str) -> None:
    """Delete a tenant, restorable for a while.

    It is out of service at once, and its data is kept until its plan's retention is over.
    """
    _out_of_service(call, "tenants.delete", {"tenant_id": tenant_id(call, ref)}, "deleted")


@command(tenants)
@click.argument("ref")
def restore(call: Call, ref: str) -> None:
    """Undo a deletion, before the purge."""
    _change(call, "tenants.restore", ref, {}, "restored")


@command(tenants)
@click.argument("ref")
@click.option("--before-due", is_flag=True, help="Although its retention is not over.")
@click.option("--yes", is_flag=True, help="Don't ask.")
def purge(call: Call, ref: str, before_due: bool, yes: bool) -> None:
    """Destroy all data of a deleted tenant.

    Down to its bytes on disk; only audit records remain. This cannot be undone.
    """
    known = tenant_id(call, ref)
    if not yes:
        _confirm(call, f"Destroy everything of {known}? This cannot be undone.")
    change(call.folder, "tenants.purge", {"tenant_id": known, "before_due": before_due})
    _tell(call, {"tenant_id": known}, f"purged {known}")


@command(tenants, "purge-due")
def purge_due(call: Call) -> None:
    """Purge every tenant that is due.

    Those are the deleted tenants whose retention is over.
    """
    purged = list(change(call.folder, "tenants.purge_due", {}))
    if call.output.as_json:
        call.output.document({"purged": purged})
        return
    for known in purged:
        call.output.line(f"purged {known}")
    if not purged:
        call.output.line("none is due")


@command(tenants)
@click.argument("ref")
@click.option("--name")
@click.option("--slug")
@_if_version
def rename(call: Call, ref: str, name: str | None, slug: str | None, if_version: str | None) -> None:
    """Give a tenant another name or slug.

    Its id, and all that is stored under it, stays.
    """
    if name is None and slug is None:
        raise click.UsageError("give --name, --slug or both")
    _change(call, "tenants.rename", ref, {"name": name, "slug": slug, "if_version": if_version}, "renamed")


@command(tenants, "change-plan")
@click.argument("ref")
@click.argument("plan")
@_if_version
def change_plan(call: Call, ref: str, plan: str, if_version: str | None) -> None:
    """Put a tenant on another PLAN.

    Its limits change at once, its data stays where it is.
    """
    _change(call, "tenants.change_plan", ref, {"plan": plan, "if_version": if_version}, "changed the plan of")


@command(tenants, "set")
@click.argument("ref")
@click.argument("settings", metavar="KEY=VALUE...", nargs=-1, required=True)
@_if_version
def set_settings(call: Call, ref: str, settings: tuple[str, ...], if_version: str | None) -> None:
    """Set some of a tenant's settings.

    As in: tenants set acme defaultModel=small allowedModels=small,large

    An empty value removes the setting. Lists are separated by commas.
    """
    arguments = {"settings": _settings(settings), "if_version": if_version}
    _change(call, "tenants.update_settings", ref, arguments, "changed the settings of")


def _change(call: Call, name: str, ref: str, arguments: Mapping[str, Any], done: str) -> None:
    known = tenant_id(call, ref)
    result = change(call.folder, name, {"tenant_id": known, **arguments})
    _tell(call, result, f"{done} {known}")


def _out_of_service(call: Call, name: str, arguments: Mapping[str, Any], done: str) -> None:
    result = change(call.folder, name, arguments)
    _tell(call, result, f"{done} {result['tenant_id']}")
    if not call.output.as_json:
        if result["purge_at"]:
            call.output.line(f"its data is purged on {result['purge_at'][:10]}; until then: partywall tenants restore")
        for agent in result["stopped"]:
            call.output.line(f"stopped agent {agent}")
        for agent in result["not_stopped"]:
            call.output.line(f"did NOT stop in time: agent {agent}")


def _tell(call: Call, result: Mapping[str, Any], line: str) -> None:
    if call.output.as_json:
        call.output.document(result)
    else:
        call.output.line(line)


def _confirm(call: Call, question: str) -> None:
    if call.output.as_json or not sys.stdin.isatty():
        raise click.UsageError("this cannot be undone and nobody can be asked here: give --yes")
    if not click.confirm(question, err=True):
        raise Failed(Failure("declined", "nothing was done", 1))


def _settings(pairs: Iterable[str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InvalidArgument(f"expected KEY=VALUE, not {ascii(pair)[:80]}")
        settings[key] = _setting(key, value)
    return settings


def _setting(key: str, value: str) -> str | list[str] | None:
    if not value:
        return None
    fields = Settings.model_fields
    field = next((fields[name] for name in fields if key in (name, fields[name].alias)), None)
    if field is not None and "tuple" in str(field.annotation):
        return [each.strip() for each in value.split(",")]
    return value


def _shown(document: Mapping[str, Any]) -> Iterable[tuple[str, object]]:
    owner, placement = document["owner"], document["placement"]
    for key in ("id", "slug", "name", "plan", "status"):
        yield key, document[key]
    for key in ("suspension_reason", "suspended_at", "deleted_at", "purge_at"):
        if document[key]:
            yield key.replace("_", " "), document[key]
    yield "owner", f"{owner['name']} <{owner['email']}> ({owner['user_id']})"
    yield "isolation", document["isolation"]
    yield "data", f"{placement['backend']} ({placement['strategy']})" if placement else "not placed yet"
    yield "region", document["region"]
    for metric, limit in document["quotas"].items():
        yield f"quota {metric}", limit_text(metric, limit)
    yield "features", ", ".join(document["features"])
    for name, value in document["settings"].items():
        if value and name != "data_residency":
            yield name.replace("_", " "), ", ".join(value) if isinstance(value, list) else value
    if document["domains"]:
        yield "domains", ", ".join(document["domains"])
    yield "created at", document["created_at"]
    yield "version", document["version"]
