"""Files to one immutable snapshot, and back: the catalog of plans, tenants and tables."""

from partywall.catalog.catalog import Catalog
from partywall.catalog.checking import check
from partywall.catalog.document import Document, load
from partywall.catalog.health import Health
from partywall.catalog.look import Look, edit_plan, last_good, look, look_at, reported, stamp
from partywall.catalog.snapshot import CatalogChange, Snapshot
from partywall.catalog.trail import Edit, Edited

__all__ = [
    "Catalog",
    "CatalogChange",
    "Document",
    "Edit",
    "Edited",
    "Health",
    "Look",
    "Snapshot",
    "check",
    "edit_plan",
    "last_good",
    "load",
    "look",
    "look_at",
    "reported",
    "stamp",
]
