"""Writes the JSON Schemas of the files that operators edit, from the models and their docstrings.

Without arguments it writes them, beside the sample files and into the wheel; with ``--check`` it exits 1 when
one is not what it would write.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from partywall.model import EngineConfig, PlansFile, TablesFile, TenantSpec
from partywall.model import plan as plan_models
from partywall.model import settings as settings_models
from partywall.model import table as table_models
from partywall.model import tenant as tenant_models

ROOT = Path(__file__).parent.parent
TARGETS = [
    ROOT / "orchestrator-data" / "system" / "tenancy" / "schema",
    ROOT / "src" / "partywall" / "cli" / "starter" / "schema",
]
FILES: dict[str, tuple[str, type[BaseModel]]] = {
    "engine.json": ("engine.yaml", EngineConfig),
    "plans.json": ("plans.yaml", PlansFile),
    "tables.json": ("tables.yaml", TablesFile),
    "tenant.json": ("A tenant's file", TenantSpec),
}
DIALECT = "https://json-schema.org/draft/2020-12/schema"
MODELS = {
    model.__name__: model
    for module in (plan_models, settings_models, table_models, tenant_models)
    for model in vars(module).values()
    if isinstance(model, type) and issubclass(model, BaseModel)
}


def schema_of(model: type[BaseModel], title: str) -> dict[str, Any]:
    """The schema as editors want it: described, closed, and without what only repeats the name of a key."""
    schema = model.model_json_schema(by_alias=True)
    for name, part in [(model.__name__, schema), *schema.get("$defs", {}).items()]:
        part.pop("title", None)
        _describe(part, MODELS.get(name))
    for part in _parts(schema):
        _close(part)
    return {"$schema": DIALECT, "title": title, **schema}


def _describe(part: dict[str, Any], model: type[BaseModel] | None) -> None:
    if "description" in part:
        part["description"] = _text(part["description"])
    if model is None:
        return
    told = _field_docs(model)
    for name, field in model.model_fields.items():
        shown = part["properties"][field.alias or name]
        shown.pop("title", None)
        shown["description"] = _text(told[name])
        if shown.get("default", "") in (None, [], {}) or isinstance(shown.get("default"), dict):
            del shown["default"]


def _field_docs(model: type[BaseModel]) -> dict[str, str]:
    """The texts that stand beneath the fields of a model and of its bases."""
    told: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not issubclass(base, BaseModel) or base.__module__.startswith("pydantic"):
            continue
        (definition,) = ast.parse(inspect.getsource(base)).body
        assert isinstance(definition, ast.ClassDef)  # noqa: S101  # for the type checker: it is the source of a class
        for field, text in zip(definition.body, definition.body[1:], strict=False):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(doc))):
                    told[name] = doc
    return told


def _text(doc: str) -> str:
    return " ".join(doc.split()).replace("``", "`")


def _parts(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from _parts(child)
    elif isinstance(node, list):
        for child in node:
            yield from _parts(child)


def _close(part: dict[str, Any]) -> None:
    """A key that fits no pattern is refused, as the loader refuses it."""
    if "patternProperties" in part:
        part["additionalProperties"] = False


def generate() -> dict[Path, str]:
    """The schemas' texts."""
    texts = {name: json.dumps(schema_of(model, title), indent=2) + "\n" for name, (title, model) in FILES.items()}
    return {target / name: text for target in TARGETS for name, text in texts.items()}


def main() -> int:
    """Write the files, or with ``--check`` compare them."""
    wanted = generate()
    if "--check" not in sys.argv:
        for path, text in wanted.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return 0
    found = {path: path.read_text() for target in TARGETS for path in target.glob("*.json")}
    if found == wanted:
        return 0
    print("the schemas are not what the models say; run: make format")
    return 1


if __name__ == "__main__":
    sys.exit(main())
