"""The steps of the demo, each on the engine that the ones before it left."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from examples.demo.stage import Stage

from partywall import (
    ConstraintViolation,
    Engine,
    FeatureNotInPlan,
    IsolationBreach,
    PartywallError,
    PermissionDenied,
    QueryError,
    QuotaExceeded,
    RateLimited,
    TenantDeleted,
    TenantNotFound,
    TenantRequired,
    TenantSuspended,
    current_tenant,
    require_tenant,
)
from partywall.model import Tenant
from partywall.web import Principal, Request

TOKENS = {"ann-of-acme": ("acme", "ann"), "bob-of-beta": ("beta-labs", "bob")}


class Cast:
    """The tenants of the sample data, by name."""

    def __init__(self, engine: Engine) -> None:
        self.acme = engine.tenants.get_by_slug("acme")
        self.beta = engine.tenants.get_by_slug("beta-labs")
        self.corner = engine.tenants.get_by_slug("corner-shop")
        self.delta = engine.tenants.get_by_slug("delta-bank")


def introduce(stage: Stage, engine: Engine) -> None:
    """Who is here."""
    stage.step("One process, four organisations")
    for tenant in engine.tenants.list():
        quotas = tenant.quotas
        projects = "unlimited" if quotas.projects is None else quotas.projects
        stage.line(
            f"{tenant.slug} is on plan {tenant.plan}",
            f"{tenant.isolation}, projects: {projects}, concurrent agents: {quotas.agents}, id {tenant.id}",
            good=tenant.status == "active",
        )


async def _agent(engine: Engine, tenant: Tenant, number: int) -> str:
    query = await engine.aio.query()  # no tenant is named: the agent's own context says whose it is
    for task in range(5):
        await query.insert("projects", {"name": f"{tenant.name} project {number}.{task}", "metadata": {"by": number}})
    return require_tenant().tenant_id


async def _agents(engine: Engine, tenants: list[Tenant]) -> list[str]:
    agents = [engine.agents.spawn(each.id, _agent(engine, each, number)) for each in tenants for number in range(2)]
    return list(await asyncio.gather(*(agent.wait() for agent in agents)))


def work_concurrently(stage: Stage, engine: Engine, cast: Cast) -> None:
    """Eight agents of four tenants write at once."""
    stage.step("Agents of all tenants at work at once, in tasks of one loop")
    tenants = [cast.acme, cast.beta, cast.corner, cast.delta]
    whose = asyncio.run(_agents(engine, tenants))
    stage.line("8 agents insert 5 projects each", f"each ran as its own tenant: {len(set(whose))} tenants, 8 agents")
    for tenant in tenants:
        rows = engine.query(tenant.id).select("projects")
        mine = all(row["name"].startswith(tenant.name) for row in rows)
        stage.line(f"{tenant.slug} counts its projects", f"{len(rows)}, all its own", good=len(rows) == 10 and mine)


def meet_the_wall(stage: Stage, engine: Engine, cast: Cast) -> None:
    """One tenant tries to reach another's rows."""
    stage.step("The wall: beta-labs reaches for a project of acme's")
    acme, beta = engine.query(cast.acme.id), engine.query(cast.beta.id)
    theirs = acme.select("projects", order_by="name", limit=1)[0]
    target = theirs["id"]
    stage.line("read it by its id", beta.get("projects", target), good=beta.get("projects", target) is None)
    found = beta.select("projects", {"name": theirs["name"]})
    stage.line("find it by its name", found, good=found == [])
    stage.line("rename it", "0 rows", good=beta.update("projects", target, {"name": "stolen"}) == 0)
    stage.line("delete it", "0 rows", good=beta.delete("projects", target) == 0)
    stage.refused(
        "insert a row in acme's name",
        QueryError,
        lambda: beta.insert("projects", {"name": "gift", "tenant_id": cast.acme.id}),
    )
    stage.refused(
        "hang a task of its own under it",
        ConstraintViolation,
        lambda: beta.insert("tasks", {"title": "spy", "project_id": target}),
    )
    stage.refused(
        "ask for a table that closes the quote", QueryError, lambda: beta.select('projects"; DROP TABLE x --')
    )
    with engine.tenant_context(cast.beta.id, user_id="bob"):
        stage.refused("ask for acme's handle in beta's context", IsolationBreach, lambda: engine.query(cast.acme.id))
    untouched = acme.get("projects", target)
    stage.line("acme looks at the project again", "untouched", good=untouched == theirs)


