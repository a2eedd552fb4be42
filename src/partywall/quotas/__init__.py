"""Quotas and usage: what a tenant has, the most it may have, and counting that loses nothing."""

from partywall.quotas.counters import COUNTED
from partywall.quotas.counting import Crossing, crossing_of
from partywall.quotas.history import PeriodTotal, UsageDifference
from partywall.quotas.holds import Hold
from partywall.quotas.places import Places
from partywall.quotas.quotas import Quotas
from partywall.quotas.report import QuotaReport, QuotaStatus
from partywall.quotas.reservation import Reservation, Settlement
from partywall.quotas.tenants import Tenants
from partywall.quotas.usage import Gauge, Usage

__all__ = [
    "COUNTED",
    "Crossing",
    "Gauge",
    "Hold",
    "PeriodTotal",
    "Places",
    "QuotaReport",
    "QuotaStatus",
    "Quotas",
    "Reservation",
    "Settlement",
    "Tenants",
    "Usage",
    "UsageDifference",
    "crossing_of",
]
