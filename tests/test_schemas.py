from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tools import generate_schemas

import partywall
from partywall.catalog.disk.reader import UNSEEN, Folder, Read, digest_of
from partywall.catalog.sources import load_document
from partywall.catalog.text.document import load
from partywall.cli import run
from partywall.model import EngineConfig, PlansFile, TablesFile, TenantSpec

SAMPLE = Path(__file__).parent.parent / "orchestrator-data" / "system" / "tenancy"
MODELS = {"engine": EngineConfig, "plans": PlansFile, "tables": TablesFile, "tenant": TenantSpec}
STARTER = generate_schemas.TARGETS[1]

PLAN = """
plans:
  free:
    name: Free
    price: 0
    quotas: {maxUsers: 1, maxProjects: unlimited, maxTokensPerMonth: 0, maxStorageGB: 0.5, maxConcurrentAgents: 2}
    features: [all]
    rate_limits: {api.calls: {maxRequests: 0, windowMs: 1}, default: {maxRequests: 5, windowMs: 1000, per: user}}
"""
TENANT = """
id: ten_acme0001
name: Acme
slug: acme
type: free
status: active
owner: {userId: u1, email: a@acme.test, name: Ann}
"""
TABLE = "tables: {projects: {columns: {name: {type: text}}}}"

GOOD = {
    "engine": [
        "{}",
        "base_domain: a.b-c.test",
        "backends: {row_level: a-1, database_level: {backend: x, ephemeral: true, options: {a: [1, {b: null}]}}}",
        "regions: {eu: data-eu, us_1: /mnt/us}",
        "durability: interval\nmax_rows: 1\nreload: {sweep_seconds: 1, vanish_seconds: 0.5}",
    ],
    "plans": [
        PLAN,
        PLAN.replace("price: 0", "price: custom"),
        PLAN.replace("price: 0", "price: 9.99\n    isolation: database_level\n    retentionDays: 0"),
        PLAN.replace("price: 0", "price: 0\n    softQuotas: [maxUsers]\n    reservations: {onExpiry: charge_cap}"),
    ],
    "tables": [
        TABLE,
        "tables: {a: {columns: {b: {type: timestamp, default: now, required: true}}, unique: [[b]]}}",
        "tables: {a: {columns: {b: {type: text, references: a}, c: {type: json, default: {x: [1]}}}}}",
    ],
    "tenant": [
        TENANT,
        TENANT.replace("id: ten_acme0001", ""),
        TENANT + 'createdAt: "2026-11-23T10:00:00Z"\nsuspendedAt: "2026-11-23 10:00:00.5+05:30"\ndeletedAt: null',
        TENANT + "quotas: {maxUsers: unlimited, maxStorageGB: 0.25, maxProjects: null}\nisolation: null",
        TENANT + "settings: {allowedModels: [a, b], dataResidency: eu, complianceFrameworks: []}",
        TENANT + "domains: [app.acme.test, xn--bcher-kva.example]\nbilling: {billingEmail: i@acme.test}",
        TENANT + "rate_limits: {default: {maxRequests: 1, windowMs: 60000, algorithm: fixed_window}}",
        TENANT.replace("slug: acme", "slug: a").replace("a@acme.test", "o'neil+x@sub.acme.co.test"),
    ],
}
BAD = {
    "engine": [
        "durabilty: commit",
        "durability: never",
        "base_domain: localhost",
        "base_domain: A.test",
        "base_domain: 10.0.0.1",
        "backends: {rows: duckdb-row}",
        "backends: {row_level: DuckDB}",
        "backends: {row_level: {options: {}}}",
        "regions: {EU: data}",
        "regions: {eu: 3}",
        "max_rows: 0",
        'max_rows: "9"',
        "reload: {sweep_seconds: 0}",
        "reload: 5",
        "[]",
    ],
    "plans": [
        "{}",
        "plans: {}",
        "plans: []",
        PLAN.replace("free", "Free", 1),
        PLAN.replace("price: 0", "price: cheap"),
        PLAN.replace("price: 0", "price: -1"),
        PLAN.replace("price: 0", "colour: red"),
        PLAN.replace("maxUsers: 1, ", ""),
        PLAN.replace("maxUsers: 1", "maxUsers: -1"),
        PLAN.replace("maxUsers: 1", "maxUsers: 1.5"),
        PLAN.replace("maxUsers: 1", 'maxUsers: "1"'),
        PLAN.replace("maxUsers: 1", "maxUsers: 9007199254740993"),
        PLAN.replace("maxUsers: 1", "maxUsers: none"),
        PLAN.replace("maxUsers: 1", "maxUsers: null"),
        PLAN.replace("maxStorageGB", "maxStorageGb"),
        PLAN.replace("[all]", "all"),
        PLAN.replace("[all]", "[Single-Sign-On]"),
        PLAN.replace("api.calls", "API"),
        PLAN.replace("windowMs: 1}", "windowMs: 0}"),
        PLAN.replace(", windowMs: 1}", "}"),
        PLAN.replace("per: user", "per: seat"),
        PLAN.replace("price: 0", "price: 0\n    isolation: none"),
        PLAN.replace("price: 0", "price: 0\n    softQuotas: [maxConcurrentAgents]"),
        PLAN.replace("price: 0", "price: 0\n    reservations: {overrun: keep}"),
        PLAN.replace("price: 0", "price: 0\n    retentionDays: 4000"),
    ],
    "tables": [
        "tables: {}",
        "tables: {main: {columns: {a: {type: text}}}}",
        "tables: {pg_x: {columns: {a: {type: text}}}}",
        "tables: {Projects: {columns: {a: {type: text}}}}",
        "tables: {a: {columns: {}}}",
        "tables: {a: {columns: {id: {type: text}}}}",
        "tables: {a: {columns: {tenant_id: {type: text}}}}",
        "tables: {a: {columns: {b: {type: string}}}}",
        "tables: {a: {columns: {b: {type: text, require: true}}}}",
        "tables: {a: {columns: {b: {type: text, required: 1}}}}",
        "tables: {a: {columns: {b: {type: text}}, unique: [b]}}",
        "tables: {a: {columns: {b: text}}}",
    ],
    "tenant": [
        "[]",
        TENANT.replace("name: Acme", ""),
        TENANT.replace("name: Acme", "name: 12"),
        TENANT.replace("name: Acme", 'name: ""'),
        TENANT.replace("ten_acme0001", "acme"),
        TENANT.replace("ten_acme0001", "ten_ACME"),
        TENANT.replace("slug: acme", "slug: Acme"),
        TENANT.replace("slug: acme", "slug: a_b"),
        TENANT.replace("slug: acme", "slug: -a"),
        TENANT.replace("slug: acme", "slug: www"),
        TENANT.replace("slug: acme", "slug: ten-1"),
        TENANT.replace("slug: acme", "slug: ab--cd"),
        TENANT.replace("slug: acme", f"slug: {'a' * 49}"),
        TENANT.replace("type: free", "type: Free"),
        TENANT.replace("status: active", "status: on-hold"),
        TENANT.replace("a@acme.test", "acme.test"),
        TENANT.replace("a@acme.test", "a@acme"),
        TENANT.replace("userId", "user_id"),
        TENANT + "created_at: x",
        TENANT + "createdAt: yesterday",
        TENANT + 'createdAt: "2026-11-23T10:00:00"',
        TENANT + "quotas: {maxUsers: -1}",
        TENANT + "quotas: {users: 1}",
        TENANT + "settings: {allowedModels: m}",
        TENANT + "settings: {dataResidency: EU}",
        TENANT + "isolation: row",
        TENANT + "domains: [Acme.test]",
        TENANT + "domains: [acme]",
        TENANT + "domains: [acme.1]",
        TENANT + "rate_limits: {api: {maxRequests: 1}}",
        TENANT + f"suspensionReason: {'x' * 201}",
        TENANT + "usage: {projects: 1}",
    ],
}


def schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SAMPLE / "schema" / f"{name}.json").read_text())
    return found


def accepted_by_schema(name: str, text: str) -> bool:
    return Draft202012Validator(schema(name)).is_valid(load("x", text.encode()).data)


def accepted_by_loader(name: str, text: str) -> bool:
    read = Read(text.encode(), digest_of(text.encode()), UNSEEN)
    return load_document(Folder(SAMPLE), "x", read, MODELS[name]).candidate is not None


def cases(corpus: dict[str, list[str]]) -> list[Any]:
    return [
        pytest.param(name, text, id=f"{name}-{index}")
        for name, texts in corpus.items()
        for index, text in enumerate(texts)
    ]


def properties(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    whole = schema(name)
    for part in [whole, *whole.get("$defs", {}).values()]:
        yield from part.get("properties", {}).items()


def test_the_schemas_are_what_the_models_say_beside_the_samples_and_in_the_wheel() -> None:
    wanted = generate_schemas.generate()
    found = {path: path.read_text() for target in generate_schemas.TARGETS for path in target.iterdir()}
    assert found == wanted


@pytest.mark.parametrize("name", MODELS)
def test_a_schema_is_one_and_describes_every_key(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))
    for key, described in properties(name):
        text = described.get("description", "")
        assert text.endswith("."), key
        assert "None" not in text, key


@pytest.mark.parametrize(("name", "text"), cases(GOOD))
def test_what_the_loader_accepts_the_schema_accepts(name: str, text: str) -> None:
    assert accepted_by_loader(name, text)
    assert accepted_by_schema(name, text)


@pytest.mark.parametrize(("name", "text"), cases(BAD))
def test_what_the_loader_refuses_for_its_shape_the_schema_refuses(name: str, text: str) -> None:
    assert not accepted_by_loader(name, text)
    assert not accepted_by_schema(name, text)


def test_every_sample_names_its_schema_in_its_first_line_and_fits_it() -> None:
    samples = sorted(SAMPLE.rglob("*.yaml"))
    assert len(samples) > 4
    for path in samples:
        first, *_ = path.read_text().splitlines()
        assert first.startswith("# yaml-language-server: $schema="), path
        named = (path.parent / first.partition("$schema=")[2]).resolve()
        assert named.is_file(), path
        assert accepted_by_schema(named.stem, path.read_text()), path


@pytest.mark.parametrize("with_schemas", [True, False])
def test_a_tenant_that_is_created_names_its_schema_where_there_is_one(tmp_path: Path, with_schemas: bool) -> None:
    assert run(["init", str(tmp_path)]) == 0
    tenancy = tmp_path / "system" / "tenancy"
    if not with_schemas:
        (tenancy / "schema" / "tenant.json").unlink()
    owner = {"user_id": "u", "email": "a@b.test", "name": "A"}
    with partywall.open(tmp_path, watch=False) as engine:
        engine.tenants.create(name="Beta", slug="beta", plan="free", owner=owner)
    text = (tenancy / "tenants" / "beta.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=../schema/tenant.json\nid: ten_") is with_schemas
    assert accepted_by_schema("tenant", text)
