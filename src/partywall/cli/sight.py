"""What files and ledger say now, read beside a running engine or without one; nothing is written or owned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, cast

from partywall.catalog import Catalog, Health, Look, Snapshot, look_at, reported
from partywall.catalog import look as look_at_files
from partywall.directory import Directory, stricter
from partywall.errors import Problem
from partywall.folder import DataFolder
from partywall.ledger import Ledger, open_ledger
from partywall.model import Status, TenantSpec

if TYPE_CHECKING:
    from partywall.isolation import PendingMove

__all__ = ["Sight", "look", "open_for_reading", "statuses_in_force"]


class Sight:
    """One look at files and ledger together: what the engine has in force, or would have."""

    def __init__(self, files: Look, ledger: Ledger, health: Health | None) -> None:
        self.files = files
        self.health = health
        """How the files are doing, as the last engine told it."""
        self.ledger = ledger
        self.directory = Directory(cast("Catalog", _Still(files.snapshot)), ledger)

    @property
    def snapshot(self) -> Snapshot:
        """Plans and tenants."""
        return self.files.snapshot

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong in the files."""
        return self.files.problems

    def pending_moves(self) -> Iterator[PendingMove]:
        """The tenants whose plan or file wishes for another strategy or region than their data has."""
        from partywall.isolation import pending_moves  # noqa: PLC0415  # most commands do without the rooms of rows

        return pending_moves(self.directory, self.ledger)


@contextmanager
def look(folder: DataFolder, reference: str | None = None) -> Iterator[Sight]:
    """Look at the folder; ConfigError when its files were never usable, LedgerError.

    With an id or a slug, at the file of that tenant alone if that is enough.
    """
    folder.require()
    with open_for_reading(folder) as ledger:
        one = None if reference is None else look_at(folder.root, reference)
        yield Sight(one or look_at_files(folder.root), ledger, reported(folder.root))


@contextmanager
def open_for_reading(folder: DataFolder) -> Iterator[Ledger]:
    """The folder's ledger, which cannot be written through this; an empty one when none was made yet."""
    with ExitStack() as opened:
        path = folder.ledger
        made = folder.opened_before or path.exists()
        if not made:
            path = Path(opened.enter_context(TemporaryDirectory())) / path.name
        yield opened.enter_context(closing(open_ledger(path, read_only=made, made_before=folder.opened_before)))


def statuses_in_force(folder: DataFolder) -> Callable[[TenantSpec], Status]:
    """The status in force of what a file declares: what the engine imposed by now counts too."""
    if not (folder.opened_before or folder.ledger.exists()):
        return lambda spec: spec.status
    with open_for_reading(folder) as ledger:
        imposed = {record.tenant_id: record.status for record in ledger.read(lambda tx: tx.lifecycles())}
    return lambda spec: stricter(spec.status, imposed[spec.id]) if spec.id in imposed else spec.status


@dataclass(frozen=True, slots=True)
class _Still:
    """Stands for the catalog where nothing is going to change."""

    snapshot: Snapshot

    def subscribe(self, listener: object) -> None:
        """Nobody will be told of anything."""
