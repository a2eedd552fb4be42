"""``partywall plugins``: which backends are installed, and which of them serve."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import click

from partywall.catalog import look
from partywall.cli.app import Call, command, command_group, partywall
from partywall.cli.output import harmless
from partywall.conformance import check
from partywall.errors import ConfigError, PartywallError
from partywall.model import EngineConfig, Strategy
from partywall.registry import FoundBackend, Registry

__all__ = ["plugins"]


@command_group(partywall, "plugins")
@click.option("--strict", is_flag=True, help="Exit with 1 if a plugin cannot be used.")
def plugins(call: Call, strict: bool) -> int:
    """List the installed backends.

    What each does, who enforces the wall, what becomes of raw SQL, and whether engine.yaml chooses it.
    Works without a data folder too.
    A plugin that cannot be used is told as an error.
    """
    registry = Registry()
    config = _config(call)
    chosen = _chosen(registry, config)
    backends = [_document(found, chosen) | _tier(registry, found, config) for found in registry.backends.values()]
    if call.output.as_json:
        problems = [asdict(problem) for problem in registry.problems]
        call.output.document({"backends": backends, "problems": problems})
    else:
        _show(call, backends)
        for problem in registry.problems:
            sys.stderr.write(f"error: {harmless(problem)}\n")
    return 1 if strict and registry.problems else 0


@command(plugins, "check")
@click.argument("name")
@click.option("--long", is_flag=True, help="Make the random histories a million operations long.")
def check_backend(call: Call, name: str, long: bool) -> int:
    """Try to break the wall of the backend NAME.

    Runs the conformance kit, which needs partywall[conformance], and prints its report. Exits with 1 if the
    backend does not pass.
    """
    if call.output.as_json:
        raise click.UsageError("the kit prints a report of its own; leave --json out")
    return check(name, long=long)


def _config(call: Call) -> EngineConfig:
    try:
        call.folder.require()
        return look(call.folder.root, last_good=False).config
    except ConfigError:
        # Which backends are installed can be told before there are any files, or while they are wrong.
        return EngineConfig()


def _chosen(registry: Registry, config: EngineConfig) -> set[str]:
    names = set()
    for strategy in Strategy:
        try:
            names.add(registry.choose(strategy, config).spec.name)
        except PartywallError:
            continue
    return names


def _document(found: FoundBackend, chosen: set[str]) -> dict[str, Any]:
    return {
        "name": found.spec.name,
        "strategy": found.spec.strategy,
        "chosen": found.spec.name in chosen,
        "enforced_by": found.spec.enforced_by,
        "capabilities": sorted(found.spec.capabilities),
        "distribution": found.distribution,
        "version": found.version,
        "summary": found.spec.summary,
    }


def _tier(registry: Registry, found: FoundBackend, config: EngineConfig) -> dict[str, str]:
    try:
        return {"sql": registry.sql_tier(found, config)}
    except ConfigError:
        return {"sql": "misconfigured"}


def _show(call: Call, backends: list[dict[str, Any]]) -> None:
    if not backends:
        call.output.line("no backend is installed; partywall-duckdb is one: pip install partywall-duckdb")
        return
    call.output.table(
        ["backend", "strategy", "chosen", "enforced by", "raw SQL", "capabilities", "distribution", "summary"],
        [
            (
                each["name"],
                each["strategy"],
                "yes" if each["chosen"] else "no",
                each["enforced_by"],
                each["sql"],
                ", ".join(each["capabilities"]),
                f"{each['distribution']} {each['version']}",
                each["summary"],
            )
            for each in backends
        ],
    )
