"""Errors as responses."""

import json

import pytest

from partywall import errors
from partywall.errors import PartywallError
from partywall.web import problem


def made(cls):
    extra = {
        errors.QuotaExceeded: {"quota": "users", "current": 1, "limit": 1, "requested": 1},
        errors.FeatureNotInPlan: {"feature": "sso", "plan": "free"},
        errors.RateLimited: {"action": "api_requests", "limit": 1, "retry_after": 0.2},
        errors.DataFolderInUse: {"pid": 4711},
        errors.ReservationEnded: {"state": "committed"},
    }
    return cls("what happened", **extra.get(cls, {}))


EVERY = [getattr(errors, name) for name in errors.__all__ if name != "Problem"]


@pytest.mark.parametrize("cls", EVERY)
def test_every_error_is_a_problem_document(cls):
    sent = problem(made(cls))
    body = json.loads(sent.encoded())
    assert set(body) == {"type", "title", "status", "detail"}
    assert body["type"] == f"urn:partywall:problem:{cls.code}"
    assert sent.status == body["status"] == cls.status
    headers = dict(sent.headers)
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Cache-Control"] == "no-store"
    assert ("Retry-After" in headers) == (cls.status in (429, 503))
    assert ("WWW-Authenticate" in headers) == (cls.status == 401)


@pytest.mark.parametrize("cls", [cls for cls in EVERY if cls.status >= 500])
def test_i6_i9_what_went_wrong_inside_is_not_told(cls):
    sent = problem(made(cls))
    assert "what happened" not in sent.body["detail"]
    assert "4711" not in sent.encoded().decode()


@pytest.mark.parametrize(("seconds", "header"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.01, "2"), (59.5, "60")])
def test_retry_after_is_in_whole_seconds_rounded_up(seconds, header):
    error = errors.RateLimited("wait", action="api_requests", limit=1, retry_after=seconds)
    assert dict(problem(error).headers)["Retry-After"] == header


def test_a_window_that_never_opens_names_no_moment():
    error = errors.RateLimited("never", action="api_requests", limit=0, retry_after=float("inf"))
    assert "Retry-After" not in dict(problem(error).headers)


def test_the_title_is_the_codes_words():
    assert problem(PartywallError("x")).body["title"] == "Error"
    assert problem(errors.TenantNotFound("no such tenant")).body["title"] == "Tenant not found"
