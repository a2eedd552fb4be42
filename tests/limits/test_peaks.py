"""How far each algorithm lets a tenant go beyond its limit for a while: the figures of docs/limits.md, measured."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from partywall.model import Rate, RateLimit

ACME, REQUESTS = "ten_acme", "api_requests"
PAGE = Path(__file__).parents[2] / "docs" / "limits.md"
LIMIT, WINDOW = 100, 60.0
ALGORITHMS = {
    "sliding_window": "sliding_window",
    "fixed_window": "fixed_window",
    "gcra": "gcra",
    "gcra, burst 10": "gcra/10",
}


def rate_of(requests: int) -> Rate:
    return Rate.model_validate({"maxRequests": requests, "windowMs": 60_000})


def admitted(limited_to, rate, algorithm: str, asked: Iterator[float]) -> list[float]:
    """The moments at which calls were admitted, of those at which they were asked for."""
    limiter, clock, _ = limited_to(rate(LIMIT, WINDOW, algorithm), 0.0)
    moments = []
    for at in asked:
        clock.advance(max(0.0, at - clock.monotonic()))
        if limiter.check(ACME, REQUESTS):
            moments.append(at)
    return moments


def peak(moments: list[float], length: float) -> float:
    """The most calls in any stretch of this length, as a part of the limit."""
    most = first = 0
    for last, at in enumerate(moments):
        while moments[first] <= at - length:
            first += 1
        most = max(most, last - first + 1)
    return most / LIMIT


def attack() -> Iterator[float]:
    """Nothing for a while, everything just before an edge, and from then on whatever is there."""
    yield from [2 * WINDOW - 0.05] * (LIMIT + 1)
    for step in range(1, 1_400):
        yield from [2 * WINDOW - 0.05 + step / 10] * (LIMIT + 1 if step == 1 else 3)


def arrivals(seed: int, times: float) -> Iterator[float]:
    """Calls at random moments, on average so many times what the limit grants."""
    rng, at = random.Random(seed), 0.0
    while at < 40 * WINDOW:
        at += rng.expovariate(times * LIMIT / WINDOW)
        yield at


def measured(limited_to, rate, algorithm: str) -> list[float]:
    worst = admitted(limited_to, rate, algorithm, attack())
    usual, busy = (
        max(peak(admitted(limited_to, rate, algorithm, arrivals(seed, times)), WINDOW) for seed in range(3))
        for times in (1, 5)
    )
    return [peak(worst, 1), peak(worst, WINDOW), usual, busy]


def documented(label: str) -> list[float]:
    *_, row = (line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{label}` |"))
    return [float(cell) for cell in row.split("|")[2:6]]


def test_the_plan_on_the_page_is_legal() -> None:
    text = PAGE.read_text().partition("```yaml\n")[2].partition("```")[0]
    limits = {action: RateLimit.model_validate(limit) for action, limit in yaml.safe_load(text)["rate_limits"].items()}
    assert limits["api_requests"].per_user == rate_of(60)
    assert limits["agent_spawns"].at_once == 5


@pytest.mark.parametrize("label", ALGORITHMS)
def test_l10_the_peaks_of_each_algorithm_are_those_that_the_page_states(limited_to, rate, label) -> None:
    assert measured(limited_to, rate, ALGORITHMS[label]) == [
        pytest.approx(part, abs=0.0051) for part in documented(label)
    ]
