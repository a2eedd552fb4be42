"""The error tree: every refusal has a type, a stable code, an HTTP status and an exit code.

    PartywallError
    ├── ConfigError              a file or a setting is wrong; carries every problem with its place
    ├── InvalidArgument          an argument that no state could make right
    ├── TenantRequired           nobody said which tenant
    │   ├── TenantAmbiguous      two sources named two tenants
    │   └── HostInvalid          the Host header is not one that may name a tenant
    ├── TenantNotFound           unknown tenant, or one that the caller may not know of
    ├── TenantPending            created, not yet in service
    ├── TenantSuspended          every operation is refused until the tenant is resumed
    ├── TenantDeleted            deleted, within its retention
    ├── TenantConflict           a slug, id or version is taken, or the change does not fit the tenant's status
    │   └── ReservationEnded     a reservation was committed, released or expired before
    ├── QuotaExceeded            the plan must change, or something must be given back
    ├── FeatureNotInPlan         the plan must change
    ├── RateLimited              waiting helps; carries retry_after in seconds
    ├── AuthenticationFailed     no token, or a bad one
    │   └── AuthenticationUnavailable   whoever checks tokens did not answer; nothing is admitted
    ├── PermissionDenied         a known user may not do this
    ├── QueryError               unknown table or column, wrong type, a foreign tenant id
    │   └── ConstraintViolation  a key is taken, or a reference points nowhere
    ├── BackendError             the store below failed; nothing was written
    │   └── BackendNotFound      no installed backend offers what the plan asks for
    ├── LedgerError              the ledger is down, full or newer than this release
    │   └── DataFolderInUse      another engine owns the folder; names its pid
    └── IsolationBreach          a wall was about to be crossed; never swallowed

Texts speak of the caller's own tenant and arguments only. Every error pickles with all of its fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = [
    "AuthenticationFailed",
    "AuthenticationUnavailable",
    "BackendError",
    "BackendNotFound",
    "ConfigError",
    "ConstraintViolation",
    "DataFolderInUse",
    "FeatureNotInPlan",
    "HostInvalid",
    "InvalidArgument",
    "IsolationBreach",
    "LedgerError",
    "PartywallError",
    "PermissionDenied",
    "Problem",
    "QueryError",
    "QuotaExceeded",
    "RateLimited",
    "ReservationEnded",
    "TenantAmbiguous",
    "TenantConflict",
    "TenantDeleted",
    "TenantNotFound",
    "TenantPending",
    "TenantRequired",
    "TenantSuspended",
]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in one file: where (1-based line and column), and what to do."""

    file: str
    line: int
    column: int
    message: str
    path: str = ""
    """Where in the document, as ``plans.free.quotas.maxUsers``; empty for the document itself."""

    def __str__(self) -> str:
        at = f" at {self.path}" if self.path else ""
        return f"{self.file}:{self.line}:{self.column}: {self.message}{at}"


def _rebuild(cls: type[PartywallError], args: tuple[Any, ...], state: dict[str, Any]) -> PartywallError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class PartywallError(Exception):
    """Base of every error that partywall raises on purpose."""

    code: ClassVar[str] = "error"
    """Stable, in kebab-case; the last part of the problem type."""
    status: ClassVar[int] = 500
    """The HTTP status that a response to this error carries."""
    exit_code: ClassVar[int] = 1
    """What the command line exits with."""

    @property
    def problem_type(self) -> str:
        """The ``type`` member of an RFC 9457 problem document."""
        return f"urn:partywall:problem:{self.code}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


class ConfigError(PartywallError):
    """Files or settings are wrong; ``problems`` holds every one of them with its place."""

    code = "config-invalid"
    exit_code = 78

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join([message, *map(str, self.problems)]))


class InvalidArgument(PartywallError, ValueError):
    """An argument that no state could make right: names the argument and what is accepted."""

    code = "argument-invalid"
    status = 400
    exit_code = 2


class TenantRequired(PartywallError):
    """No tenant was named and no tenant context is set. There is no default tenant."""

    code = "tenant-missing"
    status = 400
    exit_code = 2


class TenantAmbiguous(TenantRequired):
    """Two sources of one request name two tenants, or one names two; none takes precedence."""

    code = "tenant-ambiguous"


class HostInvalid(TenantRequired):
    """The Host header is malformed or outside the base domain."""

    code = "host-invalid"


