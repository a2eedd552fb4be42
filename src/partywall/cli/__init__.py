"""The command line: what operators do from a terminal, beside a running engine or without one."""

from partywall.cli import (  # noqa: F401  # each adds its own
    audit,
    diff,
    init,
    moves,
    plans,
    plugins,
    schema,
    status,
    stores,
    tenants,
    usage,
    validate,
    watch,
)
from partywall.cli.app import run

__all__ = ["run"]
