"""Edits by the engine: the same files, the same checks, and in force before the call returns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from partywall.catalog.batch import Batch, fresh
from partywall.catalog.disk.reader import PLANS, UNSEEN, Folder, Read, Unreadable, Unstable, digest_of
from partywall.catalog.disk.writer import create, remove, replace
from partywall.catalog.reload import Reload
from partywall.catalog.snapshot import CatalogChange
from partywall.catalog.sources import load_document
from partywall.catalog.text.document import Document, load
from partywall.catalog.text.document import Mapping as Node
from partywall.catalog.text.edits import changed, encoded, plain_of, rewrite, with_id
from partywall.catalog.text.render import rendered
from partywall.catalog.text.scalars import Plain
from partywall.errors import ConfigError, InvalidArgument, Problem, TenantConflict, TenantNotFound
from partywall.model import TenantSpec
from partywall.names import PlanName, new_tenant_id

__all__ = ["Changes", "identify", "no_id", "no_room_for_id", "suggested_id"]

Expect: TypeAlias = "Callable[[TenantSpec], None] | None"
"""Looks at what a file says just before it is edited."""
_MODELINE: Final = "# yaml-language-server: $schema=../schema/tenant.json\n"
_TRIES: Final = 50
_PAUSE_SECONDS: Final = 0.02


def suggested_id(key: str) -> str:
    """The id for a file that cannot be given one: the same each time, so that whoever looks at it says the same."""
    return f"ten_{digest_of(key.encode())[:16]}"


def no_id(document: Document, identity: str) -> Problem:
    """What is wrong with a file without an id that may not be written."""
    return document.problem((), f"the file has no id and cannot be written; add the line 'id: {identity}'")


def no_room_for_id(document: Document, identity: str) -> Problem:
    """What is wrong with a file without an id in which there is no place for one."""
    message = f"the file has no id, and as it is laid out none can be written into it; add 'id: {identity}' by hand"
    return document.problem(("id",), message, at_key=True)


def identify(folder: Folder, key: str, document: Document, read: Read, had: str | None) -> Read | Problem | None:
    """Write an id into a tenant's file that has none; None while somebody is writing the file."""
    identity = had or new_tenant_id()
    try:
        raw = encoded(with_id(document, identity), read.raw)
    except InvalidArgument:
        return no_room_for_id(document, had or suggested_id(key))
    try:
        written = folder.read(key) if replace(folder.path(key), read.digest, raw, patience=0) else None
    except (TenantConflict, Unstable):
        return None
    except (ConfigError, OSError, Unreadable):
        return no_id(document, had or suggested_id(key))
    return written if written is not None and written.raw == raw else None


