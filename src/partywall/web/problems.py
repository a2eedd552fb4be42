"""An error as a response: RFC 9457 problem documents."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Final, NamedTuple

from partywall.errors import PartywallError

__all__ = ["ProblemResponse", "problem"]

_RETRY_SECONDS: Final = 5.0
"""When to come back to what is down: nobody knows, and this does no harm."""


class ProblemResponse(NamedTuple):
    """What to send."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: Mapping[str, str | int]
    """``type``, ``title``, ``status`` and ``detail``."""

    def encoded(self) -> bytes:
        """The body as JSON."""
        return json.dumps(self.body).encode()


def problem(error: PartywallError) -> ProblemResponse:
    """The response to an error.

    Equal errors give equal bytes. What went wrong inside (500 and above) is not told to clients.
    """
    body: dict[str, str | int] = {
        "type": error.problem_type,
        "title": error.code.replace("-", " ").capitalize(),
        "status": error.status,
        "detail": _detail(error),
    }
    return ProblemResponse(error.status, tuple(_headers(error).items()), body)


def _detail(error: PartywallError) -> str:
    if error.status < 500:
        return str(error)
    if error.status == 503:
        return "the service cannot answer this now; try again later"
    return "the request could not be served"


def _headers(error: PartywallError) -> dict[str, str]:
    headers = {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status in (429, 503):
        seconds = float(getattr(error, "retry_after", _RETRY_SECONDS))
        # A window that never opens again has no moment to come back at.
        if math.isfinite(seconds):
            headers["Retry-After"] = str(max(1, math.ceil(seconds)))
    return headers
