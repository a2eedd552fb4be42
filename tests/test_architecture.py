"""The tree tells the story: imports only go down, modules stay small, public names are explained."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import partywall

ROOT = Path(__file__).parent.parent
CORE = ROOT / "src" / "partywall"
DISTRIBUTIONS = [CORE, *sorted(ROOT.glob("backends/*/src/*")), *sorted(ROOT.glob("examples/*/src"))]

LAYERS = [
    {"errors", "names", "clock"},
    {"context", "model", "operators", "aggregates", "backend", "hookspecs", "sql"},
    {"catalog", "registry", "ledger", "folder"},
    {"directory", "audit", "journal"},
    {"limits", "quotas", "isolation"},
    {"tenants", "agents", "web"},
    {"engine", "aio", "workers", "housekeeping"},
    {"cli", "__main__"},
]
LAYER_OF = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
LAYER_OF |= dict.fromkeys(["conformance", "pytest_plugin"], 6.5)
"""The side room: it stands above all that it examines, and the command line may start it."""
FREE_LAYERS = {0, 1, 2, 3, 6, 6.5, 7}
"""Layers whose rooms know each other; those of the layers between are strangers."""

LONGEST_MODULE = 400
LONGEST_FUNCTION = 50
MOST_PUBLIC_NAMES = 40


def modules(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(folder.rglob("*.py"))


def room_of(path: Path) -> str:
    first = path.relative_to(CORE).parts[0]
    return first.removesuffix(".py")


def imported_rooms(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [
                f"{node.module}.{alias.name}" if node.module == "partywall" else node.module for alias in node.names
            ]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith("partywall."):
                yield name.split(".")[1], node.lineno


def type_checking_lines(path: Path) -> set[int]:
    return {
        line
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def test_every_room_has_a_layer() -> None:
    rooms = {room_of(path) for path in modules(CORE)} - {"__init__"}
    assert rooms == set(LAYER_OF)


def test_imports_only_go_down() -> None:
    wrong = []
    for path in modules(CORE):
        room = room_of(path)
        if room == "__init__":
            continue
        for_types = type_checking_lines(path)
        for target, line in imported_rooms(path):
            if target == room or line in for_types:
                continue
            above = LAYER_OF[target] > LAYER_OF[room]
            stranger = LAYER_OF[target] == LAYER_OF[room] and LAYER_OF[room] not in FREE_LAYERS
            if above or stranger:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {room} imports {target}")
    assert wrong == []


def test_the_core_never_imports_a_backend() -> None:
    backends = {path.name for path in ROOT.glob("backends/*/src/*")} | {"duckdb"}
    for path in modules(CORE):
        imported = {name for node in ast.walk(ast.parse(path.read_text())) for name in _roots(node)}
        assert not imported & backends, path


def _roots(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [(node.module or "").split(".")[0]]
    return [alias.name.split(".")[0] for alias in node.names] if isinstance(node, ast.Import) else []


def test_modules_and_functions_stay_small() -> None:
    wrong = []
    everything = modules(
        *DISTRIBUTIONS, *(ROOT / folder for folder in ("tests", "benchmarks", "examples", "tools", "backends"))
    )
    for path in everything:
        text = path.read_text()
        if text.count("\n") > LONGEST_MODULE:
            wrong.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} has {lines} lines")
    assert wrong == []


def test_the_public_names_are_few_explained_and_where_the_type_checker_finds_them() -> None:
    names = set(partywall.__all__) - {"__version__"}
    assert len(names) <= MOST_PUBLIC_NAMES
    for name in names:
        assert getattr(getattr(partywall, name), "__doc__", None), name
    tree = ast.parse((CORE / "__init__.py").read_text())
    for_types = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert for_types == {name: f"partywall.{home}" for name, home in partywall._HOME_OF.items()}


def test_every_module_class_and_public_function_says_what_it_is() -> None:
    wrong = []
    for path in modules(*DISTRIBUTIONS):
        tree = ast.parse(path.read_text())
        if not ast.get_docstring(tree):
            wrong.append(f"{path.relative_to(ROOT)}: the module")
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                private = node.name.startswith("_")
                if not private and not ast.get_docstring(node):
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}")
    assert wrong == []
