"""Random histories of several tenants at once: against a model of plain dicts, and with and without the others."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from partywall.backend import BackendSpec, Capability, Row, Scan, Session, Write
from partywall.conformance.plugin import operations
from partywall.conformance.suite.kit import MINE, Kit, Store, by_id
from partywall.conformance.suite.reference import scanned
from partywall.conformance.suite.sample import ACCOUNTS
from partywall.conformance.suite.steps import (
    READS,
    TENANTS,
    TRANSACTIONS,
    WRITES,
    Read,
    Rows,
    Transaction,
    applied,
    outcome,
    read,
)
from partywall.errors import ConstraintViolation
from partywall.model import ID
from partywall.names import TenantId

__all__ = ["Histories", "profile"]

STEPS = 50
"""Operations in one history of the model."""
MOST = 10_000
"""Operations of the model's histories at most: they are reduced when they fail, and a hundred times as dear as those of
the mixture, which takes over from here.
"""
WHO = st.sampled_from(TENANTS)
RARE = st.sampled_from(["renew"] * 4 + ["maintain"] * 2 + ["drop"] * 2 + ["restart"])
"""The costly ones less often: opening a store and destroying a tenant take a thousand times as long as a read."""


def profile(examples: int, *, shrink: bool = True, **more: Any) -> settings:
    """How hypothesis runs here: the same each time, writing nothing into anybody's folder."""
    phases = [Phase.generate, *([Phase.shrink] if shrink else [])]
    return settings(
        max_examples=max(examples, 1),
        deadline=None,
        database=None,
        derandomize=examples < 1_000,
        suppress_health_check=list(HealthCheck),
        phases=phases,
        print_blob=True,
        **more,
    )


