"""Three tenants over the real catalog and ledger, and an embedder's table of tokens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from partywall.catalog import Catalog
from partywall.clock import ManualClock
from partywall.directory import Directory
from partywall.errors import AuthenticationFailed
from partywall.ledger import LifecycleRecord, SqliteLedger
from partywall.model import Status
from partywall.names import TenantId
from partywall.web import Gate, Principal, Request

PLANS = """\
plans:
  starter:
    name: Starter
    price: 0
    quotas: {maxUsers: 5, maxProjects: 5, maxTokensPerMonth: 5, maxStorageGB: 5, maxConcurrentAgents: 5}
    features: []
    rate_limits: {api_requests: {maxRequests: 100, windowMs: 60000}}
"""
TENANT = """\
id: ten_{slug}
name: {slug}
slug: {slug}
type: starter
status: active
owner: {{userId: u1, email: ann@acme.test, name: Ann}}
domains: [{domains}]
"""
DOMAINS = {"acme": "app.acme.test, xn--bcher-kva.test", "beta": "app.beta.test, acme.example.com", "gone": ""}


class World:
    """A gate, and everything behind it."""

    def __init__(self, folder: Path) -> None:
        tenancy = folder / "data" / "system" / "tenancy"
        (tenancy / "tenants").mkdir(parents=True)
        (tenancy / "plans.yaml").write_text(PLANS)
        (tenancy / "tables.yaml").write_text("tables: {projects: {columns: {name: {type: text}}}}\n")
        for slug, domains in DOMAINS.items():
            (tenancy / "tenants" / f"{slug}.yaml").write_text(TENANT.format(slug=slug, domains=domains))
        self.clock = ManualClock()
        self.catalog = Catalog(folder / "data", clock=self.clock, watch=False)
        self.ledger = SqliteLedger(folder / "ledger.sqlite")
        self.directory = Directory(self.catalog, self.ledger)
        self.asked: list[tuple[str, TenantId]] = []
        self.members = {
            ("token-a", "ten_acme"): Principal("ann", frozenset({"projects:read"})),
            ("token-b", "ten_beta"): Principal("bob", frozenset({"projects:write"})),
            ("token-g", "ten_gone"): Principal("gus"),
        }
        self.gate = self.gated(base_domain="example.com")

    def authenticate(self, token: str, tenant_id: TenantId) -> Principal | None:
        """As an embedder would: by token and tenant together."""
        self.asked.append((token, tenant_id))
        if token not in {known for known, _ in self.members}:
            raise AuthenticationFailed("unknown token")
        return self.members.get((token, tenant_id))

    def gated(self, authenticate=None, **options) -> Gate:
        options = {"base_domain": None, "clock": self.clock, **options}
        return Gate(self.directory, authenticate or self.authenticate, **options)

    def put(self, tenant_id: str, status: Status) -> None:
        record = LifecycleRecord(TenantId(tenant_id), self.directory.spec(tenant_id).slug, status)
        self.ledger.write(lambda tx: tx.put_lifecycle(record))
        self.directory.impose(record)

    @staticmethod
    def request(token="token-a", *, tenant=None, host=None, slug=None, extra=()) -> Request:
        headers = [("Host", host)] if host is not None else []
        headers += [("X-Tenant-Id", tenant)] if tenant is not None else []
        headers += [("Authorization", f"Bearer {token}")] if token is not None else []
        return Request([*headers, *extra], slug=slug)

    def close(self) -> None:
        self.ledger.close()
        self.catalog.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def still_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One that the tests of a module share, because none of them changes it."""
    made = World(tmp_path_factory.mktemp("still"))
    yield made
    made.close()
