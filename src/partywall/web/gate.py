"""The request gate: which tenant, who is asking, may they come in. Every doubt is a refusal."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import logging
import secrets
from base64 import b32encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from partywall.clock import Clock, SystemClock
from partywall.context import TenantContext, entered
from partywall.errors import AuthenticationFailed, AuthenticationUnavailable, TenantAmbiguous, TenantNotFound
from partywall.names import TenantId, parse_tenant_id
from partywall.web.principal import Authenticate, Principal
from partywall.web.request import Request, Token
from partywall.web.signals import Signal, Signals

if TYPE_CHECKING:
    from partywall.directory import Directory

__all__ = ["Authenticate", "Gate"]

_log: Final = logging.getLogger("partywall.web")

_Answer: TypeAlias = Principal | AuthenticationFailed | None


@dataclass(frozen=True, slots=True)
class _Claim:
    """What is asked of ``authenticate``, and what is refused afterwards whatever it answers."""

    token: Token
    tenant_id: TenantId
    refusal: TenantNotFound | TenantAmbiguous | None = None


class Gate:
    """Admits requests into their tenant's context. Thread-safe; keeps no verdicts.

    ``timeout`` is how many seconds an awaited ``authenticate`` may take. One that is called from sync code
    cannot be interrupted: it must bring a time limit of its own.
    """

    def __init__(
        self,
        directory: Directory,
        authenticate: Authenticate,
        *,
        base_domain: str | None,
        clock: Clock | None = None,
        timeout: float = 10.0,
    ) -> None:
        self._directory = directory
        self._authenticate = authenticate
        self._signals = Signals(directory, base_domain)
        self._clock = clock or SystemClock()
        self._timeout = timeout
        self._decoys = secrets.token_bytes(32)

    def resolve(self, request: Request) -> TenantId:
        """The tenant that the request names, whatever its status and whoever asks.

        TenantRequired: none, or a malformed name; TenantAmbiguous: two; HostInvalid; TenantNotFound.
        """
        return self._signals.find(self._signals.read(request))

    def identify(self, request: Request) -> TenantContext:
        """The context of the request, not entered; raises what ``admit`` does."""
        claim = self._claim(request)
        return self._admitted(claim, self._answer(claim))

    async def identify_async(self, request: Request) -> TenantContext:
        """The awaitable twin of ``identify``; ``authenticate`` may be a coroutine function, or runs in a thread."""
        claim = self._claim(request)
        return self._admitted(claim, await self._awaited_answer(claim))

    @contextmanager
    def admit(self, request: Request) -> Iterator[TenantContext]:
        """Serve the request within the block, in its tenant's context.

        TenantRequired, TenantAmbiguous, HostInvalid: 400. AuthenticationFailed: no token, or a bad one.
        AuthenticationUnavailable: it could not be checked. TenantNotFound: no such tenant, or no member of it.
        Members only are told TenantSuspended, TenantDeleted or TenantPending.
        """
        with entered(self.identify(request)) as context:
            yield context

    @asynccontextmanager
    async def admit_async(self, request: Request) -> AsyncIterator[TenantContext]:
        """The awaitable twin of ``admit``."""
        with entered(await self.identify_async(request)) as context:
            yield context

    def _claim(self, request: Request) -> _Claim:
        signals = self._signals.read(request)
        token = request.bearer()
        if token is None:
            raise AuthenticationFailed("exactly one header 'Authorization: Bearer <token>' is required")
        try:
            return _Claim(token, self._signals.find(signals))
        except (TenantNotFound, TenantAmbiguous) as refusal:
            # Told only to those whose token is good, so that nobody else learns which tenants there are.
            return _Claim(token, self._decoy(signals), refusal)

    def _decoy(self, signals: list[Signal]) -> TenantId:
        """An id of no tenant: the same one for the same name, so that a cache answers as it would for a real one."""
        digest = hashlib.blake2b(repr(signals).encode(), key=self._decoys, digest_size=15).digest()
        return parse_tenant_id(f"ten_{b32encode(digest).decode().lower()}")

    def _answer(self, claim: _Claim) -> _Answer:
        try:
            verdict = self._authenticate(claim.token.secret, claim.tenant_id)
        except Exception as error:  # noqa: BLE001  # whatever goes wrong there, nobody is admitted
            return _refusal(error, claim.token)
        return _judged(verdict)

    async def _awaited_answer(self, claim: _Claim) -> _Answer:
        try:
            async with asyncio.timeout(self._timeout):
                verdict = await self._called(claim)
        except Exception as error:  # noqa: BLE001  # whatever goes wrong there, nobody is admitted
            return _refusal(error, claim.token)
        return _judged(verdict)

    async def _called(self, claim: _Claim) -> object:
        if inspect.iscoroutinefunction(self._authenticate):
            return await self._authenticate(claim.token.secret, claim.tenant_id)
        verdict = await asyncio.to_thread(self._authenticate, claim.token.secret, claim.tenant_id)
        return await verdict if inspect.isawaitable(verdict) else verdict

    def _admitted(self, claim: _Claim, answer: _Answer) -> TenantContext:
        if isinstance(answer, AuthenticationFailed):
            raise answer
        if claim.refusal is not None:
            raise claim.refusal
        if answer is None:
            # The very words that an unknown tenant gets.
            raise TenantNotFound("no such tenant")
        if not answer.valid_at(self._clock.now()):
            raise AuthenticationFailed("the token has expired")
        tenant_id = self._directory.require_active(claim.tenant_id)
        return TenantContext(tenant_id, self._directory.tenant(tenant_id), answer.user_id, answer.permissions)


def _judged(verdict: object) -> _Answer:
    if verdict is None or isinstance(verdict, Principal):
        return verdict
    if inspect.iscoroutine(verdict):
        verdict.close()
    _log.error("authenticate returned %s; Principal or None was expected", type(verdict).__name__)
    return _unavailable()


def _refusal(error: Exception, token: Token) -> AuthenticationFailed:
    """A new error, without the old one's frames and causes: they may hold the token."""
    if isinstance(error, AuthenticationFailed) and not isinstance(error, AuthenticationUnavailable):
        text = str(error)
        return AuthenticationFailed("the token is refused" if token.secret in text else text)
    _log.error("authenticate failed with %s", type(error).__name__)
    return _unavailable()


def _unavailable() -> AuthenticationUnavailable:
    return AuthenticationUnavailable("tokens cannot be checked now, so nobody is admitted; try again later")
