"""Writes src/partywall/aio/: the awaitable twin of every room that can block, from the rooms' own signatures.

Without arguments it writes the files; with ``--check`` it exits 1 when one is not what it would write.
"""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import ModuleType

from partywall.agents import Agents
from partywall.audit import AuditLog
from partywall.isolation import Isolation, ScopedQuery
from partywall.quotas import Quotas, Reservation, Usage
from partywall.tenants import Tenants

TARGET = Path(__file__).parent.parent / "src" / "partywall" / "aio"

HEAD = '''"""The engine for async code: what can block, awaited, under the same names and arguments.

Written by tools/generate_aio.py from the rooms' own signatures; change those and run ``make format``.
What is in memory (limiter, features, snapshot, tenant context) is called on the engine itself.
"""

from __future__ import annotations

'''

PART = '''"""The awaitable twins of {sources}; written by tools/generate_aio.py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from partywall.names import TenantId
from partywall.quotas import Hold
from partywall.workers import Entering, Workers
'''
"""Before the twins of one module: what their templates need is imported, what they don't is removed afterwards."""

TRANSACTION = '''
    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncScopedQuery]:
        """All that this handle does in the block is committed together at its end, or not at all.

        The transaction keeps one worker thread. An exception, or a cancelled await, rolls back.
        """
        async with self._workers.transaction(self, self._sync.tenant_id, self._sync.transaction):
            yield self
'''

RESERVE = '''
    def reserve(
        self, tenant_id: str, *, lease: float = 300.0, idempotency_key: str | None = None, **amounts: int
    ) -> Entering[AsyncReservation]:
        """Hold amounts of several quotas, such as ``tokens=8_000``: all of them or none.

        Awaited for the handle, or entered at once: ``async with engine.aio.quotas.reserve(...) as held``.
        """
        held = partial(self._sync.reserve, tenant_id, lease=lease, idempotency_key=idempotency_key, **amounts)

        async def make() -> AsyncReservation:
            return AsyncReservation(await self._workers.make(self, held), self._workers)

        return Entering(make)

    def hold(
        self, tenant_id: str, *, lease: float | None = None, wait: float | None = None, **amounts: int
    ) -> Entering[Hold]:
        """Hold places of a concurrency quota, such as ``agents=1``; waiting for them holds no thread.

        Awaited for the handle, or entered at once: ``async with engine.aio.quotas.hold(...)``.
        """
        return Entering(partial(self._sync.hold_async, tenant_id, lease=lease, wait=wait, **amounts))
'''

RESERVATION = '''
    @property
    def id(self) -> str:
        """``res_`` and 32 hexadecimal digits."""
        return self._sync.id

    @property
    def tenant_id(self) -> TenantId:
        """Whose quotas are held."""
        return self._sync.tenant_id

    @property
    def amounts(self) -> Mapping[str, int]:
        """What is held, by metric."""
        return self._sync.amounts

    async def __aenter__(self) -> AsyncReservation:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._workers.finish(self, self._sync.__exit__)
'''

ENGINE = '''
class AsyncEngine:
    """The awaitable face of an engine: ``engine.aio``."""

    def __init__(self, engine: Engine, workers: Workers) -> None:
        self._engine = engine
        self._workers = workers
{rooms}
    async def query(self, tenant_id: str | None = None) -> AsyncScopedQuery:
        """A handle to the rows of the named tenant, or of the tenant context's."""
        return AsyncScopedQuery(self._engine.query(tenant_id), self._workers)
'''


@dataclass(frozen=True)
class Twin:
    """One class, the module of its twin, the attribute of the engine that it is, and its methods that can block."""

    source: type
    module: str
    attribute: str
    methods: str
    extra: str = ""

    @property
    def name(self) -> str:
        """The name of the awaitable class."""
        return f"Async{self.source.__name__}"


TWINS = (
    Twin(
        ScopedQuery,
        "_rows",
        "",
        "select get page count aggregate arrow sql"
        " insert insert_many insert_arrow update update_where delete delete_where upsert",
        TRANSACTION,
    ),
    Twin(
        Tenants,
        "_tenants",
        "tenants",
        "create update_settings change_plan rename suspend resume delete restore purge purge_due",
    ),
    Twin(Quotas, "_quotas", "quotas", "check consume", RESERVE),
    Twin(Reservation, "_quotas", "", "commit release extend", RESERVATION),
    Twin(Usage, "_quotas", "usage", "increment totals reserved history verify repair"),
    Twin(Isolation, "_rows", "isolation", "validate_access placement move move_pending pending_moves check_stores"),
    Twin(Agents, "_tenants", "agents", "spawn stop stop_tenant"),
    Twin(AuditLog, "_tenants", "audit", "records"),
)


_WHOLE = ""
"""Where a module is from that is imported whole."""


class Imports:
    """Collects the imports that the copied signatures need."""

    def __init__(self) -> None:
        self._names: dict[str, set[str]] = defaultdict(set)

    def add(self, module: str, name: str) -> None:
        """Need a name."""
        self._names[module].add(name)

    def add_from(self, text: str, source: ModuleType) -> None:
        """Need every name of an annotation, from where the annotated module has it."""
        origins = _origins(source)
        for name in re.findall(r"[A-Za-z_]\w*", text):
            if name in origins:
                self.add(origins[name], name)

    def __str__(self) -> str:
        return "".join(map(_statement, self._names, self._names.values()))


