"""The Host header: what is a host name at all, and which part of it may be a tenant's slug."""

from __future__ import annotations

import re
from typing import Final

from partywall.errors import HostInvalid, InvalidArgument
from partywall.names import Slug, is_reserved_slug, parse_slug

__all__ = ["parse_host", "slug_under"]

_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")


def parse_host(text: str) -> str:
    """The host name in lower case, without its port and without one trailing dot; HostInvalid."""
    name, colon, port = text.partition(":")
    # ASCII before lower case: the Kelvin sign, made lower case, is a k.
    if not name.isascii() or (colon and not _is_port(port)):
        raise HostInvalid("the Host header is not a host name with an optional port")
    name = name.lower().removesuffix(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise HostInvalid("the Host header is not a host name with an optional port")
    return name


def slug_under(host: str, base_domain: str) -> Slug | None:
    """The slug in ``<slug>.<base_domain>``; None for the base domain itself and for reserved names such as www.

    HostInvalid for a host that is not directly under the base domain, or whose label is no slug.
    """
    if host == base_domain:
        return None
    label = host.removesuffix(f".{base_domain}")
    if label == host:
        raise HostInvalid("the Host header names no host of this service")
    if is_reserved_slug(label):
        return None
    try:
        return parse_slug(label)
    except InvalidArgument:
        raise HostInvalid("the Host header names no host of this service") from None


def _is_port(text: str) -> bool:
    return _PORT.fullmatch(text) is not None and int(text) <= 65_535