class Changes:
    """Creates, edits and removes files. Used under the catalog's lock; returns what was published."""

    def __init__(self, reload: Reload, publish: Callable[[list[CatalogChange]], None]) -> None:
        self._reload = reload
        self._publish_saved = publish
        self._folder = reload.folder

    def create_tenant(self, spec: TenantSpec) -> list[CatalogChange]:
        """Write a new tenant's file."""
        if spec.id is None:
            raise InvalidArgument("a tenant that is created has an id already")
        data = plain_of(spec)
        if not isinstance(data, dict):
            raise InvalidArgument("a tenant's file is a mapping")
        raw = (self._modeline() + rendered({"id": str(spec.id), **data})).encode()
        loaded = load("new", raw)
        if loaded.problems or loaded.data != {"id": str(spec.id), **data}:
            raise InvalidArgument("the tenant cannot be written as a file: some text in it is not accepted there")
        key = f"tenants/{spec.slug}.yaml"
        number = 1
        while self._folder.look(key) is not None:
            number += 1
            key = f"tenants/{spec.slug}-{number}.yaml"
        batch = self._check(key, raw)
        name = f"tenants/{create(self._folder.tenants, spec.slug, raw)}"
        return self._publish(name, raw, batch if name == key else self._load(name, raw))

    def _modeline(self) -> str:
        """What tells editors the schema, where there is one to tell of."""
        return _MODELINE if self._folder.path("schema/tenant.json").exists() else ""

    def edit_tenant(self, tenant_id: str, changes: Mapping[str, object], expect: Expect = None) -> list[CatalogChange]:
        """Change a tenant's file; ``expect`` is shown what it says as it is edited, and may refuse by raising."""
        if "id" in changes:
            raise InvalidArgument("the id of a tenant never changes")
        return self._edit(self._key_of(tenant_id), changes, {"id": tenant_id}, expect)

    def edit_plan(self, plan: PlanName, changes: Mapping[str, object]) -> list[CatalogChange]:
        """Change one plan in plans.yaml."""
        if plan not in self._reload.assembly.snapshot.plans:
            raise InvalidArgument(f"there is no plan '{plan}'")
        return self._edit(PLANS, {f'plans."{plan}".{path}': value for path, value in changes.items()}, {})

    def remove_tenant(self, tenant_id: str) -> list[CatalogChange]:
        """Remove a tenant's file; the tenant is out of the snapshot at once."""
        key = self._key_of(tenant_id)
        remove(self._folder.path(key))
        self._reload.intents.forget(key)
        return self._reload.remove([key], "engine")

    def _key_of(self, tenant_id: str) -> str:
        name = self._reload.assembly.snapshot.file_of(tenant_id)
        if name is None:
            raise TenantNotFound("no such tenant")
        return f"tenants/{name}"

    def _edit(
        self, key: str, changes: Mapping[str, object], always: dict[str, Plain], expect: Expect = None
    ) -> list[CatalogChange]:
        """Edit the file as it stands now; when somebody saves it in between, begin again with what they saved."""
        for _ in range(_TRIES):
            try:
                read, document = self._current(key)
            except Unstable:
                time.sleep(_PAUSE_SECONDS)
                continue
            self._publish_saved(self._reload.overtake(key, read))
            if not isinstance(document.root, Node) or not isinstance(data := document.data, dict):
                raise ConfigError("the file cannot be edited", [document.problem((), "expected a mapping")])
            self._show(expect, key, read)
            raw = encoded(rewrite(document, {**changed(data, changes), **always}), read.raw)
            batch = self._check(key, raw, read.raw)
            at = time.time()  # before the write: a slow disk must not make it look older than the edit
            if raw == read.raw or replace(self._folder.path(key), read.digest, raw):
                self._reload.intents.note(key, read, data, changes, at)
                return self._publish(key, raw, batch)
        if self._folder.look(key) is None:
            raise TenantConflict("the file is gone: put it back, and try again")
        raise TenantConflict("the file kept changing while it was edited; try again")

    def _show(self, expect: Expect, key: str, read: Read) -> None:
        candidate = load_document(self._folder, key, read, TenantSpec).candidate if expect else None
        if expect is not None and candidate is not None:  # what is no tenant's file any more is refused as that
            expect(candidate.model)

    def _current(self, key: str) -> tuple[Read, Document]:
        """The file as it stands now. Unstable while somebody is writing it."""
        try:
            read = self._folder.read(key)
        except FileNotFoundError:
            raise Unstable from None  # an editor that renames is about to put the next version there
        except Unreadable as error:
            problem = Problem(self._folder.label(key), 1, 1, str(error))
            raise ConfigError("the file cannot be edited", [problem]) from None
        document = load(self._folder.label(key), read.raw)
        if document.problems:
            if fresh(read):
                raise Unstable
            raise ConfigError("the file is wrong already, so it cannot be edited", document.problems)
        return read, document

    def _load(self, key: str, raw: bytes) -> Batch:
        return self._reload.load({key: Read(raw, digest_of(raw), UNSEEN)})

    def _check(self, key: str, raw: bytes, before: bytes | None = None) -> Batch:
        """Load the bytes; raise what is wrong with them, before anybody sees them."""
        batch = self._load(key, raw)
        found, conflict = self._problems(key, batch)
        if not found:
            return batch
        already = [] if before is None else self._problems(key, self._load(key, before))[0]
        if already:
            raise ConfigError("the file is wrong already, so it cannot be edited", already)
        if conflict:
            raise TenantConflict("the id, the slug or a domain is taken by another tenant")
        raise InvalidArgument("; ".join(f"{problem.path or 'the file'}: {problem.message}" for problem in found))

    def _problems(self, key: str, batch: Batch) -> tuple[list[Problem], bool]:
        if batch.problems[key]:
            return batch.problems[key], False
        decision = self._reload.decide(batch)
        return decision.problems.get(key, []), key in decision.conflicts

    def _publish(self, key: str, raw: bytes, batch: Batch) -> list[CatalogChange]:
        try:
            read = self._folder.read(key)
        except (OSError, Unreadable, Unstable):
            read = None
        if read is not None and read.raw == raw:
            self._reload.intake.seen(key, read)
        else:
            # Somebody saved right afterwards: ours was in force on disk, and theirs is read as any edit is.
            self._reload.intake.again(key)
        return self._reload.commit(batch, self._reload.decide(batch), "engine")
