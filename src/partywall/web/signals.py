"""What a request says about its tenant: by path, by header and by host. None of them takes precedence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from partywall.errors import HostInvalid, InvalidArgument, TenantAmbiguous, TenantNotFound, TenantRequired
from partywall.names import TenantId, is_tenant_id, parse_slug
from partywall.web.hosts import parse_host, slug_under
from partywall.web.request import Request

if TYPE_CHECKING:
    from partywall.directory import Directory

__all__ = ["Signal", "Signals"]


class Signal(NamedTuple):
    """One name of a tenant, well-formed; whether there is such a tenant is not known yet."""

    kind: Literal["id", "slug", "domain"]
    text: str


class Signals:
    """Reads the signals of requests."""

    def __init__(self, directory: Directory, base_domain: str | None) -> None:
        self._directory = directory
        self._base_domain = None if base_domain is None else _base(base_domain)

    def read(self, request: Request) -> list[Signal]:
        """The request's signals, one at least, and no two that contradict each other as they stand.

        Raises TenantRequired, TenantAmbiguous or HostInvalid, without looking any tenant up but by its domain.
        """
        named = [_path(request), _header(request), self._host(request)]
        signals = list(dict.fromkeys(signal for signal in named if signal is not None))
        if not signals:
            raise TenantRequired("the request names no tenant; send X-Tenant-Id, or use the tenant's own host")
        if len({signal.kind for signal in signals}) < len(signals):
            raise _ambiguous()
        return signals

    def find(self, signals: list[Signal]) -> TenantId:
        """The tenant that all signals name; TenantNotFound, or TenantAmbiguous."""
        found = {self._tenant(signal) or signal for signal in signals}
        if len(found) > 1:
            raise _ambiguous()
        (only,) = found
        if isinstance(only, Signal):
            raise TenantNotFound("no such tenant")
        return only

    def _tenant(self, signal: Signal) -> TenantId | None:
        if signal.kind == "domain":
            return self._directory.by_domain(signal.text)
        try:
            return self._directory.find(signal.text)
        except TenantNotFound:
            return None

    def _host(self, request: Request) -> Signal | None:
        values = request.values("host")
        if len(values) > 1:
            raise HostInvalid("the request has more than one Host header")
        if not values:
            return None
        return self._own_domain(values[0]) if self._base_domain is None else self._under(self._base_domain, values[0])

    def _own_domain(self, value: str) -> Signal | None:
        """Without a base domain any host may reach the service: only those that tenants declare mean anything."""
        try:
            host = parse_host(value)
        except HostInvalid:
            return None
        return Signal("domain", host) if self._directory.by_domain(host) else None

    def _under(self, base_domain: str, value: str) -> Signal | None:
        host = parse_host(value)
        try:
            slug = slug_under(host, base_domain)
        except HostInvalid:
            if self._directory.by_domain(host) is None:
                raise
            return Signal("domain", host)
        return None if slug is None else Signal("slug", slug)


def _path(request: Request) -> Signal | None:
    return None if request.slug is None else _reference(request.slug, "the path")


def _header(request: Request) -> Signal | None:
    values = request.values("x-tenant-id")
    if len(values) > 1:
        raise TenantAmbiguous("the request has more than one X-Tenant-Id header")
    return _reference(values[0], "X-Tenant-Id") if values else None


def _reference(text: object, source: str) -> Signal:
    """An id or a slug exactly as it is written: another spelling of it is refused, not repaired."""
    if isinstance(text, str) and is_tenant_id(text):
        return Signal("id", text)
    try:
        return Signal("slug", parse_slug(text))
    except InvalidArgument:
        raise TenantRequired(f"{source} holds no tenant id and no slug") from None


def _ambiguous() -> TenantAmbiguous:
    return TenantAmbiguous("the request names more than one tenant")


def _base(base_domain: str) -> str:
    try:
        legal = parse_host(base_domain) == base_domain
    except HostInvalid:
        legal = False
    if not legal:
        raise InvalidArgument("base_domain is a host name in lower case, without a port or a trailing dot")
    return base_domain
