"""What does a rate-limit check cost, and how right is it, beside an empty call and the limiters that people use?

``python -m benchmarks limits`` prints one table and keeps it; ``python -m benchmarks.limits --publish FILE`` writes the
summary and the picture in ``docs/benchmarks`` from a run that was kept. Costs are CPU times of batches, each between
two batches of an empty Python function over the same arguments, in one process, in turns; the ratio is the median over
the rounds. With several threads it is the time that passes. Nobody else's work is subtracted: run it on a machine that
is quiet.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks import _chart, _measure, _report
from benchmarks._limiters import ACTIONS, CONTESTANTS, HOUR, OURS, TENANTS, Contestant, Limiting

CALLS = 20_000
KEYS = [(tenant, action) for tenant in TENANTS[:10_000] for action in ACTIONS]
AMPLE, SCARCE = 1_000_000, 10
THREADS = (1, 4, 8)
RACERS, RACES, RACED = 8, 5, 500
AIMS = {"hot key": 6.0, "20,000 keys, uniform": 12.0}
GCRA = "partywall gcra"

Calls = list[tuple[str, str]]


def empty(tenant: str, action: str) -> None:
    """The floor: a call that does nothing."""


def batch_of(
    contestant: Contestant, limiting: Limiting, calls: Calls, loop: asyncio.AbstractEventLoop
) -> _measure.Batch:
    """All calls, once; awaited ones on the loop."""
    check = limiting.check

    def run() -> None:
        for tenant, action in calls:
            check(tenant, action)

    async def run_awaited() -> None:
        for tenant, action in calls:
            await check(tenant, action)

    if contestant.awaited:
        return lambda: loop.run_until_complete(run_awaited())
    return _measure.unshared(run)


def zipf(rng: random.Random) -> Calls:
    """Few keys are asked for most of the calls, as tenants are: the n-th as often as 1/n."""
    keys = rng.sample(KEYS, len(KEYS))
    weights = list(itertools.accumulate(1 / rank for rank in range(1, len(keys) + 1)))
    return rng.choices(keys, cum_weights=weights, k=CALLS)


def workloads() -> Iterator[tuple[str, int, Calls, Calls]]:
    """A name, the limit, the calls that come before, and those that are measured."""
    rng = random.Random(2)
    hot, neighbour = KEYS[16], KEYS[18]
    # A neighbour on the same plan has made its calls: what a plan shares is there, as in a running engine.
    yield "hot key", AMPLE, [*[neighbour] * 6 * CALLS, hot], [hot] * CALLS
    yield "20,000 keys, uniform", AMPLE, KEYS, rng.choices(KEYS, k=CALLS)
    yield "20,000 keys, zipf", AMPLE, [*[neighbour] * 6 * CALLS, *KEYS], zipf(rng)
    yield "hot key, refused", SCARCE, [hot] * (SCARCE + 2), [hot] * CALLS


def one_thread(rounds: int, loop: asyncio.AbstractEventLoop) -> None:
    """CPU time of a check, under every workload."""
    for name, limit, before, calls in workloads():
        batches = {}
        for contestant in CONTESTANTS:
            limiting = contestant.make(limit, HOUR)
            batch_of(contestant, limiting, before if contestant.name in {OURS, GCRA} else before[-CALLS:], loop)()
            batches[contestant.name] = batch_of(contestant, limiting, calls, loop)
        floor = batch_of(CONTESTANTS[0], Limiting(empty, int), calls, loop)
        samples = _measure.side_by_side(batches, floor, len(calls), rounds)
        figures = {who: sample.nanoseconds for who, sample in samples.items()}
        record(name, "ns", figures, aim=AIMS.get(name), ratios={who: one.ratio for who, one in samples.items()})


def record(
    measure: str,
    unit: str,
    figures: Mapping[str, float],
    *,
    aim: float | None = None,
    ratios: Mapping[str, float] | None = None,
) -> None:
    """A line for our default algorithm among all peers, and one for ours among those that pace permits as it does."""
    paced = {one.name for one in CONTESTANTS if one.paced and one.name in figures}
    shown = ratios or {}
    for ours, names, label, goal in (
        (OURS, set(figures) - {GCRA}, measure, aim),
        (GCRA, paced, f"gcra: {measure}", None),
    ):
        _report.record(
            "limits",
            label,
            unit,
            {name: figure for name, figure in figures.items() if name in names},
            ours=ours,
            aim=goal,
            ratios={name: ratio for name, ratio in shown.items() if name in names},
        )


def threads() -> None:
    """Time that passes for a check of uniform keys while so many threads make them."""
    rng = random.Random(3)
    callers = [one for one in CONTESTANTS if not one.awaited]
    for count in THREADS:
        figures = {}
        for contestant in callers:
            check = contestant.make(AMPLE, HOUR).check
            for tenant, action in KEYS[:5_000]:
                check(tenant, action)
            works = [rng.choices(KEYS[:5_000], k=16_000 // count) for _ in range(count)]
            took = [
                _measure.together([lambda work=work, check=check: each(check, work) for work in works])
                for _ in range(3)
            ]
            figures[contestant.name] = min(took) * 1e9 / sum(map(len, works))
        record(f"{count} thread{'s' * (count > 1)}", "ns", figures)


def each(check: Callable[[str, str], object], calls: Calls) -> None:
    """Every call, one after another."""
    for tenant, action in calls:
        check(tenant, action)


def latencies() -> None:
    """How long single checks of uniform keys take, the timer included."""
    calls = random.Random(4).choices(KEYS, k=2 * CALLS)
    found: dict[str, list[float]] = {}
    for contestant in CONTESTANTS:
        if contestant.awaited:
            continue
        check, clock = contestant.make(AMPLE, HOUR).check, time.perf_counter_ns
        for tenant, action in KEYS:
            check(tenant, action)
        times = []
        for tenant, action in calls:
            begun = clock()
            check(tenant, action)
            times.append(clock() - begun)
        found[contestant.name] = [cut / 1000 for cut in statistics.quantiles(times, n=1000)]
    for label, index, aim in (("p50", 499, None), ("p99", 989, None), ("p99.9", 998, 10.0)):
        record(f"{label} of a check", "us", {name: cuts[index] for name, cuts in found.items()}, aim=aim)


def admitted(answer: object) -> bool:
    """What the contestants' answers have in common."""
    if isinstance(answer, dict):
        return bool(answer["allowed"])
    return not answer.limited if hasattr(answer, "limited") else bool(answer)