def knock_at_the_gate(stage: Stage, engine: Engine) -> None:
    """Requests, good and bad."""
    stage.step("Requests: who is asking, and for which tenant")

    def authenticate(token: str, tenant_id: str) -> Principal | None:
        slug, user = TOKENS.get(token, ("", ""))
        member = slug and engine.tenants.get_by_slug(slug).id == tenant_id
        return Principal(user, frozenset({"projects:read"})) if member else None

    gate = engine.gate(authenticate)
    ann = ("Authorization", "Bearer ann-of-acme")
    host = ("Host", "acme.partywall.test")

    def enter(*headers: tuple[str, str]) -> str:
        with gate.admit(Request(headers=headers)) as context:
            return f"{context.user_id} of {context.tenant.slug}, may {', '.join(context.permissions)}"

    stage.line("Host: acme.partywall.test, ann's token", enter(host, ann))
    stage.refused("no tenant at all", TenantRequired, lambda: enter(ann))
    stage.refused("a tenant that nobody has", TenantNotFound, lambda: enter(("X-Tenant-Id", "nobody"), ann))
    stage.refused(
        "beta-labs, with ann's token: the same answer", TenantNotFound, lambda: enter(("X-Tenant-Id", "beta-labs"), ann)
    )
    stage.refused(
        "host says acme, header says beta-labs", TenantRequired, lambda: enter(host, ("X-Tenant-Id", "beta-labs"), ann)
    )
    stage.refused(
        "acme.partywall.test.attacker.test",
        TenantRequired,
        lambda: enter(("Host", "acme.partywall.test.attacker.test"), ann),
    )
    stage.line("after all that, outside the gate", f"tenant context: {current_tenant()}", good=current_tenant() is None)


def run_into_limits(stage: Stage, engine: Engine, cast: Cast) -> None:
    """Rate limits, quotas, concurrency, features."""
    stage.step("Limits: corner-shop is on the free plan")
    corner = cast.corner.id
    admitted = sum(engine.limiter.check(corner, "api_requests").allowed for _ in range(100))
    stage.line("100 API requests within the minute", f"{admitted} admitted", good=admitted == 100)
    refusal = stage.refused("the 101st", RateLimited, lambda: engine.limiter.require(corner, "api_requests"))
    stage.line("when to come again", f"retry after {refusal.retry_after:.1f} s", good=0 < refusal.retry_after < 61)
    neighbour = engine.limiter.check(cast.acme.id, "api_requests")
    stage.line(
        "acme, at the same moment", f"allowed, {neighbour.remaining} left of {neighbour.limit}", good=neighbour.allowed
    )
    engine.quotas.consume(corner, projects=3)
    stage.refused("a fourth project", QuotaExceeded, lambda: engine.quotas.consume(corner, projects=1))
    sleepers = [engine.agents.spawn(corner, [sys.executable, "-c", "import time; time.sleep(60)"]) for _ in range(2)]
    stage.refused(
        "a third agent at once", QuotaExceeded, lambda: engine.agents.spawn(corner, [sys.executable, "-c", ""])
    )
    for sleeper in sleepers:
        engine.agents.stop(sleeper.id)
    stage.refused("single sign-on", FeatureNotInPlan, lambda: engine.features.require(corner, "sso"))
    stage.line("delta-bank, on enterprise, has it", engine.features.has(cast.delta.id, "sso"))


def edit_a_plan(stage: Stage, engine: Engine, cast: Cast, tenancy: Path) -> None:
    """An operator edits plans.yaml while all this runs."""
    stage.step("An operator edits plans.yaml; nobody restarts anything")
    plans = tenancy / "plans.yaml"
    good = plans.read_text()
    corner = cast.corner.id
    before = engine.quotas.check(corner).projects.limit
    plans.write_text(good.replace("maxProjects: 3", "maxProjects: 5", 1))
    took = stage.wait_for(lambda: engine.quotas.check(corner).projects.limit == 5)
    stage.line(f"maxProjects of the free plan: {before} becomes 5, saved", f"in force after {took:.0f} ms")
    engine.quotas.consume(corner, projects=1)
    stage.line("the fourth project, refused before", "admitted")
    plans.write_text(good.replace("maxProjects: 3", "maxProjects: lots", 1))
    stage.wait_for(lambda: bool(engine.catalog.problems))
    problem = engine.catalog.problems[0]
    stage.line("then a slip: maxProjects: lots", problem, good=problem.file.endswith("plans.yaml") and problem.line > 1)
    still = engine.quotas.check(corner).projects.limit
    stage.line("meanwhile the limit is", f"{still}, as last good", good=still == 5)
    plans.write_text(good.replace("maxProjects: 3", "maxProjects: 5", 1))
    stage.wait_for(lambda: not engine.catalog.problems)
    stage.line("the slip is mended", "no problems")


