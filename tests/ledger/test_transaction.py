from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from partywall.backend import Placement
from partywall.errors import InvalidArgument, LedgerError
from partywall.ledger import (
    AgentProcess,
    AuditRecord,
    Ledger,
    LifecycleRecord,
    Operation,
    OperationState,
    SqliteLedger,
    Transaction,
    UsageEvent,
)
from partywall.model import Status, Strategy
from partywall.names import Region, Slug, TenantId

ACME = TenantId("ten_acme")
BETA = TenantId("ten_beta")

tenants = st.sampled_from([ACME, BETA])
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
moments = st.floats(0, 4e9, allow_nan=False)
totals = st.integers(0, 2**63 - 1)
json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
documents = st.dictionaries(texts, json, max_size=3)

lifecycles = st.builds(
    LifecycleRecord,
    tenant_id=tenants,
    slug=st.sampled_from(["acme", "beta"]).map(Slug),
    status=st.sampled_from(Status),
    reason=st.none() | texts,
    suspended_at=st.none() | moments,
    deleted_at=st.none() | moments,
    purge_at=st.none() | moments,
    purged_at=st.none() | moments,
)
placements = st.builds(
    Placement,
    tenant_id=tenants,
    strategy=st.sampled_from(Strategy),
    backend=texts,
    region=st.none() | st.just(Region("eu")),
    location=texts,
)
events = st.builds(
    UsageEvent,
    tenant_id=tenants,
    key=st.sampled_from(["k1", "k2", "k3"]),
    fingerprint=texts,
    period=st.sampled_from(["", "2026-11"]),
    at=moments,
    result=st.dictionaries(st.sampled_from(["users", "tokens"]), totals),
)
operations = st.builds(
    Operation,
    id=st.sampled_from(["o1", "o2", "o3"]),
    kind=texts,
    tenant_id=st.none() | tenants,
    arguments=documents,
    state=st.sampled_from(OperationState),
    actor=texts,
    created_at=moments,
    finished_at=st.none() | moments,
    progress=texts,
    result=json,
    error=st.none() | documents,
    queued=st.booleans(),
)
agents = st.builds(
    AgentProcess,
    agent_id=st.sampled_from(["a1", "a2", "a3"]),
    tenant_id=tenants,
    pid=st.integers(1, 2**22),
    started=texts,
)
records = st.builds(
    AuditRecord, at=moments, actor=texts, action=texts, tenant_id=st.none() | tenants, details=documents
)


class Undone(Exception):
    """Raised by a work that must leave nothing behind."""


