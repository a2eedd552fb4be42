"""An edit by the engine takes a file from nobody: it stays whose it was, or is not made."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from partywall.catalog.disk import writer
from partywall.catalog.disk.reader import digest_of
from partywall.errors import ConfigError

OPERATOR, SERVICE, SHARED, ELSE = 2000, 2001, 3000, 3001

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away and act as others")


@contextmanager
def acting_as(user: int, group: int) -> Iterator[None]:
    """What is done meanwhile is done by that user, in that group alone."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(group)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that everybody can reach, and the shared group may write."""
    made = Path(tempfile.mkdtemp())
    os.chown(made, OPERATOR, SHARED)
    made.chmod(0o2775)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def saved(folder: Path) -> Callable[[int, int, int], Path]:
    def save(user: int, group: int, mode: int) -> Path:
        path = folder / "acme.yaml"
        path.write_bytes(b"old")
        os.chown(path, user, group)
        path.chmod(mode)
        return path

    return save


def owner_of(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_uid, status.st_gid, status.st_mode & 0o7777


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
@pytest.mark.parametrize("with_id", [True, False])
def test_an_edit_by_root_leaves_the_file_with_its_owner(files, mode: int, with_id: bool) -> None:
    text = files.tenant("acme")
    path = files.write("tenants/acme.yaml", text if with_id else text.partition("\n")[2])
    os.chown(path, OPERATOR, SHARED)
    path.chmod(mode)
    catalog = files.open()
    [tenant_id] = catalog.snapshot.ids()
    assert owner_of(path) == (OPERATOR, SHARED, mode)
    catalog.edit_tenant(tenant_id, {"name": "New"})
    assert (catalog.snapshot.tenant(tenant_id).name, owner_of(path)) == ("New", (OPERATOR, SHARED, mode))


@pytest.mark.parametrize(
    ("service", "before", "after"),
    [
        pytest.param(SHARED, (OPERATOR, SHARED, 0o664), (SERVICE, SHARED, 0o664), id="their group may write it"),
        pytest.param(SHARED, (OPERATOR, SHARED, 0o660), (SERVICE, SHARED, 0o660), id="their group alone may"),
        pytest.param(SHARED, (OPERATOR, ELSE, 0o666), (SERVICE, SHARED, 0o666), id="everybody may write it"),
        pytest.param(SHARED, (SERVICE, ELSE, 0o644), (SERVICE, SHARED, 0o644), id="its own, and everybody may read it"),
        pytest.param(SHARED, (0, 0, 0o644), (SERVICE, SHARED, 0o644), id="root's, who may do all things anyway"),
    ],
)
def test_who_cannot_give_files_away_edits_what_everybody_can_still_reach(
    saved, service: int, before: tuple[int, int, int], after: tuple[int, int, int]
) -> None:
    path = saved(*before)
    with acting_as(SERVICE, service):
        assert writer.replace(path, digest_of(b"old"), b"new")
    assert (path.read_bytes(), owner_of(path)) == (b"new", after)
    if before[0] == OPERATOR:
        with acting_as(OPERATOR, SHARED), path.open("ab") as file:
            file.write(b"er")
        assert path.read_bytes() == b"newer"


@pytest.mark.parametrize(
    "before",
    [
        pytest.param((OPERATOR, SHARED, 0o644), id="the owner could write it"),
        pytest.param((OPERATOR, ELSE, 0o664), id="owner and a group that cannot be kept could"),
        pytest.param((SERVICE, ELSE, 0o640), id="a group that cannot be kept could read it"),
        pytest.param((0, ELSE, 0o664), id="root's, and a group that cannot be kept could write it"),
    ],
)
def test_an_edit_that_would_take_a_file_from_somebody_is_refused_and_says_what_to_do(saved, before) -> None:
    path = saved(*before)
    with acting_as(SERVICE, SHARED), pytest.raises(ConfigError, match=r"chmod g\+ws its folder"):
        writer.replace(path, digest_of(b"old"), b"new")
    assert (path.read_bytes(), owner_of(path)) == (b"old", before)
    assert list(path.parent.iterdir()) == [path]


def test_an_edit_keeps_a_files_extended_attributes(saved) -> None:
    path = saved(OPERATOR, SHARED, 0o640)
    try:
        os.setxattr(path, "user.note", b"ours")
    except OSError:
        pytest.skip("this file system has none")
    assert writer.replace(path, digest_of(b"old"), b"new")
    assert (path.read_bytes(), os.getxattr(path, "user.note")) == (b"new", b"ours")