def suspend_by_file(stage: Stage, engine: Engine, cast: Cast, tenancy: Path) -> None:
    """A file edit suspends a tenant; an imposed suspension is not lifted by one."""
    stage.step("Suspension reaches what is running")
    beta = cast.beta.id
    command = engine.agents.spawn(beta, [sys.executable, "-c", "import time; time.sleep(600)"], name="a process")
    coroutine = engine.agents.spawn(beta, asyncio.sleep(600), name="a task")
    handle = engine.query(beta)
    file = tenancy / "tenants" / "beta-labs.yaml"
    active = file.read_text()
    stage.line("beta-labs has agents at work", f"{engine.agents.count(beta)}: {command.name}, {coroutine.name}")
    file.write_text(active.replace("status: active", "status: suspended", 1))
    took = stage.wait_for(lambda: engine.agents.count(beta) == 0)
    stage.line("its file now says: status: suspended", f"both agents stopped, {took:.0f} ms after the save")
    stage.refused("a handle from before", TenantSuspended, lambda: handle.select("projects"))
    stage.refused("a rate limit", TenantSuspended, lambda: engine.limiter.check(beta, "api_requests"))
    stage.refused("a new agent", TenantSuspended, lambda: engine.agents.spawn(beta, [sys.executable, "-c", ""]))
    file.write_text(active)
    stage.wait_for(lambda: engine.tenants.get(beta).status == "active")
    stage.line("the file says active again", f"{handle.count('projects')} projects, as before")
    engine.tenants.suspend(beta, reason="unpaid")
    file.write_text(active)
    engine.catalog.refresh()
    stage.refused(
        "suspended by the engine, then the file edited back", TenantSuspended, lambda: handle.count("projects")
    )
    engine.tenants.resume(beta)
    stage.line("resumed by the engine", f"{handle.count('projects')} projects, as before")


def move_to_a_database(stage: Stage, engine: Engine, cast: Cast) -> None:
    """A tenant moves to a stronger wall, behind which it may write SQL of its own."""
    stage.step("delta-bank moves from a schema to a database of its own")
    delta = cast.delta.id
    handle = engine.query(delta)
    stage.refused("its own SQL, at schema level", PermissionDenied, lambda: handle.sql("SELECT 1"))
    moved = engine.isolation.move(delta, to="database_level")
    stage.line(
        "moved, while everybody else works",
        f"{moved.source.backend} to {moved.target.backend}, {moved.rows} rows copied and compared",
        good=moved.rows == 10 and moved.destroyed,
    )
    counted = handle.sql("SELECT count(*) AS projects FROM projects WHERE name LIKE ?", ["Delta%"])
    stage.line("the handle of before, and SQL of its own", counted, good=counted == [{"projects": 10}])
    stage.refused("SQL that reads a file", QueryError, lambda: handle.sql("SELECT * FROM read_csv('/etc/passwd')"))
    stage.refused("SQL that writes", QueryError, lambda: handle.sql("DROP TABLE projects"))


def delete_and_restore(stage: Stage, engine: Engine, cast: Cast) -> None:
    """Deletion keeps the data for the plan's retention."""
    stage.step("Deletion, with retention")
    corner = cast.corner.id
    deleted = engine.tenants.delete(corner).tenant
    stage.line(
        "corner-shop is deleted", f"its data is purged on {deleted.purge_at:%Y-%m-%d}", good=bool(deleted.purge_at)
    )
    stage.refused("its rows, meanwhile", TenantDeleted, lambda: engine.query(corner))
    stage.refused("purging it today", PartywallError, lambda: engine.tenants.purge(corner), because="retention")
    engine.tenants.restore(corner)
    stage.line("restored", f"{engine.query(corner).count('projects')} projects, as before")
    engine.tenants.delete(corner)
    engine.tenants.purge(corner, before_due=True)
    stage.refused("deleted again, and purged at once on request", TenantNotFound, lambda: engine.tenants.get(corner))


def find_everything_again(stage: Stage, engine: Engine, cast: Cast) -> None:
    """After a restart."""
    stage.step("A restart finds everything again")
    for tenant in (cast.acme, cast.beta, cast.delta):
        count = engine.query(tenant.id).count("projects")
        stage.line(f"{tenant.slug} counts its projects", count, good=count == 10)
    stage.refused("corner-shop stays purged", TenantNotFound, lambda: engine.tenants.get(cast.corner.id))
    records = engine.audit.records(limit=1000)
    stage.line("the audit log tells what happened", f"{len(records)} records", good=len(records) > 10)
    for record in engine.audit.records(limit=4, newest=True):
        stage.line(f"#{record.sequence} {record.action} by {record.actor}", record.tenant_id or "the whole engine")
