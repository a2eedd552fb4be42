"""Who is admitted: classes C, J and M, as far as the gate reaches."""

import asyncio
import logging
import threading
import traceback
from functools import partial

import pytest

from partywall.context import current_tenant
from partywall.errors import (
    AuthenticationFailed,
    AuthenticationUnavailable,
    InvalidArgument,
    PartywallError,
    PermissionDenied,
    TenantAmbiguous,
    TenantDeleted,
    TenantNotFound,
    TenantPending,
    TenantRequired,
    TenantSuspended,
)
from partywall.model import Status
from partywall.names import parse_tenant_id
from partywall.web import Principal, Request, problem

SECRET = "s3cret-token-that-must-not-be-seen"


def sync_admit(gate, request):
    with gate.admit(request) as context:
        assert current_tenant() is context
    assert current_tenant() is None
    return context


def async_admit(gate, request):
    async def main():
        async with gate.admit_async(request) as context:
            assert current_tenant() is context
        assert current_tenant() is None
        return context

    return asyncio.run(main())


@pytest.fixture(params=[sync_admit, async_admit], ids=["sync", "async"])
def admit(request):
    return request.param


def refusal(admit, gate, request, error):
    with pytest.raises(error) as caught:
        admit(gate, request)
    assert type(caught.value) is error
    assert current_tenant() is None
    return caught.value


def test_a_member_is_admitted_with_its_permissions(world, admit):
    context = admit(world.gate, world.request(tenant="acme"))
    assert (context.tenant_id, context.user_id, context.permissions) == ("ten_acme", "ann", {"projects:read"})
    assert context.tenant.slug == "acme"
    assert world.asked == [("token-a", "ten_acme")]


def test_c1_as_token_in_bs_tenant_is_refused(world, admit):
    refusal(admit, world.gate, world.request("token-a", tenant="beta"), TenantNotFound)


def test_c8_every_request_asks_about_its_own_tenant(world, admit):
    admit(world.gate, world.request("token-a", tenant="acme"))
    refusal(admit, world.gate, world.request("token-a", tenant="beta"), TenantNotFound)
    admit(world.gate, world.request("token-a", tenant="acme"))
    assert [tenant for _, tenant in world.asked] == ["ten_acme", "ten_beta", "ten_acme"]


@pytest.mark.parametrize("unknown", ["ghost", "ten_ghost"])
def test_c9_unknown_tenant_and_no_membership_are_the_same_bytes(world, admit, unknown):
    stranger = refusal(admit, world.gate, world.request("token-a", tenant="beta"), TenantNotFound)
    nobody = refusal(admit, world.gate, world.request("token-a", tenant=unknown), TenantNotFound)
    assert stranger.args == nobody.args
    assert problem(stranger) == problem(nobody)
    assert problem(stranger).encoded() == problem(nobody).encoded()


@pytest.mark.parametrize("status", [Status.SUSPENDED, Status.DELETED, Status.PENDING])
def test_c9_a_stranger_cannot_tell_a_suspended_tenant_from_an_unknown_one(world, admit, status):
    world.put("ten_gone", status)
    stranger = refusal(admit, world.gate, world.request("token-a", tenant="gone"), TenantNotFound)
    nobody = refusal(admit, world.gate, world.request("token-a", tenant="ghost"), TenantNotFound)
    assert problem(stranger).encoded() == problem(nobody).encoded()


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (Status.SUSPENDED, TenantSuspended, 403),
        (Status.DELETED, TenantDeleted, 410),
        (Status.PENDING, TenantPending, 403),
    ],
)
def test_a_member_is_told_why_its_tenant_is_out_of_service(world, admit, status, error, code):
    world.put("ten_gone", status)
    refused = refusal(admit, world.gate, world.request("token-g", tenant="gone"), error)
    assert problem(refused).status == code


@pytest.mark.parametrize("tenant", ["acme", "ghost", "ten_ghost"])
def test_c9_a_bad_token_gets_the_same_answer_for_every_tenant(world, admit, tenant):
    refused = refusal(admit, world.gate, world.request("nonsense", tenant=tenant), AuthenticationFailed)
    assert problem(refused).encoded() == problem(AuthenticationFailed("unknown token")).encoded()


