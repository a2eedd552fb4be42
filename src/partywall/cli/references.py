"""Tenants as operators name them: by id or by slug."""

from __future__ import annotations

from pathlib import Path

from partywall.cli.app import Call
from partywall.cli.sight import look
from partywall.errors import TenantNotFound
from partywall.names import TenantId

__all__ = ["tenant_id"]


def tenant_id(call: Call, reference: str) -> TenantId:
    """The id of the tenant with this id or slug, whatever its status; TenantNotFound."""
    with look(call.folder, reference) as sight:
        try:
            return sight.directory.find(reference)
        except TenantNotFound:
            # Its file may be there, and not in force.
            wrong = [str(problem) for problem in sight.problems if Path(problem.file).stem == reference]
            message = f"no tenant has the id or slug {ascii(reference)[:80]}"
            raise TenantNotFound("; ".join([message, *wrong])) from None
