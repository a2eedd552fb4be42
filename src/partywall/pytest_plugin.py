"""Tells pytest of the conformance kit, once something asks for it; costs every other run of pytest nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

_PLUGIN = "partywall.conformance.plugin"


def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    """Add the options of the kit to a run of the kit, and to no other: their names are plain words."""
    if any(arg.startswith("partywall.conformance") for arg in args):
        early_config.pluginmanager.import_plugin(_PLUGIN)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Serve test modules that subclass ``Conformance`` without naming the plugin."""
    if "partywall.conformance.suite" in sys.modules and not config.pluginmanager.has_plugin(_PLUGIN):
        from partywall.conformance import plugin  # noqa: PLC0415  # imports pytest: only where there is a kit to run

        config.pluginmanager.register(plugin, _PLUGIN)
        plugin.pytest_collection_modifyitems(config, items)