def test_c9_an_unknown_tenant_is_asked_about_under_a_lasting_id_of_no_tenant(world, admit):
    for _ in range(2):
        refusal(admit, world.gate, world.request(tenant="ghost"), TenantNotFound)
    refusal(admit, world.gate, world.request(tenant="spirit"), TenantNotFound)
    first, again, other = [parse_tenant_id(tenant) for _, tenant in world.asked]
    assert first == again != other
    assert world.directory.status(first) is None
    assert "ghost" not in first


def test_c9_whoever_lets_anybody_in_lets_nobody_into_an_unknown_tenant(world, admit):
    gate = world.gated(lambda *_: Principal("root"))
    refusal(admit, gate, world.request(tenant="ghost"), TenantNotFound)


def test_c2_a_conflict_that_only_a_look_up_shows_is_told_to_good_tokens_only(world, admit):
    request = {"tenant": "ten_acme", "host": "beta.example.com"}
    refusal(admit, world.gate, world.request("token-a", **request), TenantAmbiguous)
    refusal(admit, world.gate, world.request("token-b", **request), TenantAmbiguous)
    refusal(admit, world.gate, world.request("nonsense", **request), AuthenticationFailed)
    assert not {"ten_acme", "ten_beta"} & {tenant for _, tenant in world.asked}


def test_a_malformed_request_is_refused_before_anybody_is_asked(world, admit):
    refusal(admit, world.gate, world.request(), TenantRequired)
    refusal(admit, world.gate, world.request(tenant="acme", slug="beta"), TenantAmbiguous)
    refusal(admit, world.gate, world.request(None), TenantRequired)
    assert world.asked == []


@pytest.mark.parametrize(
    "values",
    [
        [],
        ["Bearer"],
        ["Bearer "],
        ["token-a"],
        ["Basic token-a"],
        ["Bearer  token-a"],
        [" Bearer token-a"],
        ["Bearer token-a "],
        ["Bearer token-a\n"],
        ["Bearer token-a, Bearer token-b"],
        ["Bearer token a"],
        ["Bearer tökén"],
        ["Bearer " + "a" * 8193],
        ["Bearer token-a", "Bearer token-a"],
        ["Bearer token-a", "Basic x"],
    ],
)
def test_no_token_or_a_malformed_one_is_401_before_anybody_is_asked(world, admit, values):
    request = Request([("x-tenant-id", "acme"), *(("authorization", value) for value in values)])
    refused = refusal(admit, world.gate, request, AuthenticationFailed)
    assert dict(problem(refused).headers)["WWW-Authenticate"] == "Bearer"
    assert world.asked == []


def test_the_schemes_name_has_no_case(world, admit):
    admit(world.gate, Request([("x-tenant-id", "acme"), (b"AUTHORIZATION", b"bEARER token-a")]))


@pytest.mark.parametrize("error", [TimeoutError("slow"), OSError("down"), ValueError(SECRET), KeyError(SECRET)])
def test_m12_a_failing_auth_service_admits_nobody(world, admit, error, caplog):
    def failing(token, tenant_id):
        raise error

    refused = refusal(admit, world.gated(failing), world.request(SECRET, tenant="acme"), AuthenticationUnavailable)
    sent = problem(refused)
    assert (sent.status, int(dict(sent.headers)["Retry-After"]) > 0) == (503, True)
    assert (refused.__cause__, refused.__context__) == (None, None)
    assert SECRET not in caplog.text
    assert type(error).__name__ in caplog.text


def test_m12_a_slow_auth_service_admits_nobody(world):
    release = threading.Event()

    async def awaited(token, tenant_id):
        await asyncio.Event().wait()

    def threaded(token, tenant_id):
        release.wait(10)
        return Principal("ann")

    async def main():
        for slow in (awaited, threaded):
            gate = world.gated(slow, timeout=0.05)
            with pytest.raises(AuthenticationUnavailable):
                await asyncio.wait_for(gate.identify_async(world.request(tenant="acme")), 5)
        release.set()

    asyncio.run(main())


@pytest.mark.parametrize("answer", [True, "ann", {"user_id": "ann"}, ("ann",), 1, object(), Principal])
def test_m12_an_answer_of_the_wrong_type_admits_nobody(world, admit, answer):
    refusal(admit, world.gated(lambda *_: answer), world.request(tenant="acme"), AuthenticationUnavailable)


