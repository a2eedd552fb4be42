from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from partywall.catalog import Catalog, CatalogChange
from partywall.clock import ManualClock

PLANS = """\
plans:
  free:
    name: "Free"
    price: 0
    quotas:
      maxUsers: 1
      maxProjects: 3
      maxTokensPerMonth: 100000
      maxStorageGB: 1
      maxConcurrentAgents: 2
    features:
      - basic_orchestration
    rate_limits:
      api_requests: { maxRequests: 100, windowMs: 60000 }
      agent_spawns: { maxRequests: 10, windowMs: 60000 }
    retentionDays: 7

  starter:
    name: "Starter"
    price: 29
    quotas:
      maxUsers: 5
      maxProjects: 10
      maxTokensPerMonth: 1000000
      maxStorageGB: 10
      maxConcurrentAgents: 5
    features:
      - basic_orchestration
      - custom_skills
      - priority_support
    rate_limits:
      api_requests: { maxRequests: 500, windowMs: 60000 }
      agent_spawns: { maxRequests: 50, windowMs: 60000 }
    retentionDays: 30

  professional:
    name: "Professional"
    price: 99
    quotas:
      maxUsers: 25
      maxProjects: 50
      maxTokensPerMonth: 5000000
      maxStorageGB: 100
      maxConcurrentAgents: 15
    features:
      - basic_orchestration
      - custom_skills
      - custom_agents
      - compliance_tools
      - priority_support
    rate_limits:
      api_requests: { maxRequests: 2000, windowMs: 60000 }
      agent_spawns: { maxRequests: 200, windowMs: 60000 }
    retentionDays: 60

  enterprise:
    name: "Enterprise"
    price: custom
    quotas:
      maxUsers: unlimited
      maxProjects: unlimited
      maxTokensPerMonth: unlimited
      maxStorageGB: unlimited
      maxConcurrentAgents: 50
    features:
      - all
      - sso
    rate_limits:
      api_requests: { maxRequests: 10000, windowMs: 60000 }
      agent_spawns: { maxRequests: 1000, windowMs: 60000 }
    isolation: schema_level  # Enhanced isolation for enterprise
    retentionDays: 90
"""
ENGINE = """\
base_domain: partywall.test
regions: {us: data-us, eu: data-eu}
reload: {sweep_seconds: 0.5, vanish_seconds: 2.0}
"""
TABLES = """\
tables:
  projects:
    columns:
      name: {type: text, required: true}
"""


def tenant_text(slug: str, *, plan: str = "free", more: str = "", tenant_id: str | None = None) -> str:
    """A small tenant's file; the id is made from the slug."""
    identity = tenant_id or f"ten_{slug.replace('-', '')}0001"
    return (
        f"id: {identity}\nname: {slug.title()}\nslug: {slug}\ntype: {plan}\nstatus: active\n"
        f"owner:\n  userId: u1\n  email: a@{slug}.test\n  name: Ann\n{more}"
    )


class Files:
    """The files under a data folder, and the catalogs that were opened on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tenancy = root / "system" / "tenancy"
        self.tenants = self.tenancy / "tenants"
        self.tenants.mkdir(parents=True)
        self.clock = ManualClock()
        self.opened: list[Catalog] = []
        self.write("plans.yaml", PLANS)
        self.write("engine.yaml", ENGINE)
        self.write("tables.yaml", TABLES)

    def write(self, key: str, text: str | bytes) -> Path:
        """Save in place, as some editors do."""
        path = self.tenancy / key
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def rename_over(self, key: str, text: str) -> None:
        """Save by renaming a finished file into place, as other editors do."""
        path = self.tenancy / key
        temporary = path.with_name(f".{path.name}.swp")
        temporary.write_text(text)
        temporary.replace(path)

    def tenant(self, slug: str, *, plan: str = "free", more: str = "", tenant_id: str | None = None) -> str:
        text = tenant_text(slug, plan=plan, more=more, tenant_id=tenant_id)
        self.write(f"tenants/{slug}.yaml", text)
        return text

    def text(self, key: str) -> str:
        return (self.tenancy / key).read_bytes().decode()

    def open(self, *, watch: bool = False, clock: ManualClock | None = None) -> Catalog:
        catalog = Catalog(self.root, clock=clock or self.clock, watch=watch)
        self.opened.append(catalog)
        return catalog

    def reopen(self) -> Catalog:
        self.opened.pop().close()
        return self.open()


class Heard:
    """A listener that can be waited for."""

    def __init__(self, catalog: Catalog) -> None:
        self.changes: list[CatalogChange] = []
        self._condition = threading.Condition()
        catalog.subscribe(self._hear)

    def _hear(self, change: CatalogChange) -> None:
        with self._condition:
            self.changes.append(change)
            self._condition.notify_all()

    def until(self, wanted: Callable[[CatalogChange], bool], seconds: float = 20) -> CatalogChange:
        with self._condition:
            found = self._condition.wait_for(lambda: next(filter(wanted, self.changes), None), seconds)
        assert found is not None, f"not published within {seconds} s; heard {self.changes}"
        return found


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    made = Files(tmp_path / "data")
    yield made
    for catalog in made.opened:
        catalog.close()


@pytest.fixture
def heard() -> type[Heard]:
    return Heard