class TenantNotFound(PartywallError):
    """No such tenant, or none that the caller may know of: the two answers are the same."""

    code = "tenant-not-found"
    status = 404
    exit_code = 4


class TenantPending(PartywallError):
    """The tenant exists and is not in service yet."""

    code = "tenant-pending"
    status = 403
    exit_code = 5


class TenantSuspended(PartywallError):
    """The tenant is suspended: every operation of every handle is refused until it is resumed."""

    code = "tenant-suspended"
    status = 403
    exit_code = 5


class TenantDeleted(PartywallError):
    """The tenant is deleted and within its retention: it can be restored until it is purged."""

    code = "tenant-deleted"
    status = 410
    exit_code = 5


class TenantConflict(PartywallError):
    """The change collides with what is there: a slug in use, an edit in between, a status that forbids it.

    When the caller named the version of the file that it saw and another is there, ``version`` is the one that is
    there, and ``diff`` a unified diff from what was seen to it, or None if what was seen is not known any more.
    """

    code = "tenant-conflict"
    status = 409
    exit_code = 6

    def __init__(self, message: str, *, diff: str | None = None, version: str | None = None) -> None:
        self.diff = diff
        self.version = version
        super().__init__(message)


class ReservationEnded(TenantConflict):
    """The reservation was settled before, and nothing was counted or given back now.

    ``state`` says how: ``committed``, ``released``, ``expired``, or ``unknown`` once it is forgotten.
    """

    code = "reservation-ended"

    def __init__(self, message: str, *, state: str) -> None:
        self.state = state
        super().__init__(message)


class QuotaExceeded(PartywallError):
    """The quota has no room for the amount; nothing was counted. Waiting does not help: status 402."""

    code = "quota-exceeded"
    status = 402
    exit_code = 7

    def __init__(
        self, message: str, *, quota: str, current: int, limit: int, requested: int, reserved: int = 0
    ) -> None:
        self.quota = quota
        self.current = current
        self.reserved = reserved
        self.limit = limit
        self.requested = requested
        super().__init__(message)


class FeatureNotInPlan(PartywallError):
    """The tenant's plan does not grant the feature."""

    code = "feature-not-in-plan"
    status = 402
    exit_code = 7

    def __init__(self, message: str, *, feature: str, plan: str) -> None:
        self.feature = feature
        self.plan = plan
        super().__init__(message)


class RateLimited(PartywallError):
    """The window is used up; ``retry_after`` seconds from now a call is admitted again."""

    code = "rate-limited"
    status = 429
    exit_code = 8

    def __init__(self, message: str, *, action: str, limit: int, retry_after: float) -> None:
        self.action = action
        self.limit = limit
        self.retry_after = retry_after
        super().__init__(message)


class AuthenticationFailed(PartywallError):
    """No token, or one that the embedder's check refuses."""

    code = "authentication-failed"
    status = 401
    exit_code = 9


class AuthenticationUnavailable(AuthenticationFailed):
    """Whoever checks tokens did not answer; nothing is admitted meanwhile."""

    code = "authentication-unavailable"
    status = 503


class PermissionDenied(PartywallError):
    """The user is known and may not do this."""

    code = "permission-denied"
    status = 403
    exit_code = 9


class QueryError(PartywallError):
    """A statement names an unknown table or column, holds a value of the wrong type, or a foreign tenant id."""

    code = "query-invalid"
    status = 400
    exit_code = 2


class ConstraintViolation(QueryError):
    """A key of the tenant's own is taken, or a reference points to no row of the tenant's own."""

    code = "constraint-violation"
    status = 409


class BackendError(PartywallError):
    """The store below failed; the statement or transaction wrote nothing."""

    code = "backend-failed"
    status = 503
    exit_code = 10


class BackendNotFound(BackendError):
    """No installed backend offers the isolation strategy, or the placement's backend is gone."""

    code = "backend-not-found"


class LedgerError(PartywallError):
    """The ledger is down, full, or of a newer release; what needed it was refused."""

    code = "ledger-failed"
    status = 503
    exit_code = 11


class DataFolderInUse(LedgerError):
    """Another engine process owns the data folder; ``pid`` says which."""

    code = "data-folder-in-use"

    def __init__(self, message: str, *, pid: int | None) -> None:
        self.pid = pid
        super().__init__(message)


class IsolationBreach(PartywallError):
    """A wall was about to be crossed; the operation was stopped. Never catch and ignore it."""

    code = "isolation-breach"
    status = 500
    exit_code = 12