class Histories(Kit):
    """What nobody thought of."""

    def test_random_histories_of_several_tenants_match_a_model(
        self, store: Store, request: pytest.FixtureRequest
    ) -> None:
        wanted = min(operations(type(self), request.config), MOST)
        chosen = profile(wanted // STEPS, shrink=self.shrink, stateful_step_count=STEPS)
        machine = type("Machine", (TenancyMachine,), {"store": store})
        run_state_machine_as_test(machine, settings=chosen)

    def test_i2_what_a_tenant_sees_is_the_same_with_and_without_the_others(
        self, spec: BackendSpec, request: pytest.FixtureRequest
    ) -> None:
        wanted = min(operations(type(self), request.config), MOST)

        @profile(wanted // 100, shrink=self.shrink)
        @given(st.lists(st.tuples(WHO, st.one_of(WRITES, READS, TRANSACTIONS)), min_size=30, max_size=100))
        def histories(history: list[tuple[TenantId, Write | Read | Transaction]]) -> None:
            alone = [step for step in history if step[0] == MINE]
            with fresh(spec, self.options) as crowded, fresh(spec, self.options) as quiet:
                assert observed(crowded, history) == observed(quiet, alone)

        histories()


@contextmanager
def fresh(spec: BackendSpec, options: Any) -> Iterator[Store]:
    """A store of its own in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(spec, Path(folder), options)
        try:
            yield store
        finally:
            store.close()


def observed(store: Store, history: Sequence[tuple[TenantId, Write | Read | Transaction]]) -> list[str]:
    """All that the tenant MINE is told in a history: rows and their order, counts, errors and their texts."""
    told: list[str] = []
    capabilities = store.spec.capabilities
    # One of the others was there before, as in any store that has been in use.
    places = {tenant: store.placed(tenant) for tenant in dict.fromkeys(tenant for tenant, _ in history)}
    for tenant, step in history:
        session = store.at(places[tenant])
        said = list(carried_out(session, step, capabilities))
        told += said if tenant == MINE else []
        session.close()
    if MINE in places:
        told.append(repr(list(store.at(places[MINE]).scan(Scan(ACCOUNTS)))))
    return told


def carried_out(
    session: Session, step: Write | Read | Transaction, capabilities: frozenset[Capability]
) -> Iterator[str]:
    """Carry out one step; yields what the session says to each statement."""
    try:
        match step:
            case Read():
                yield repr(list(session.scan(Scan(ACCOUNTS))))
                yield repr(read(session, step, capabilities))
            case Transaction(writes, end):
                session.begin()
                for write in writes:
                    yield told_of(session, write, capabilities)
                yield repr(list(session.scan(Scan(ACCOUNTS))))
                getattr(session, end)()
            case _:
                yield told_of(session, step, capabilities)
    except Exception as error:  # noqa: BLE001  # what it says is what is compared
        yield outcome(error)


def told_of(session: Session, write: Write, capabilities: frozenset[Capability]) -> str:
    """The number of rows that a write touched; a taken key is refused here unless the store claims to do so."""
    if Capability.KEYS not in capabilities:
        rows = {row[ID]: row for row in session.scan(Scan(ACCOUNTS))}
        applied(rows, write)
    return str(session.write(write))


class TenancyMachine(RuleBasedStateMachine):
    """Three tenants, one store, and a dict for each of them that says what must be there."""

    store: ClassVar[Store]

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[TenantId, Rows] = {tenant: {} for tenant in TENANTS}
        self.sessions: dict[TenantId, Session] = {}

    @initialize()
    def start(self) -> None:
        """Everybody begins with nothing, in a store that has been used before."""
        for tenant in TENANTS:
            self.store.backend.drop(self.store.placed(tenant))
            self.renew(tenant)

    def renew(self, tenant: TenantId) -> None:
        """Give the tenant a new session, and the old one back."""
        if tenant in self.sessions:
            self.sessions.pop(tenant).close()
        self.sessions[tenant] = self.store.session(tenant)

    def attempt(self, tenant: TenantId, rows: Rows, write: Write) -> Rows | None:
        """A write on both sides; the rows that must be there then, or None when a key is taken."""
        try:
            after, touched = applied(rows, write)
        except ConstraintViolation:
            if Capability.KEYS in self.store.spec.capabilities:
                with pytest.raises(ConstraintViolation):
                    self.sessions[tenant].write(write)
            return None
        assert self.sessions[tenant].write(write) == touched
        return after

    @rule(tenant=WHO, write=WRITES)
    def write(self, tenant: TenantId, write: Write) -> None:
        """One statement of its own."""
        after = self.attempt(tenant, self.model[tenant], write)
        self.model[tenant] = self.model[tenant] if after is None else after
        self.compare(tenant)

    @rule(tenant=WHO, transaction=TRANSACTIONS, observer=WHO)
    def transaction(self, tenant: TenantId, transaction: Transaction, observer: TenantId) -> None:
        """Several statements, watched by somebody before they end."""
        session, rows = self.sessions[tenant], self.model[tenant]
        keys = Capability.KEYS in self.store.spec.capabilities
        session.begin()
        failed = False
        for write in transaction.writes:
            after = self.attempt(tenant, rows, write)
            rows = rows if after is None else after
            if after is None and keys:
                failed = True
                break
        if not failed:
            assert by_id(session.scan(Scan(ACCOUNTS))) == by_id(rows.values())
        if observer != tenant:
            self.compare(observer)
        self.end(tenant, transaction.end, rows, failed=failed)

    def end(self, tenant: TenantId, end: str, rows: Rows, *, failed: bool) -> None:
        """The end of a transaction, as drawn; one that failed cannot be committed."""
        session = self.sessions[tenant]
        if end == "commit" and failed:
            with pytest.raises(Exception):  # noqa: B017, PT011  # in whatever words
                session.commit()
            session.rollback()
        else:
            getattr(session, end)()
            if end == "commit":
                self.model[tenant] = rows
        if end == "close":
            del self.sessions[tenant]
            self.renew(tenant)
        self.compare(tenant)

    @rule(tenant=WHO, look=READS)
    def look(self, tenant: TenantId, look: Read) -> None:
        """A read with conditions."""
        rows = list(self.model[tenant].values())
        wanted = scanned(rows, look.scan)
        seen, counted = read(self.sessions[tenant], look, self.store.spec.capabilities)
        assert seen == wanted
        if Capability.FILTERS in self.store.spec.capabilities:
            assert counted == len(scanned(rows, Scan(ACCOUNTS, look.where)))

    @rule(tenant=WHO, what=RARE)
    def rare(self, tenant: TenantId, what: str) -> None:
        """What happens now and then."""
        getattr(self, what)(tenant)

    def drop(self, tenant: TenantId) -> None:
        """The end of a tenant, and a new beginning."""
        self.sessions.pop(tenant).close()
        place = self.store.placed(tenant)
        self.store.backend.drop(place)
        assert self.store.backend.stamp(place) is None
        self.model[tenant] = {}
        self.renew(tenant)

    def maintain(self, _tenant: TenantId) -> None:
        """What the engine asks for every second."""
        self.store.backend.maintain()

    def restart(self, _tenant: TenantId) -> None:
        """The store is closed and opened again; one that keeps nothing begins anew."""
        self.store.close()
        self.sessions.clear()
        if Capability.DURABLE not in self.store.spec.capabilities:
            self.model = {tenant: {} for tenant in TENANTS}
        for tenant in TENANTS:
            self.renew(tenant)

    def compare(self, tenant: TenantId) -> None:
        """What the tenant sees is what the model says."""
        seen: list[Row] = by_id(self.sessions[tenant].scan(Scan(ACCOUNTS)))
        assert seen == by_id(self.model[tenant].values())

    def teardown(self) -> None:
        """At the end everybody looks once more."""
        try:
            for tenant in self.sessions:
                self.compare(tenant)
        finally:
            self.store.close()