def races() -> None:
    """The most that racing threads were admitted of one window, beyond its limit."""
    before = sys.getswitchinterval()
    figures = {}
    for contestant in CONTESTANTS:
        if contestant.awaited:
            continue
        most = 0
        for _ in range(RACES):
            check = contestant.make(RACED, HOUR).check
            counts: list[int] = []

            def work(check: Callable[[str, str], object] = check, counts: list[int] = counts) -> None:
                counts.append(sum(admitted(check(*KEYS[0])) for _ in range(2 * RACED // RACERS)))

            sys.setswitchinterval(1e-6)
            _measure.together([work] * RACERS)
            sys.setswitchinterval(before)
            most = max(most, sum(counts))
        figures[contestant.name] = max(0.0, 100 * (most - RACED) / RACED)
    record(f"admitted too much by {RACERS} racing threads", "%", figures, aim=0.0)


def memory() -> None:
    """Bytes of the process for each of 100,000 keys, in a process for each contestant."""
    figures = {}
    for contestant in CONTESTANTS:
        command = [sys.executable, "-m", "benchmarks._memory", contestant.name]
        figures[contestant.name] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    record("memory for a key, of 100,000", "B", figures, aim=200.0)


def left_over(loop: asyncio.AbstractEventLoop) -> None:
    """Keys of 5,000 that are still held when their windows are over and calls for other keys have gone on."""
    made = [(one, one.make(AMPLE, 1)) for one in CONTESTANTS]
    for contestant, limiting in made:
        batch_of(contestant, limiting, KEYS[:5_000], loop)()
    time.sleep(2.1)  # the peers know no other clock
    figures = {}
    for contestant, limiting in made:
        batch_of(contestant, limiting, KEYS[5_000:6_000], loop)()
        figures[contestant.name] = float(max(0, limiting.held() - 1_000))
    record("idle keys held, of 5,000", "keys", figures, aim=0.0)


def main(rounds: int = 5) -> None:
    """Measure and record."""
    print("Rate limits: a few minutes", file=sys.stderr)
    loop = asyncio.new_event_loop()
    one_thread(rounds, loop)
    threads()
    latencies()
    races()
    memory()
    left_over(loop)
    loop.close()


def versions() -> dict[str, str]:
    """Those of the contestants' distributions."""
    return {one.distribution: _measure.installed(one.distribution) for one in CONTESTANTS}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--publish", type=Path, metavar="FILE", help="draw a run that was kept; measures nothing")
    arguments = parser.parse_args()
    if arguments.publish:
        _chart.publish(arguments.publish)
    else:
        main(arguments.rounds)
        _report.show("limits", versions())
