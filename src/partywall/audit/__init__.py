"""Who did what to whom, when: records that are committed together with what they record."""

from partywall.audit.actors import acting_as, actor
from partywall.audit.changes import changes
from partywall.audit.log import AuditLog

__all__ = ["AuditLog", "acting_as", "actor", "changes"]
