"""What the gate looks at: raw headers, before any framework has joined, chosen or rebuilt anything."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from partywall.errors import InvalidArgument

__all__ = ["Headers", "Request", "Token"]

Headers: TypeAlias = Mapping[str, str] | Sequence[tuple[str | bytes, str | bytes]]

# RFC 6750, section 2.1; the scheme's name is case-insensitive by RFC 9110.
_BEARER: Final = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] ([A-Za-z0-9._~+/-]+=*)")
_LONGEST_TOKEN: Final = 8_192


class Token:
    """A bearer token that does not show itself in logs or tracebacks."""

    __slots__ = ("secret",)

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def __repr__(self) -> str:
        return "<token>"


@dataclass(frozen=True, slots=True)
class Request:
    """A request's headers in the order of arrival, repetitions included, and the tenant that its path names."""

    headers: Headers = field(repr=False)
    """Pairs as ASGI has them, or a mapping. They hold the token, so that they are never shown."""
    slug: str | None = None
    """The slug or id that the route took from the path; None where paths name no tenant."""

    def values(self, name: str) -> list[str]:
        """Every value of a header, whatever the case of its name; raw bytes are read as Latin-1."""
        pairs: Iterable[tuple[str | bytes, str | bytes]]
        pairs = self.headers.items() if isinstance(self.headers, Mapping) else self.headers
        return [_text(value) for key, value in pairs if _text(key).lower() == name]

    def bearer(self) -> Token | None:
        """The token of the one and well-formed Authorization header; None otherwise."""
        values = self.values("authorization")
        match = _BEARER.fullmatch(values[0]) if len(values) == 1 else None
        return Token(match[1]) if match and len(match[1]) <= _LONGEST_TOKEN else None


def _text(value: str | bytes) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, str):
        return value
    raise InvalidArgument("headers are pairs of texts or bytes")