@pytest.mark.parametrize(
    "fields",
    [
        {"user_id": ""},
        {"user_id": None},
        {"user_id": 7},
        {"user_id": "a\nb"},
        {"permissions": "projects:read"},
        {"permissions": {1}},
        {"expires_at": "tomorrow"},
        {"expires_at": True},
    ],
)
def test_m12_a_principal_that_cannot_be_admits_nobody(world, admit, fields):
    with pytest.raises((InvalidArgument, TypeError)):
        Principal(**{"user_id": "ann", **fields})
    gate = world.gated(lambda *_: Principal(**{"user_id": "ann", **fields}))
    refusal(admit, gate, world.request(tenant="acme"), AuthenticationUnavailable)


def test_m12_a_coroutine_function_behind_the_sync_gate_admits_nobody(world):
    async def authenticate(token, tenant_id):
        return Principal("ann")

    refusal(sync_admit, world.gated(authenticate), world.request(tenant="acme"), AuthenticationUnavailable)


def test_the_async_gate_awaits_a_coroutine_function_and_whatever_returns_an_awaitable(world):
    async def authenticate(token, tenant_id):
        return world.authenticate(token, tenant_id)

    for check in (authenticate, partial(authenticate)):
        assert async_admit(world.gated(check), world.request(tenant="acme")).user_id == "ann"
        refusal(async_admit, world.gated(check), world.request(tenant="beta"), TenantNotFound)


def test_the_async_gate_keeps_the_loop_free_while_a_sync_check_runs(world):
    answered = threading.Event()

    def authenticate(token, tenant_id):
        assert answered.wait(5)
        return Principal("ann")

    async def main():
        asked = asyncio.create_task(world.gated(authenticate).identify_async(world.request(tenant="acme")))
        await asyncio.sleep(0)
        answered.set()
        return (await asked).user_id

    assert asyncio.run(main()) == "ann"


@pytest.mark.parametrize(("expires", "admitted"), [(0.5, True), (0, False), (-1, False), (float("nan"), False)])
def test_m4_an_expired_principal_is_refused(world, admit, expires, admitted):
    gate = world.gated(lambda *_: Principal("ann", expires_at=world.clock.now() + expires))
    if admitted:
        assert admit(gate, world.request(tenant="acme")).user_id == "ann"
    else:
        refusal(admit, gate, world.request(tenant="acme"), AuthenticationFailed)


def test_m15_as_permissions_are_not_used_in_b(world, admit):
    world.members["token-a", "ten_beta"] = Principal("ann", frozenset())
    admit(world.gate, world.request(tenant="acme")).require("projects:read")
    with pytest.raises(PermissionDenied):
        admit(world.gate, world.request(tenant="beta")).require("projects:read")


def test_m11_j3_a_revoked_token_is_refused_at_once(world, admit):
    admit(world.gate, world.request(tenant="acme"))
    del world.members["token-a", "ten_acme"]
    refusal(admit, world.gate, world.request(tenant="acme"), AuthenticationFailed)


@pytest.mark.parametrize(
    "error", [AuthenticationFailed(f"bad {SECRET}"), AuthenticationFailed("bad"), ValueError(SECRET)]
)
def test_j6_j7_the_token_is_in_no_error_no_repr_and_no_traceback_with_locals(world, error):
    def authenticate(token, tenant_id):
        raise error

    request = world.request(SECRET, tenant="acme", host="acme.example.com")
    assert SECRET not in repr(request)
    with pytest.raises(PartywallError) as caught:
        world.gated(authenticate).identify(request)
    lines = traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    # This test's own frame knows the error and the request; what the gate adds must not.
    seen = "".join(line for line in lines if "partywall/web" in line)
    assert "partywall/web" in seen
    assert SECRET not in seen
    assert SECRET not in str(problem(caught.value)) + repr(caught.value)


def test_j6_a_malformed_token_is_not_shown_either(world):
    request = world.request(f"{SECRET} x", tenant="acme")
    with pytest.raises(AuthenticationFailed) as caught:
        world.gate.identify(request)
    lines = traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    assert SECRET not in "".join(lines)


def test_j6_nothing_is_logged_of_an_admitted_request(world, caplog):
    with caplog.at_level(logging.DEBUG):
        sync_admit(world.gate, world.request(tenant="acme"))
    assert caplog.text == ""


def test_a_cancelled_check_is_cancelled_and_admits_nobody(world):
    async def authenticate(token, tenant_id):
        await asyncio.Event().wait()

    async def main():
        task = asyncio.create_task(world.gated(authenticate).identify_async(world.request(tenant="acme")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
