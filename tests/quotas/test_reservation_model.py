"""Reservations against a plain model: any order of reserve, commit, release, expire, consume and crash."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from partywall.clock import ManualClock, month_of
from partywall.errors import InvalidArgument, QuotaExceeded, ReservationEnded
from partywall.ledger import SqliteLedger
from partywall.model import Grants, QuotaLimits, Reservations, Status, Strategy
from partywall.names import PlanName, TenantId
from partywall.quotas import Quotas, Reservation, Usage

ACME = TenantId("ten_acme")
LIMITS = {"tokens": 100, "projects": 10}
AMOUNTS = st.fixed_dictionaries({}, optional={"tokens": st.integers(0, 60), "projects": st.integers(0, 6)}).filter(bool)


class OneTenant:
    """A tenant in service, whose plan's policy may change."""

    def __init__(self) -> None:
        self.policy = Reservations(overrun="cap")

    def status(self, tenant_id: TenantId) -> Status | None:
        return Status.ACTIVE

    def require_active(self, tenant_id: str) -> TenantId:
        return TenantId(tenant_id)

    def grants(self, tenant_id: str) -> Grants:
        limits = QuotaLimits(None, LIMITS["projects"], LIMITS["tokens"], None, None)
        grants = Grants(PlanName("p"), limits, frozenset(), {}, Strategy.ROW, 30, None)
        return replace(grants, reservations=self.policy)


@dataclass
class Held:
    """What the model knows of a reservation."""

    amounts: dict[str, int]
    ends: float
    month: str
    charge: bool
    state: str = "reserved"