class LedgerAgainstDicts(RuleBasedStateMachine):
    """Whatever is written, the ledger answers as plain dicts would, also after works that fail half way."""

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="partywall-"))
        self.ledger: Ledger = SqliteLedger(self.folder / "ledger.sqlite")
        self.lifecycles: dict[str, LifecycleRecord] = {}
        self.placements: dict[str, Placement] = {}
        self.usage: dict[tuple[str, str, str], int] = {}
        self.events: dict[tuple[str, str], UsageEvent] = {}
        self.operations: dict[str, Operation] = {}
        self.forgotten: set[str] = set()
        self.agents: dict[str, AgentProcess] = {}
        self.records: list[AuditRecord] = []

    def write(self, work: Callable[[Transaction], Any], *, fails: bool) -> bool:
        def undone(tx: Transaction) -> None:
            work(tx)
            raise Undone

        if not fails:
            self.ledger.write(work)
            return True
        with pytest.raises(Undone):
            self.ledger.write(undone)
        return False

    @rule(record=lifecycles, fails=st.booleans())
    def put_lifecycle(self, record: LifecycleRecord, fails: bool) -> None:
        if self.write(lambda tx: tx.put_lifecycle(record), fails=fails):
            self.lifecycles[record.tenant_id] = record

    @rule(placement=placements, fails=st.booleans())
    def put_placement(self, placement: Placement, fails: bool) -> None:
        if self.write(lambda tx: tx.put_placement(placement), fails=fails):
            self.placements[placement.tenant_id] = placement

    @rule(
        tenant=tenants,
        period=st.sampled_from(["", "2026-11"]),
        metric=st.sampled_from(["users", "tokens"]),
        total=totals,
        fails=st.booleans(),
    )
    def set_usage(self, tenant: TenantId, period: str, metric: str, total: int, fails: bool) -> None:
        if self.write(lambda tx: tx.set_usage(tenant, period, metric, total), fails=fails):
            self.usage[tenant, period, metric] = total

    @rule(event=events, fails=st.booleans())
    def put_usage_event(self, event: UsageEvent, fails: bool) -> None:
        if self.write(lambda tx: tx.put_usage_event(event), fails=fails):
            self.events[event.tenant_id, event.key] = event

    @rule(before=moments)
    def forget_usage_events(self, before: float) -> None:
        old = [key for key, event in self.events.items() if event.at < before]
        assert self.ledger.write(lambda tx: tx.forget_usage_events(before)) == len(old)
        for key in old:
            del self.events[key]

    @rule(tenant=tenants, fails=st.booleans())
    def forget_tenant(self, tenant: TenantId, fails: bool) -> None:
        if self.write(lambda tx: tx.forget_tenant(tenant), fails=fails):
            self.placements.pop(tenant, None)
            self.usage = {key: total for key, total in self.usage.items() if key[0] != tenant}
            self.events = {key: event for key, event in self.events.items() if key[0] != tenant}
            self.agents = {key: agent for key, agent in self.agents.items() if agent.tenant_id != tenant}
            told = [
                one.id
                for one in self.operations.values()
                if one.tenant_id == tenant and one.state is OperationState.FAILED
            ]
            for name in told:
                del self.operations[name]
                self.forgotten.add(name)

    @rule(operation=operations, fails=st.booleans())
    def put_operation(self, operation: Operation, fails: bool) -> None:
        if self.write(lambda tx: tx.put_operation(operation), fails=fails):
            self.operations[operation.id] = operation
            self.forgotten.discard(operation.id)

    @rule(agent=agents, fails=st.booleans())
    def put_agent(self, agent: AgentProcess, fails: bool) -> None:
        if self.write(lambda tx: tx.put_agent(agent), fails=fails):
            self.agents[agent.agent_id] = agent

    @rule(agent_id=st.sampled_from(["a1", "a2", "a3"]))
    def forget_agent(self, agent_id: str) -> None:
        self.ledger.write(lambda tx: tx.forget_agent(agent_id))
        self.agents.pop(agent_id, None)

    @rule(record=records, fails=st.booleans())
    def append_audit(self, record: AuditRecord, fails: bool) -> None:
        if self.write(lambda tx: tx.append_audit(record), fails=fails):
            self.records.append(replace(record, sequence=len(self.records) + 1))

    @rule()
    def reopen(self) -> None:
        self.ledger.close()
        self.ledger = SqliteLedger(self.folder / "ledger.sqlite")

    @rule()
    def scrub(self) -> None:
        self.ledger.scrub()

    @invariant()
    def answers_like_the_model(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.read(self.compare)

    def compare(self, tx: Transaction) -> None:
        assert {record.tenant_id: record for record in tx.lifecycles()} == self.lifecycles
        assert {placement.tenant_id: placement for placement in tx.placements()} == self.placements
        assert {agent.agent_id: agent for agent in tx.agents()} == self.agents
        for tenant in (ACME, BETA):
            assert tx.lifecycle(tenant) == self.lifecycles.get(tenant)
            assert tx.placement(tenant) == self.placements.get(tenant)
            for period in ("", "2026-11"):
                expected = {key[2]: total for key, total in self.usage.items() if key[:2] == (tenant, period)}
                assert tx.usage(tenant, period) == expected
            for key in ("k1", "k2", "k3"):
                assert tx.usage_event(tenant, key) == self.events.get((tenant, key))
            own = [record for record in self.records if record.tenant_id == tenant]
            assert tx.audit(tenant_id=tenant, newest=True, limit=2) == own[-2:]
        assert {name: tx.operation(name) for name in self.operations} == self.operations
        assert {tx.operation(name) for name in self.forgotten} <= {None}
        for states in ((), (OperationState.QUEUED, OperationState.RUNNING)):
            chosen = [
                operation for operation in self.operations.values() if operation.state in (states or OperationState)
            ]
            answered = tx.operations(*states)
            assert [operation.created_at for operation in answered] == sorted(o.created_at for o in chosen)
            assert {operation.id for operation in answered} == {operation.id for operation in chosen}
        assert tx.audit() == self.records[:100]
        assert tx.audit(after=1, limit=2) == self.records[1:3]

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.close()
            shutil.rmtree(self.folder)


TestLedgerAgainstDicts = LedgerAgainstDicts.TestCase
TestLedgerAgainstDicts.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


@pytest.mark.parametrize("total", [1.0, 1.5, True, 2**63, 2**70, -1, float("nan"), "1", None])
def test_l11_only_whole_numbers_of_63_bits_are_totals(ledger: Ledger, total: Any) -> None:
    with pytest.raises(InvalidArgument):
        ledger.write(lambda tx: tx.set_usage(ACME, "", "users", total))
    assert ledger.read(lambda tx: tx.usage(ACME, "")) == {}


def test_l11_the_largest_total_is_kept_exactly(ledger: Ledger) -> None:
    ledger.write(lambda tx: tx.set_usage(ACME, "", "users", 2**63 - 1))
    assert ledger.read(lambda tx: tx.usage(ACME, "")) == {"users": 2**63 - 1}


@pytest.mark.parametrize("moment", [float("nan"), float("inf"), "yesterday", True])
def test_a_moment_is_a_finite_number(ledger: Ledger, moment: Any) -> None:
    with pytest.raises(InvalidArgument):
        ledger.write(lambda tx: tx.append_audit(AuditRecord(moment, "engine", "tenant.created")))
    assert ledger.read(lambda tx: tx.audit()) == []


@pytest.mark.parametrize("details", [{"x": float("nan")}, {"x": object()}, {"x": {1, 2}}, {"x": b"bytes"}])
def test_documents_that_are_not_plain_json_are_refused(ledger: Ledger, details: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        ledger.write(lambda tx: tx.append_audit(AuditRecord(1.0, "engine", "tenant.created", details=details)))


@pytest.mark.parametrize(
    "work",
    [
        lambda tx: tx.put_agent(AgentProcess("a1", ACME, 2**63, "")),
        lambda tx: tx.put_agent(AgentProcess("a1", ACME, 1, "\ud800")),
        lambda tx: tx.audit(after=2**64),
        lambda tx: tx.audit(limit=-1),
    ],
)
def test_values_that_the_store_cannot_hold_are_invalid_arguments(
    ledger: Ledger, work: Callable[[Transaction], Any]
) -> None:
    with pytest.raises(InvalidArgument):
        ledger.write(work)


def test_a_reading_function_must_not_write(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="must not write"):
        ledger.read(lambda tx: tx.set_usage(ACME, "", "users", 1))
    assert ledger.read(lambda tx: tx.usage(ACME, "")) == {}


def test_a_transaction_is_dead_once_its_function_returned(ledger: Ledger) -> None:
    kept = [ledger.write(lambda tx: tx), ledger.read(lambda tx: tx)]
    for tx in kept:
        with pytest.raises(LedgerError, match="over"):
            tx.usage(ACME, "")
        with pytest.raises(LedgerError):
            tx.set_usage(ACME, "", "users", 1)
    assert ledger.read(lambda tx: tx.usage(ACME, "")) == {}


def test_operations_of_one_moment_keep_the_order_in_which_they_came(ledger: Ledger) -> None:
    for name in ("z", "a", "m"):
        operation = Operation(name, "purge", ACME, {}, OperationState.QUEUED, "cli:root", 5.0)
        ledger.write(lambda tx, operation=operation: tx.put_operation(operation))
    ledger.write(lambda tx: tx.put_operation(replace(operation, id="z", state=OperationState.RUNNING)))
    assert [operation.id for operation in ledger.read(lambda tx: tx.operations())] == ["z", "a", "m"]
