"""``partywall validate``: every problem in the files, offline, as compilers print them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final, TypeVar

import click
from pydantic import BaseModel

from partywall.catalog import check
from partywall.catalog.disk.reader import ENGINE, FIXED, PLANS, Folder, Unreadable, Unstable
from partywall.catalog.sources import Loaded, load_document
from partywall.cli.app import Call, command, partywall
from partywall.errors import BackendNotFound, ConfigError, PartywallError, Problem
from partywall.folder import DataFolder
from partywall.model import EngineConfig, PlansFile, Strategy, TenantSpec
from partywall.registry import Registry

__all__ = ["validate"]

M = TypeVar("M", bound=BaseModel)
_PLACE: Final = re.compile(r"\bsystem/tenancy/\S+:\d+:\d+")


@command(partywall)
@click.argument("folder", required=False, type=click.Path(path_type=Path))
def validate(call: Call, folder: Path | None) -> int:
    """Check the files.

    Those of FOLDER, or else of the data folder. One line per problem; exit code 1 if there is one.
    """
    target = call.folder if folder is None else DataFolder(folder)
    target.require()
    files = _Files(target)
    problems = sorted([*check(target.root), *files.unserved()], key=lambda each: (each.file, each.line, each.column))
    tenants, plans = len(files.tenants), len(files.plans)
    if call.output.as_json:
        document = [asdict(problem) for problem in problems]
        call.output.document({"ok": not problems, "tenants": tenants, "plans": plans, "problems": document})
        return bool(problems)
    # Named from where the command runs, as compilers do: that is where editors and terminals look for files.
    here = os.path.relpath(target.root)
    for problem in problems:
        call.output.line(_PLACE.sub(lambda place: os.path.join(here, place[0]), str(problem)))  # noqa: PTH118  # a text
    if not problems:
        call.output.line(f"ok: {_counted(tenants, 'tenant')}, {_counted(plans, 'plan')}")
    return bool(problems)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


class _Files:
    """The files as they are, for what can only be told with the installed backends at hand."""

    def __init__(self, target: DataFolder) -> None:
        self._folder = Folder(target.root)
        self.tenants = sorted(key for key in self._folder.scan() if key not in FIXED)
        self._engine = self._load(ENGINE, EngineConfig)
        plans = self._load(PLANS, PlansFile)
        self.plans = plans.candidate.model.plans if plans and plans.candidate else {}

    def unserved(self) -> Iterator[Problem]:
        """Backends in engine.yaml that cannot serve, and tenants whose strategy no installed backend offers."""
        config = self._engine.candidate.model if self._engine and self._engine.candidate else EngineConfig()
        missing: dict[Strategy, str] = {}
        for strategy, error in _refused(Registry(), config).items():
            if self._engine and strategy in config.backends:
                yield self._engine.document.problem(("backends", strategy), str(error))
            elif isinstance(error, BackendNotFound):
                missing[strategy] = str(error)
            else:
                yield Problem(self._folder.label(ENGINE), 1, 1, str(error))
        if missing:
            yield from self._waiting_for(missing)

    def _waiting_for(self, missing: Mapping[Strategy, str]) -> Iterator[Problem]:
        for key in self.tenants:
            loaded = self._load(key, TenantSpec)
            if loaded is None or loaded.candidate is None:
                continue
            spec = loaded.candidate.model
            strategy = spec.isolation or (self.plans[spec.type].isolation if spec.type in self.plans else None)
            message = missing.get(strategy) if strategy else None
            if message:
                yield loaded.document.problem(("isolation" if spec.isolation else "type",), message)

    def _load(self, key: str, model: type[M]) -> Loaded[M] | None:
        try:
            return load_document(self._folder, key, self._folder.read(key), model)
        except (FileNotFoundError, Unreadable, Unstable):
            return None


def _refused(registry: Registry, config: EngineConfig) -> dict[Strategy, PartywallError]:
    refused: dict[Strategy, PartywallError] = {}
    for strategy in Strategy:
        try:
            registry.choose(strategy, config)
        except (BackendNotFound, ConfigError) as error:
            refused[strategy] = error
    return refused
