"""A file that many tenants share: a tenant leaves it when it is written anew without it."""

from __future__ import annotations

import logging
from collections.abc import Collection
from contextlib import closing
from typing import ClassVar

import duckdb

from partywall.errors import BackendError
from partywall.names import TenantId
from partywall.sql import quote
from partywall_duckdb.files import Unusable
from partywall_duckdb.gate import PATIENCE, Busy
from partywall_duckdb.hub import Cursor, run
from partywall_duckdb.store import Store
from partywall_duckdb.tables import TENANT, fingerprint

__all__ = ["Shard"]

_log = logging.getLogger(__name__)


class Shard(Store):
    """Some of the tenants of a backend."""

    kind: ClassVar[str] = "shard"

    def expel(self, tenants: Collection[TenantId]) -> None:
        """Destroy everything of the tenants', by writing one new file without them. After BackendError: repeat it."""
        with self._housekeeping:
            self.require_sound()
            if not self._attached:
                return
            try:
                with self.gate.writes_stopped(PATIENCE):
                    if self._forget(tenants):
                        self._rewrite()
            except (Busy, Unusable, OSError, duckdb.Error) as error:
                _log.warning("%s: a purge was not finished: %s", self.place, error)
                raise BackendError("the tenant's data could not be destroyed yet; repeat the purge") from None

    def _forget(self, tenants: Collection[TenantId]) -> bool:
        """Delete the tenants; returns whether the file still has to be written anew, then or from an earlier time."""
        leaving = [tenant for tenant in tenants if tenant in self.tenants]
        with closing(self.hub.cursor()) as cursor:
            if leaving:
                run(cursor, "BEGIN TRANSACTION")
                for tenant in leaving:
                    self._contents.forget(cursor, tenant)
                    run(cursor, f"DELETE FROM {self._own('tenants')} WHERE {quote(TENANT)} = ?", [tenant])  # noqa: S608  # quoted names only
                run(cursor, f"UPDATE {self._own('stamp')} SET rewrite = true")  # noqa: S608  # quoted names only
                run(cursor, "COMMIT")
                self.tenants = self.tenants.difference(leaving)
            return run(cursor, f"SELECT rewrite FROM {self._own('stamp')}") == [(True,)]  # noqa: S608  # quoted names only

    def _rewrite(self) -> None:
        self._build(self._copy)
        try:
            with self.gate.all_stopped(PATIENCE):
                self._detach()
                try:
                    self._files.finish()
                    self._files.adopt()
                finally:
                    self._open()
        finally:
            self._files.discard()
        self.require_sound()

    def _copy(self, cursor: Cursor, new: str) -> None:
        self._contents.copy(cursor, new, self.tenants)
        run(cursor, f"INSERT INTO {self._own('tenants', new)} SELECT * FROM {self._own('tenants')}")  # noqa: S608  # quoted names only
        if fingerprint(cursor, self._alias) != fingerprint(cursor, new):
            raise Unusable("its copy is not equal to it")
