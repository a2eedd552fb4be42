"""``partywall status``: how a data folder is doing, beside a running engine or without one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from partywall.cli.app import Call, command, partywall
from partywall.cli.documents import moment, operation_document, placement_document
from partywall.cli.sight import Sight, look, open_for_reading
from partywall.errors import ConfigError, Problem
from partywall.ledger import Ledger, OperationState
from partywall.model import Status
from partywall.registry import Registry

__all__ = ["status"]


@command(partywall)
def status(call: Call) -> int:
    """Tell how the data folder is doing.

    Whether an engine runs, how many tenants stand where, and what needs somebody's attention.
    """
    call.folder.require()
    pid = call.folder.owner()
    document: dict[str, Any] = {"folder": str(call.folder.root), "engine": {"running": pid is not None, "pid": pid}}
    try:
        with look(call.folder) as sight:
            document.update(_seen(sight, pid))
    except ConfigError as error:
        document.update(_unusable(call, error.problems))
    document["plugin_problems"] = [asdict(problem) for problem in Registry().problems]
    if call.output.as_json:
        call.output.document(document)
    else:
        _show(call, document)
    return 0 if document["usable"] else ConfigError.exit_code


def _seen(sight: Sight, pid: int | None) -> Mapping[str, Any]:
    statuses = [sight.directory.status(tenant_id) for tenant_id in sight.directory.ids()]
    return {
        "usable": True,
        **_files(sight, pid),
        "tenants": {str(each): statuses.count(each) for each in Status},
        "plans": len(sight.snapshot.plans),
        "pending_moves": [
            {
                "tenant_id": move.tenant_id,
                "placement": placement_document(move.placement),
                "wanted": {"strategy": move.wanted_strategy, "region": move.wanted_region},
            }
            for move in sight.pending_moves()
        ],
        "operations": _operations(sight.ledger),
    }


def _files(sight: Sight, pid: int | None) -> Mapping[str, Any]:
    """What the running engine last told of the files; without one, what they are found to say now."""
    health = sight.health if pid is not None else None
    if health is None or health.pid != pid:
        digest = sight.snapshot.digest
        return {"in_force": None, "digest": digest, "problems": _problems(sight.problems), "notices": []}
    return {
        "in_force": {
            "generation": health.generation,
            "checked_at": moment(health.checked_at),
            "last_success": moment(health.last_success),
        },
        "digest": health.digest,
        "problems": _problems(health.problems),
        "notices": _problems(health.notices),
    }


def _unusable(call: Call, problems: Iterable[Problem]) -> Mapping[str, Any]:
    with open_for_reading(call.folder) as ledger:
        operations = _operations(ledger)
    return {
        "usable": False,
        "in_force": None,
        "digest": None,
        "notices": [],
        "tenants": None,
        "plans": None,
        "problems": _problems(problems),
        "pending_moves": [],
        "operations": operations,
    }


def _problems(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    return [asdict(problem) for problem in problems]


def _operations(ledger: Ledger) -> list[dict[str, Any]]:
    unfinished = ledger.read(lambda tx: tx.operations(OperationState.QUEUED, OperationState.RUNNING))
    return [operation_document(operation) for operation in unfinished]


def _show(call: Call, document: Mapping[str, Any]) -> None:
    engine, tenants = document["engine"], document["tenants"]
    counts = ", ".join(f"{count} {name}" for name, count in tenants.items()) if tenants else "unknown"
    call.output.fields(
        {
            "folder": document["folder"],
            "engine": f"running (pid {engine['pid']})" if engine["running"] else "not running",
            "tenants": counts,
            "plans": document["plans"],
            "files": _well(document["problems"], "problem") if document["usable"] else "cannot be used",
            "in force": _in_force(document),
            "plugins": _well(document["plugin_problems"], "problem"),
            "moves": _well(document["pending_moves"], "pending move", none="none pending"),
            "operations": _well(document["operations"], "unfinished operation", none="none unfinished"),
        }
    )
    for problem in document["problems"]:
        call.output.line(str(Problem(**problem)))
    for notice in document["notices"]:
        call.output.line(str(Problem(**notice)))
    for problem in document["plugin_problems"]:
        call.output.line(f"{problem['distribution']} ({problem['entry_point']}): {problem['message']}")
    for move in document["pending_moves"]:
        call.output.line(f"{move['tenant_id']}: {_place(move['placement'])} -> {_place(move['wanted'])}")
    for operation in document["operations"]:
        about = operation["tenant_id"] or "-"
        call.output.line(f"{operation['id']}: {operation['kind']} {about} {operation['state']} by {operation['actor']}")


def _in_force(document: Mapping[str, Any]) -> str | None:
    told, digest = document["in_force"], document["digest"]
    if told is None:
        return digest and f"digest {digest[:12]}, once an engine opens it"
    well = f", all well at {told['last_success']}" if told["last_success"] else ""
    return f"generation {told['generation']}, digest {digest[:12]}, looked at {told['checked_at']}{well}"


def _well(found: list[Any], what: str, *, none: str = "ok") -> str:
    return f"{len(found)} {what}{'' if len(found) == 1 else 's'}" if found else none


def _place(place: Mapping[str, Any]) -> str:
    return f"{place['strategy']} in {place['region']}" if place["region"] else str(place["strategy"])
