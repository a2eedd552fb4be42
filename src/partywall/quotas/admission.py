"""Whether what is asked for fits the quotas."""

from __future__ import annotations

from collections.abc import Mapping

from partywall.errors import QuotaExceeded
from partywall.model import Grants
from partywall.quotas.counters import Standing

__all__ = ["require_room"]


def require_room(found: Standing, amounts: Mapping[str, int], grants: Grants) -> None:
    """Raise QuotaExceeded for the first hard quota that the amounts would pass."""
    for metric, limit in grants.quotas:
        requested = amounts.get(metric, 0)
        if limit is None or metric in grants.soft or requested == 0 or found.taken(metric) + requested <= limit:
            continue
        reserved = found.reserved[metric]
        held = f" beside {reserved} that are reserved" if reserved else ""
        raise QuotaExceeded(
            f"quota '{metric}' has room for {max(0, limit - found.taken(metric))} more{held} and {requested} were "
            "asked for; change the plan or give something back",
            quota=metric,
            current=found.counted[metric],
            limit=limit,
            requested=requested,
            reserved=reserved,
        )
