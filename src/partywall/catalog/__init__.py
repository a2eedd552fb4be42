"""Files to one immutable snapshot, and back: the catalog of plans, tenants and tables."""

from partywall.catalog.catalog import Catalog
from partywall.catalog.checking import check
from partywall.catalog.document import Document, load
from partywall.catalog.snapshot import CatalogChange, Snapshot

__all__ = ["Catalog", "CatalogChange", "Document", "Snapshot", "check", "load"]
