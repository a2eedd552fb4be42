"""A tenant's life, and what its plan lets it use."""

from partywall.tenants.commands import Commands, queue_command
from partywall.tenants.edits import EditLog
from partywall.tenants.features import Features
from partywall.tenants.tenants import Suspension, Tenants

__all__ = ["Commands", "EditLog", "Features", "Suspension", "Tenants", "queue_command"]
