"""Raw SQL: a statement that a tenant wrote itself, run under the tier that the operator chose, or refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any, Final, TypeAlias

from partywall.backend import Row, Session, Sql
from partywall.errors import PartywallError, PermissionDenied, QueryError
from partywall.isolation.execution import Execution
from partywall.isolation.scope import Scope, Unit, unit_of
from partywall.isolation.sealed import Sealed
from partywall.isolation.statements import Guard
from partywall.model import ColumnType, SqlConfig, SqlTier, encode
from partywall.names import ColumnName, parse_column

__all__ = ["Parameters", "RawSql"]

Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]
"""Values for ``?`` and ``$1``, or by name for ``$name``."""

_LONGEST: Final = 64_000
_MOST_PARAMETERS: Final = 1_000
_LONGEST_LIST: Final = 10_000
_LARGEST: Final = 1_000_000
"""Characters or bytes of all parameters together."""
_LOOK: Final = 0.1
"""Seconds between two looks at whether a statement is still wanted."""
_KINDS: Final[dict[type, ColumnType]] = {
    bool: ColumnType.BOOLEAN,  # before int, as datetime before date: each is one of the other too
    int: ColumnType.INTEGER,
    float: ColumnType.FLOAT,
    str: ColumnType.TEXT,
    bytes: ColumnType.BYTES,
    datetime: ColumnType.TIMESTAMP,
    date: ColumnType.DATE,
}


class RawSql:
    """Runs tenants' own statements, within limits of time, rows and size."""

    def __init__(self, tier: Callable[[str], SqlTier], sealed: Sealed, guard: Guard, limits: SqlConfig) -> None:
        self._tier = tier
        self._sealed = sealed
        self._guard = guard
        self._limits = limits

    def run(self, find: Callable[[], Scope], text: str, params: Parameters | None, limit: int | None) -> list[Row]:
        """The rows of the statement; PermissionDenied where it is refused, QueryError for what it says."""
        self._require_tier(find())
        most = self._most(limit)
        statement = Sql(_text(text), _parameters(params), most + 1)
        rows = self._answered(find, statement)
        if len(rows) > most:
            raise QueryError(f"the statement returns more than {most:,} rows; write a LIMIT into it")
        return [dict(row) for row in rows]

    def _require_tier(self, scope: Scope) -> SqlTier:
        scope.require_active()
        tier = self._tier(scope.placement.backend)
        if tier is SqlTier.REFUSED:
            raise PermissionDenied(
                f"raw SQL is refused at {scope.placement.strategy}; use select(), aggregate() and the other methods, "
                "or ask the operator for a strategy or a tier (sql: in engine.yaml) that runs it"
            )
        return tier

    def _answered(self, find: Callable[[], Scope], statement: Sql) -> Sequence[Row]:
        seconds = self._limits.timeout_seconds

        with unit_of(find, writes=False, transactional=self._is_sealed, timeout=seconds) as (scope, unit):
            # Asked of the scope that the unit belongs to: the tenant may have moved meanwhile.
            if self._require_tier(scope) is SqlTier.VALIDATED:
                return unit.run(lambda session: _bounded(unit, session, statement, seconds))
            execution = Execution(self._guard, scope)
            return self._sealed.run(scope.placement.tenant_id, unit, execution, self._guard.tables, statement)

    def _is_sealed(self, scope: Scope) -> bool:
        """Its rows are read in several statements, all of one moment; a validated one is a transaction of its own."""
        return self._tier(scope.placement.backend) is SqlTier.SEALED

    def _most(self, limit: int | None) -> int:
        if limit is None:
            return self._guard.max_rows
        if type(limit) is not int or not 0 <= limit <= self._guard.max_rows:
            raise QueryError(f"limit takes a whole number from 0 to {self._guard.max_rows:,}, or None")
        return limit


def _bounded(unit: Unit, session: Session, statement: Sql, seconds: float) -> Sequence[Row]:
    with _deadline(unit, session.interrupt, seconds):
        return session.sql(statement)


@contextmanager
def _deadline(unit: Unit, interrupt: Callable[[], None], seconds: float) -> Iterator[None]:
    """Interrupt the block after so many seconds, or once the unit is cancelled; when late it ends in QueryError.

    Again and again until it ends: an interrupt between two steps of the statement is missed by the store.
    """
    ended, late = threading.Event(), threading.Event()
    deadline = time.monotonic() + seconds

    def watch() -> None:
        while not ended.wait(min(max(deadline - time.monotonic(), 0.01), _LOOK)):
            if time.monotonic() >= deadline:
                late.set()
            if late.is_set() or unit.cancelled:
                interrupt()

    watcher = threading.Thread(target=watch, name="partywall-deadline", daemon=True)
    watcher.start()
    try:
        yield
    except PartywallError:
        if late.is_set():
            raise QueryError(f"the statement took longer than {seconds:g} s; ask for less") from None
        raise
    finally:
        ended.set()
        watcher.join()


def _text(text: Any) -> str:
    if type(text) is not str or not text.strip():
        raise QueryError("sql() takes the text of one SELECT")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise QueryError("the statement holds half of a surrogate pair") from None
    if size > _LONGEST or "\0" in text:
        raise QueryError(f"a statement has at most {_LONGEST:,} bytes of UTF-8, and no NUL")
    return text


def _parameters(params: Any) -> Parameters:
    if params is None:
        return ()
    if isinstance(params, Mapping):
        named: dict[str, Any] = {_name(name): _value(value) for name, value in params.items()}
        _require_few(list(named.values()))
        return named
    if isinstance(params, Sequence) and not isinstance(params, str | bytes | bytearray):
        listed = [_value(value) for value in params]
        _require_few(listed)
        return listed
    raise QueryError("params takes a list of values for ? and $1, or a mapping of names to values for $name")


def _require_few(values: Sequence[Any]) -> None:
    if len(values) > _MOST_PARAMETERS or sum(map(_size, values)) > _LARGEST:
        raise QueryError(
            f"a statement takes at most {_MOST_PARAMETERS:,} parameters, of {_LARGEST:,} characters together"
        )


def _name(name: Any) -> ColumnName:
    if type(name) is not str:
        raise QueryError("the names of parameters are texts")
    return parse_column(name)


def _value(value: Any) -> Any:
    """The value as a plain one of its type: a subclass may show itself as something else."""
    if isinstance(value, list | tuple):
        if len(value) > _LONGEST_LIST:
            raise QueryError(f"a list of more than {_LONGEST_LIST:,} values; ask in parts")
        return [_scalar(each) for each in value]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if value is None:
        return None
    for python, kind in _KINDS.items():
        if isinstance(value, python):
            return encode(kind, value, "a parameter")
    raise QueryError(
        "a parameter is a text, an int of 64 bits, a finite number, True, False, None, bytes, a date, a datetime with "
        "a time zone, or a list of them"
    )


def _size(value: Any) -> int:
    if isinstance(value, list):
        return sum(map(_size, value))
    return len(value) if isinstance(value, str | bytes) else 8
