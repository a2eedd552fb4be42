"""The command line: what operators do from a terminal, beside a running engine or without one."""

from partywall.cli import audit, init, plans, plugins, status, tenants, usage, validate  # noqa: F401  # each adds its own
from partywall.cli.app import run

__all__ = ["run"]
