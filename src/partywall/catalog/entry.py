"""One tenant as the catalog keeps it: packed, because a process may hold a hundred thousand of them."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from sys import intern
from typing import Final

from partywall.catalog.memory.versions import mark_of, version_of
from partywall.catalog.text.validation import revive
from partywall.model import Status, Strategy, TenantSpec
from partywall.names import PlanName, Region, Slug, TenantId

__all__ = ["Entry", "entry_of", "index_of", "indexed", "pack", "unpack", "unpacked"]

_INDEXED: Final = ("id", "slug", "plan", "status", "isolation", "region", "domains", "plain")
_STATUSES: Final = {str(status): status for status in Status}
_PACKED: Final = b"\x01"
_USUAL: Final = (
    b'{"id":"ten_","name":"","slug":"","type":"professional","status":"active","createdAt":"2026-01-05T09:00:00Z",'
    b'"owner":{"userId":"u-","email":"@","name":""},"settings":{"defaultModel":"model-","allowedModels":["",""],'
    b'"complianceFrameworks":["gdpr","soc2"],"dataResidency":"eu"},"quotas":{"maxUsers":,"maxProjects":,'
    b'"maxTokensPerMonth":,"maxStorageGB":,"maxConcurrentAgents":},"billing":{"stripeCustomerId":"cus_",'
    b'"subscriptionId":"sub_","billingEmail":""},"isolation":"database_level","rate_limits":{"api_requests":'
    b'{"maxRequests":,"windowMs":60000}},"domains":[""]}'
)
"""What most files say. Never edited: what was packed with it is in the caches."""
_DEFLATING: Final = zlib.compressobj(3, zlib.DEFLATED, -11, 5, zlib.Z_DEFAULT_STRATEGY, _USUAL)
_INFLATING: Final = zlib.decompressobj(-11, _USUAL)
_UNPACKED: Final = 1024
"""Tenants that are kept unpacked: those that were asked for last."""


def pack(data: bytes) -> bytes:
    """A tenant's data, made small."""
    deflating = _DEFLATING.copy()
    return _PACKED + deflating.compress(data) + deflating.flush()


def unpack(packed: bytes) -> bytes:
    """The data as JSON."""
    return _INFLATING.copy().decompress(packed[1:]) if packed.startswith(_PACKED) else packed


@dataclass(frozen=True, slots=True)
class Entry:
    """What one version of a tenant's file declares. Beside what is asked for all the time, it is compact JSON."""

    key: str
    """The file's path in the folder, such as ``tenants/acme.yaml``."""
    id: TenantId
    slug: Slug
    plan: PlanName
    status: Status
    isolation: Strategy | None
    region: Region | None
    domains: tuple[str, ...]
    plain: bool
    """Whether it overrides nothing of what its plan grants."""
    packed: bytes
    """The file's data, deflated JSON."""

    @property
    def spec(self) -> TenantSpec:
        """All of it."""
        return unpacked(self.packed)

    @property
    def version(self) -> str:
        """The version of what the file says: the same for files that say the same."""
        return _version(self.packed)

    @property
    def file(self) -> str:
        """The name of the file."""
        return self.key.rpartition("/")[2]


@lru_cache(maxsize=_UNPACKED)
def unpacked(packed: bytes) -> TenantSpec:
    """The model from the packed data of a file that was found well."""
    return revive(TenantSpec, unpack(packed))


@cache
def _release() -> str:
    return version("partywall")


def index_of(entry: Entry, mark: int) -> str:
    """The entry and its mark as the cache keeps them; this release reads only what it wrote itself."""
    parts = (getattr(entry, name) for name in _INDEXED)
    return json.dumps([_release(), f"{mark:x}", *parts])


def indexed(key: str, index: str, packed: bytes) -> tuple[Entry, int] | None:
    """The entry and its mark as the cache kept them; None when another release did."""
    release, mark, tenant_id, slug, plan, status, isolation, region, domains, plain = json.loads(index)
    if release != _release():
        return None
    entry = Entry(
        key=key,
        id=tenant_id,
        slug=slug,
        plan=PlanName(intern(plan)),
        status=_STATUSES[status],
        isolation=None if isolation is None else Strategy(isolation),
        region=None if region is None else Region(intern(region)),
        domains=tuple(domains),
        plain=plain,
        packed=packed,
    )
    return entry, int(mark, 16)


@lru_cache(maxsize=_UNPACKED)
def _version(packed: bytes) -> str:
    return version_of(mark_of(unpacked(packed)))


def entry_of(key: str, spec: TenantSpec, packed: bytes) -> Entry:
    """Pack what a file declares; the spec has its id."""
    settings = spec.settings
    own = (spec.quotas.model_fields_set, spec.isolation, spec.rate_limits, settings.allowed_models)
    return Entry(
        key=key,
        id=TenantId(str(spec.id)),
        slug=spec.slug,
        plan=PlanName(intern(spec.type)),
        status=spec.status,
        isolation=spec.isolation,
        region=None if settings.data_residency is None else Region(intern(settings.data_residency)),
        domains=spec.domains,
        plain=own == (set(), None, {}, None),
        packed=packed,
    )
