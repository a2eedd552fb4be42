"""What the tests of counted rows share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from partywall import Engine
from partywall.model import Tenant

LIMIT = 4
Opened = Callable[..., Engine]


def declare(folder: Path, *, quota: str = "projects", limit: int | str = LIMIT) -> None:
    tables = folder / "system" / "tenancy" / "tables.yaml"
    text = tables.read_text()
    tables.write_text(text.replace("  projects:\n", f"  projects:\n    quota: {quota}\n"))
    for file in (folder / "system" / "tenancy" / "tenants").glob("acme*.yaml"):
        file.write_text(f"{file.read_text()}quotas: {{maxProjects: {limit}, maxUsers: {limit}}}\n")


def undeclare(folder: Path) -> None:
    tables = folder / "system" / "tenancy" / "tables.yaml"
    tables.write_text(tables.read_text().replace("    quota: projects\n", ""))


def projects(*numbers: int) -> list[dict[str, str]]:
    return [{"id": f"p{number}", "name": f"Project {number}"} for number in numbers]


def stands(engine: Engine, tenant: Tenant) -> tuple[int, int]:
    """What is counted and what is held, once that rows and counters agree is sure."""
    assert engine.usage.verify() == []
    status = engine.quotas.check(tenant.id).projects
    assert status.current == engine.query(tenant.id).count("projects")
    return status.current, status.reserved
