"""What pytest must know about the kit: its options, what is not claimed, and the last lines of its report."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from partywall.backend import BackendSpec, Capability
from partywall.conformance.check import SHORT
from partywall.conformance.resolve import resolve
from partywall.errors import PartywallError

__all__ = ["claimed", "name_of", "operations", "seed_of", "spec_of"]

_REPORT = pytest.StashKey[dict[str, "Counter[str]"]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the kit."""
    group = parser.getgroup("partywall", "the conformance kit of partywall")
    group.addoption("--backend", metavar="NAME", help="the installed backend to examine")
    group.addoption(
        "--operations",
        type=int,
        default=None,
        metavar="N",
        help=f"operations of the random histories (default {SHORT:,}; a release deserves 1,000,000)",
    )
    group.addoption("--seed", type=int, default=None, metavar="N", help="only the mixture of calls with this seed")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not claimed, and remember it for the report."""
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    report = config.stash.setdefault(_REPORT, {})
    for item in items:
        reason = _not_claimed(config, item)
        if reason is None:
            kept.append(item)
        else:
            left_out.append(item)
            report[name_of(item.cls, config)][reason] += 1  # type: ignore[attr-defined]  # only a test in a class has a reason
    items[:] = kept
    if left_out:
        config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say for each backend what it claims and what was therefore not tested."""
    for name, left_out in config.stash.get(_REPORT, {}).items():
        claims = ", ".join(sorted(resolve(name).capabilities)) or "nothing beyond the required part"
        terminalreporter.write_line(f"partywall: {name} claims {claims}")
        for reason, tests in sorted(left_out.items()):
            terminalreporter.write_line(f"partywall: {reason}: {tests} tests of it do not apply")


def name_of(cls: Any, config: pytest.Config) -> str:
    """The name of the backend that a class of tests is about; UsageError without one."""
    name = cls.backend or config.getoption("--backend", None)
    if not name:
        raise pytest.UsageError("name the backend: --backend NAME, or the attribute `backend` of the class")
    return str(name)


def spec_of(cls: Any, config: pytest.Config) -> BackendSpec:
    """The backend that a class of tests is about; UsageError when it is not named or not installed."""
    try:
        return resolve(name_of(cls, config))
    except (PartywallError, ImportError, AttributeError) as error:
        raise pytest.UsageError(str(error)) from None


def claimed(cls: Any, config: pytest.Config, wanted: Capability | str) -> bool:
    """Whether the backend claims the capability, or the class brings what a test asks for by name."""
    if isinstance(wanted, Capability):
        return wanted in spec_of(cls, config).capabilities
    return getattr(cls, wanted, None) is not None


def operations(cls: Any, config: pytest.Config) -> int:
    """How many operations the random histories have, all together: the option, or else the class, says so."""
    given = config.getoption("--operations", None)
    return int(cls.operations if given is None else given)


def seed_of(config: pytest.Config) -> int | None:
    """The one seed that the mixture of calls is to be drawn from; None for all of them."""
    seed: int | None = config.getoption("--seed", None)
    return seed


def _not_claimed(config: pytest.Config, item: pytest.Item) -> str | None:
    cls = getattr(item, "cls", None)
    if not getattr(cls, "partywall_conformance", False):
        return None
    spec_of(cls, config)  # or a usage error, before anything is said of it
    config.stash.setdefault(_REPORT, {}).setdefault(name_of(cls, config), Counter())
    for wanted in getattr(item.function, "partywall_requires", ()):  # type: ignore[attr-defined]  # it is a function's item
        if not claimed(cls, config, wanted):
            return f"{wanted} is not claimed" if isinstance(wanted, Capability) else f"no {wanted} was given"
    return None
