"""Quotas and usage: what a tenant has, the most it may have, and counting that loses nothing."""

from partywall.quotas.quotas import Quotas
from partywall.quotas.report import QuotaReport, QuotaStatus
from partywall.quotas.tenants import Tenants
from partywall.quotas.usage import Gauge, Usage

__all__ = ["Gauge", "QuotaReport", "QuotaStatus", "Quotas", "Tenants", "Usage"]
