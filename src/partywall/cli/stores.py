"""``partywall stores``: whether the stores hold what the ledger says, and what is wrong with those that don't."""

from __future__ import annotations

from typing import Final

from partywall.cli.app import Call, command, partywall
from partywall.cli.changing import change

__all__ = ["stores"]

_WAIT: Final = 3600.0
"""Seconds that a running engine has: every tenant's place is opened."""


@partywall.group()
def stores() -> None:
    """Look after the stores that tenants' rows are in."""


@command(stores)
def check(call: Call) -> int:
    """Open every tenant's place and ask it whose it is.

    Exits with 1 when something is wrong. A damaged store refuses its own tenants and nobody else; put the file back
    from a backup in its place, and it is in service again within ten seconds.
    """
    problems = list(change(call.folder, "isolation.check_stores", {}, wait=_WAIT))
    if call.output.as_json:
        call.output.document({"problems": problems})
        return 1 if problems else 0
    for each in problems:
        whose = f" ({each['tenant_id']})" if each["tenant_id"] else ""
        call.output.line(f"{each['backend']}: {each['place']}{whose}: {each['problem']}")
    if not problems:
        call.output.line("every store is in order")
    return 1 if problems else 0
