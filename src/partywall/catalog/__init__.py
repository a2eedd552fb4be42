"""Files to one immutable snapshot, and back: the catalog of plans, tenants and tables."""

from partywall.catalog.catalog import Catalog
from partywall.catalog.checking import check
from partywall.catalog.health import Health
from partywall.catalog.look import Look, edit_plan, engine_config, last_good, look, look_at, reported, stamp
from partywall.catalog.memory.trail import Edit, Edited
from partywall.catalog.snapshot import CatalogChange, Snapshot
from partywall.catalog.text.document import Document, load

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
    "engine_config",
    "last_good",
    "load",
    "look",
    "look_at",
    "reported",
    "stamp",
]