def _statement(module: str, names: set[str]) -> str:
    listed = ", ".join(sorted(names))
    return f"from {module} import {listed}\n" if module else f"import {listed}\n"


def _origins(module: ModuleType) -> dict[str, str]:
    origins: dict[str, str] = {}
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        match node:
            case ast.ImportFrom(module=str(origin)):
                origins |= {alias.name: origin for alias in node.names}
            case ast.Import():
                origins |= dict.fromkeys((alias.name for alias in node.names), _WHOLE)
            case ast.ClassDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                origins[name] = module.__name__
    return origins


def _spelled(signature: inspect.Signature, imports: Imports, source: ModuleType) -> str:
    parts: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        stars = "**" if parameter.kind is parameter.VAR_KEYWORD else ""
        annotation = "" if parameter.annotation is parameter.empty else f": {parameter.annotation}"
        default = "" if parameter.default is parameter.empty else f" = {_default(parameter.default)}"
        imports.add_from(annotation + default, source)
        parts.append(f"{stars}{parameter.name}{annotation}{default}")
    imports.add_from(signature.return_annotation, source)
    return f"({', '.join(parts)}) -> {signature.return_annotation}"


def _default(value: object) -> str:
    return f"{type(value).__name__}.{value.name}" if isinstance(value, Enum) else repr(value)


def _forwarded(parameter: inspect.Parameter) -> str:
    if parameter.kind is parameter.KEYWORD_ONLY:
        return f"{parameter.name}={parameter.name}"
    return f"**{parameter.name}" if parameter.kind is parameter.VAR_KEYWORD else parameter.name


def _method(owner: type, name: str, imports: Imports) -> str:
    awaitable = getattr(owner, f"{name}_async", None)  # what waits without a thread says so itself
    function = awaitable or getattr(owner, name)
    source = sys.modules[owner.__module__]
    signature = inspect.signature(function)
    arguments = ", ".join(_forwarded(parameter) for parameter in list(signature.parameters.values())[1:])
    call = f"_sync.{name}_async({arguments})" if awaitable else f"_workers.run(self, self._sync.{name}, {arguments})"
    summary = (inspect.getdoc(getattr(owner, name)) or "").splitlines()[0]
    return (
        f"\n    async def {name}{_spelled(signature, imports, source)}:\n"
        f'        """{summary}"""\n'
        f"        return await self.{call}\n"
    )


def _twin(twin: Twin, imports: Imports) -> str:
    imports.add(twin.source.__module__, twin.source.__name__)
    body = "".join(_method(twin.source, name, imports) for name in twin.methods.split())
    return (
        f"\nclass {twin.name}:\n"
        f'    """The awaitable twin of ``{twin.source.__name__}``."""\n\n'
        f"    def __init__(self, sync: {twin.source.__name__}, workers: Workers) -> None:\n"
        f"        self._sync = sync\n        self._workers = workers\n{body}{twin.extra}\n"
    )


def _part(module: str) -> str:
    imports = Imports()
    twins = [twin for twin in TWINS if twin.module == module]
    classes = "".join(_twin(twin, imports) for twin in twins)
    sources = ", ".join(f"``{twin.source.__name__}``" for twin in twins)
    return PART.format(sources=sources) + str(imports) + _public(twin.name for twin in twins) + classes


def _package() -> str:
    imports = "".join(f"from partywall.aio.{twin.module} import {twin.name}\n" for twin in TWINS)
    imports += "from partywall.workers import Workers\nfrom typing import TYPE_CHECKING\n"
    rooms = "".join(
        f"        self.{twin.attribute} = {twin.name}(engine.{twin.attribute}, workers)\n"
        for twin in TWINS
        if twin.attribute
    )
    for_types = "\nif TYPE_CHECKING:\n    from partywall.engine import Engine\n"
    public = _public(["AsyncEngine", *(twin.name for twin in TWINS)])
    return HEAD + imports + for_types + public + ENGINE.format(rooms=rooms)


def _public(names: Iterable[str]) -> str:
    return f"\n__all__ = [{', '.join(repr(name) for name in sorted(names))}]\n"


def generate() -> dict[Path, str]:
    """The modules' sources, formatted."""
    parts = {TARGET / f"{module}.py": _part(module) for module in sorted({twin.module for twin in TWINS})}
    sources = {TARGET / "__init__.py": _package(), **parts}
    return {path: _formatted(path, source) for path, source in sources.items()}


def _formatted(path: Path, source: str) -> str:
    for command in (["check", "--select", "I,F401", "--fix", "--quiet"], ["format", "--quiet"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(path), "-"]
        source = subprocess.run(ruff, input=source, capture_output=True, text=True, check=True).stdout  # noqa: S603  # our own linter
    return source


def main() -> int:
    """Write the files, or with ``--check`` compare them."""
    wanted = generate()
    if "--check" not in sys.argv:
        TARGET.mkdir(exist_ok=True)
        for path, source in wanted.items():
            path.write_text(source)
        return 0
    found = {path: path.read_text() for path in TARGET.glob("*.py")}
    if found == wanted:
        return 0
    print(f"{TARGET.name} is not what its sources say; run: make format")
    return 1


if __name__ == "__main__":
    sys.exit(main())