class ReservationMachine(RuleBasedStateMachine):
    handles = Bundle("handles")

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.clock = ManualClock(datetime(2026, 11, 30, 23, 50, tzinfo=UTC).timestamp())
        self.tenants = OneTenant()
        self.ledger = SqliteLedger(Path(self.folder.name) / "ledger.sqlite", durability="interval")
        self.connect()
        self.held: dict[str, Held] = {}
        self.tokens: dict[str, int] = {}
        self.projects = 0

    def connect(self) -> None:
        self.usage = Usage(self.ledger, self.tenants, self.clock)
        self.quotas = Quotas(self.ledger, self.tenants, self.clock, self.usage)

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.close()
            self.folder.cleanup()

    @property
    def month(self) -> str:
        return month_of(self.clock.now())

    def counted(self) -> dict[str, int]:
        return {"tokens": self.tokens.get(self.month, 0), "projects": self.projects}

    def reserved(self) -> dict[str, int]:
        found = {"tokens": 0, "projects": 0}
        for held in self.held.values():
            for metric, amount in held.amounts.items():
                if held.state == "reserved" and (metric == "projects" or held.month == self.month):
                    found[metric] += amount
        return found

    def fits(self, amounts: dict[str, int]) -> bool:
        counted, reserved = self.counted(), self.reserved()
        return all(
            amount == 0 or counted[metric] + reserved[metric] + amount <= LIMITS[metric]
            for metric, amount in amounts.items()
        )

    def count(self, month: str, amounts: dict[str, int]) -> None:
        self.tokens[month] = self.tokens.get(month, 0) + amounts.get("tokens", 0)
        self.projects += amounts.get("projects", 0)

    def expire(self, held: Held) -> None:
        held.state = "expired"
        if held.charge:
            self.count(held.month, held.amounts)

    def expire_ended(self) -> None:
        for held in self.held.values():
            if held.state == "reserved" and held.ends <= self.clock.monotonic():
                self.expire(held)

    @rule(target=handles, amounts=AMOUNTS, lease=st.sampled_from([5, 60]))
    def reserve(self, amounts: dict[str, int], lease: int) -> Reservation | None:
        self.expire_ended()
        if not self.fits(amounts):
            with pytest.raises(QuotaExceeded):
                self.quotas.reserve(ACME, lease=lease, **amounts)
            return None
        handle = self.quotas.reserve(ACME, lease=lease, **amounts)
        charge = self.tenants.policy.on_expiry == "charge_cap"
        self.held[handle.id] = Held(amounts, self.clock.monotonic() + lease, self.month, charge)
        return handle

    @rule(handle=handles, actual=AMOUNTS)
    def commit(self, handle: Reservation | None, actual: dict[str, int]) -> None:
        self.expire_ended()
        if handle is None:
            return
        held = self.held[handle.id]
        if held.state != "reserved":
            with pytest.raises(ReservationEnded) as caught:
                handle.commit()
            assert caught.value.state == held.state
        elif actual.keys() - held.amounts.keys():
            with pytest.raises(InvalidArgument):
                handle.commit(**actual)
        else:
            used = {**held.amounts, **actual}
            counted = {metric: min(used[metric], amount) for metric, amount in held.amounts.items()}
            assert handle.commit(**actual).counted == counted
            held.state = "committed"
            self.count(held.month, counted)

    @rule(handle=handles)
    def release(self, handle: Reservation | None) -> None:
        self.expire_ended()
        if handle is None:
            return
        held = self.held[handle.id]
        charged = held.state == "expired" and held.charge
        with pytest.raises(ReservationEnded) if charged or held.state == "committed" else contextlib.nullcontext():
            handle.release()
        if held.state == "reserved":
            held.state = "released"

    @rule(handle=handles)
    def extend(self, handle: Reservation | None) -> None:
        self.expire_ended()
        if handle is None:
            return
        held = self.held[handle.id]
        with contextlib.nullcontext() if held.state == "reserved" else pytest.raises(ReservationEnded):
            handle.extend(30)
        if held.state == "reserved":
            held.ends = self.clock.monotonic() + 30

    @rule(amounts=AMOUNTS)
    def consume(self, amounts: dict[str, int]) -> None:
        self.expire_ended()
        if not self.fits(amounts):
            with pytest.raises(QuotaExceeded):
                self.quotas.consume(ACME, **amounts)
            return
        self.quotas.consume(ACME, **amounts)
        self.count(self.month, amounts)

    @rule(amount=st.integers(1, 4))
    def give_back(self, amount: int) -> None:
        if amount <= self.projects:
            self.usage.increment(ACME, "projects", -amount)
            self.projects -= amount

    @rule(seconds=st.sampled_from([1, 5, 40, 700]))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([-3600, 3600]))
    def step_wall(self, seconds: int) -> None:
        self.clock.step_wall(seconds)

    @rule(on_expiry=st.sampled_from(["release", "charge_cap"]))
    def change_plan(self, on_expiry: str) -> None:
        self.tenants.policy = Reservations.model_validate({"onExpiry": on_expiry, "overrun": "cap"})

    @rule()
    def sweep(self) -> None:
        self.expire_ended()
        self.quotas.expire_leases()

    @rule()
    def die_and_open_again(self) -> None:
        self.connect()
        self.quotas.recover()
        for held in self.held.values():
            if held.state == "reserved":
                self.expire(held)

    @invariant()
    def nothing_is_overspent_and_every_counter_is_what_it_should_be(self) -> None:
        if not hasattr(self, "ledger"):
            return
        self.expire_ended()
        report, counted, reserved = self.quotas.check(ACME), self.counted(), self.reserved()
        for metric, limit in LIMITS.items():
            status = getattr(report, metric)
            assert (status.current, status.reserved) == (counted[metric], reserved[metric])
            assert status.current + status.reserved <= limit
        assert self.usage.verify() == []


def test_reservations_behave_as_the_model_says() -> None:
    run_state_machine_as_test(
        ReservationMachine, settings=settings(max_examples=40, stateful_step_count=40, deadline=None)
    )


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_reservations_behave_as_the_model_says_for_long() -> None:
    run_state_machine_as_test(
        ReservationMachine, settings=settings(max_examples=2000, stateful_step_count=60, deadline=None)
    )
