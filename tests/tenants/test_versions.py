"""Who names the version that it saw never overwrites what it did not see, and is shown what that is."""

from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from partywall import Engine, TenantConflict
from partywall.ledger import OperationState
from partywall.model import Tenant
from partywall.tenants import queue_command


def file_of(engine: Engine) -> Path:
    return engine.folder.tenancy / "tenants" / "acme.yaml"


def save(engine: Engine, old: str, new: str) -> None:
    """As an editor does; nothing tells the engine of it yet."""
    text = file_of(engine).read_text()
    assert old in text
    file_of(engine).write_text(text.replace(old, new, 1))
    os.utime(file_of(engine), (1, 1))


WRITES: dict[str, Callable[[Engine, Tenant, str], object]] = {
    "update_settings": lambda engine, acme, seen: engine.tenants.update_settings(
        acme.id, {"default_model": "model-small"}, if_version=seen
    ),
    "change_plan": lambda engine, acme, seen: engine.tenants.change_plan(acme.id, "free", if_version=seen),
    "rename": lambda engine, acme, seen: engine.tenants.rename(acme.id, name="Apex", if_version=seen),
}
each_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)


@each_write
def test_a_write_that_names_the_version_there_is_done_and_gives_the_next_one(
    engine: Engine, acme: Tenant, write: Callable[..., Any]
) -> None:
    after = write(engine, acme, acme.version)
    assert after.version != acme.version
    assert engine.tenants.get(acme.id).version == after.version


@each_write
def test_a_write_on_top_of_an_unseen_edit_is_refused_with_the_diff_and_changes_nothing(
    engine: Engine, acme: Tenant, write: Callable[..., Any]
) -> None:
    save(engine, "name: Acme", "name: Acme-Ltd")
    text = file_of(engine).read_text()
    with pytest.raises(TenantConflict) as caught:
        write(engine, acme, acme.version)
    assert file_of(engine).read_text() == text
    there = engine.tenants.get(acme.id)
    assert (there.name, there.version) == ("Acme-Ltd", caught.value.version)
    assert caught.value.diff is not None
    assert caught.value.diff.splitlines() == [
        f"--- seen ({acme.version})",
        f"+++ there ({there.version})",
        "@@ -1,5 +1,5 @@",
        " id: ten_acme000000001",
        "-name: Acme",
        "+name: Acme-Ltd",
        " slug: acme",
        " type: professional",
        " status: active",
    ]
    assert write(engine, acme, there.version)


def test_the_file_itself_is_looked_at_and_not_what_is_in_force_of_it(engine: Engine, acme: Tenant) -> None:
    save(engine, "defaultModel: model-large", "defaultModel: model-small")
    with pytest.raises(TenantConflict):
        engine.tenants.update_settings(acme.id, {"default_model": "model-large"}, if_version=acme.version)
    assert "defaultModel: model-small" in file_of(engine).read_text()


def test_a_version_is_of_what_a_file_says_and_not_of_how_it_is_laid_out(engine: Engine, acme: Tenant) -> None:
    save(engine, "name: Acme", 'name:   "Acme" # the first')
    engine.catalog.refresh()
    assert engine.tenants.get(acme.id).version == acme.version
    assert engine.tenants.rename(acme.id, name="Apex", if_version=acme.version).name == "Apex"


def test_versions_of_several_edits_ago_are_still_told_apart(engine: Engine, acme: Tenant) -> None:
    later = [engine.tenants.rename(acme.id, name=f"Acme-{number}").version for number in range(3)]
    for number, version in enumerate([acme.version, *later[:-1]]):
        with pytest.raises(TenantConflict) as caught:
            engine.tenants.change_plan(acme.id, "free", if_version=version)
        assert f"-name: {'Acme' if number == 0 else f'Acme-{number - 1}'}\n+name: Acme-2\n" in str(caught.value.diff)


def test_what_was_seen_before_a_restart_is_known_from_the_last_good_version(
    open_engine: Callable[..., Engine],
) -> None:
    engine = open_engine()
    acme = engine.tenants.get_by_slug("acme")
    engine.close()
    save(engine, "name: Acme", "name: Acme-Ltd")
    with pytest.raises(TenantConflict) as caught:
        open_engine().tenants.rename(acme.id, name="Apex", if_version=acme.version)
    assert "-name: Acme\n+name: Acme-Ltd\n" in str(caught.value.diff)


@pytest.mark.parametrize("version", ["", "0" * 16, "nonsense\x1b[2J", "ü"])
def test_a_version_that_nobody_knows_is_a_conflict_without_a_diff(engine: Engine, acme: Tenant, version: str) -> None:
    with pytest.raises(TenantConflict, match="it is at version") as caught:
        engine.tenants.rename(acme.id, name="Apex", if_version=version)
    assert (caught.value.diff, caught.value.version) == (None, acme.version)
    assert str(caught.value).isprintable()


def test_a_refused_write_is_no_conflict_of_a_write_that_names_no_version(engine: Engine, acme: Tenant) -> None:
    save(engine, "name: Acme", "name: Acme-Ltd")
    assert engine.tenants.update_settings(acme.id, {"default_model": "model-small"}).name == "Acme-Ltd"


def test_a_conflict_pickles_with_its_diff(engine: Engine, acme: Tenant) -> None:
    error = TenantConflict("changed", diff="-a\n+b", version="1")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.diff, copy.version, str(copy)) == ("-a\n+b", "1", "changed")


def test_the_awaitable_twin_takes_the_version_too(engine: Engine, acme: Tenant) -> None:
    async def refused() -> None:
        with pytest.raises(TenantConflict):
            await engine.aio.tenants.rename(acme.id, name="Apex", if_version="other")

    asyncio.run(refused())


def test_a_diff_that_another_process_was_told_is_destroyed_with_the_tenant(engine: Engine, acme: Tenant) -> None:
    save(engine, "name: Acme", "name: Very-private-words")
    arguments = {"tenant_id": acme.id, "name": "Apex", "if_version": acme.version}
    asked = queue_command(engine._ledger, engine.clock, "tenants.rename", arguments, actor="cli:ann")
    engine.commands.run_queued()
    operation = engine._ledger.read(lambda tx: tx.operation(asked))
    assert operation is not None
    assert operation.error is not None
    assert "+name: Very-private-words" in operation.error["diff"]
    engine.tenants.delete(acme.id)
    engine.tenants.purge(acme.id, before_due=True)
    failed = engine._ledger.read(lambda tx: tx.operations(OperationState.FAILED))
    assert "private" not in str(failed)
    assert b"Very-private-words" not in b"".join(
        path.read_bytes() for path in engine.folder.var.rglob("ledger.sqlite*") if path.is_file()
    )
