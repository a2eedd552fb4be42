"""``partywall usage history`` and ``verify``: what the log of usage says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from partywall.folder import DataFolder
from partywall.ledger import ReservationRecord, ReservationState, SqliteLedger, UsageEntry
from partywall.names import TenantId

Run = Callable[..., Any]
GIGABYTES = 2_500_000_000


@pytest.fixture
def ledger(folder: DataFolder, acme: str) -> Iterator[SqliteLedger]:
    """The ledger of an engine that counted in two months."""
    folder.var.mkdir(exist_ok=True)
    entries = [("2026-10", "tokens", 900), ("2026-11", "tokens", 300), ("2026-11", "storage", GIGABYTES)]
    with closing(SqliteLedger(folder.ledger)) as ledger:
        for period, metric, amount in entries:
            entry = UsageEntry(TenantId(acme), period, metric, amount, 1.0, 1.0, "counted")
            counter = "" if metric == "storage" else period
            ledger.write(lambda tx, entry=entry: tx.append_usage(entry))
            ledger.write(
                lambda tx, counter=counter, metric=metric, amount=amount: tx.set_usage(
                    TenantId(acme), counter, metric, amount
                )
            )
        yield ledger


def test_the_history_is_a_table_of_months(here: Run, acme: str, ledger: SqliteLedger) -> None:
    lines = here("usage", "history", "acme").out.splitlines()
    assert [line.split() for line in lines] == [
        ["month", "metric", "total"],
        ["2026-10", "tokens", "900"],
        ["2026-11", "tokens", "300"],
        ["2026-11", "storage", "2.5", "GB"],
    ]
    shown = here("usage", "history", "acme", "--metric", "tokens", "--json").document
    assert shown["history"] == [
        {"period": "2026-10", "metric": "tokens", "total": 900},
        {"period": "2026-11", "metric": "tokens", "total": 300},
    ]
    assert (shown["tenant_id"], shown["slug"]) == (acme, "acme")
    assert here("usage", "history", "acme", "--metric", "agents").code == 2
    assert here("usage", "history", "nobody").code == 4


def test_bars_are_drawn_to_the_scale_of_their_metric(here: Run, ledger: SqliteLedger) -> None:
    lines = here("usage", "history", "acme", "--plot").out.splitlines()
    assert [line.split()[-1] for line in lines[1:]] == ["#" * 20, "#" * 7 + "." * 13, "#" * 20]


def test_bars_are_drawn_into_a_file(here: Run, acme: str, ledger: SqliteLedger, tmp_path: Path) -> None:
    drawing = tmp_path / "usage.svg"
    assert here("usage", "history", "acme", "--svg", str(drawing)).code == 0
    root = ElementTree.fromstring(drawing.read_text())
    space = "{http://www.w3.org/2000/svg}"
    texts = [element.text for element in root.iter(f"{space}text")]
    assert texts == [
        f"acme ({acme})",
        *("tokens", "2026-10", "900", "2026-11", "300"),
        *("storage", "2026-11", "2.5 GB"),
    ]
    tops = [(int(text.get("y", "")), text.text) for text in root.iter(f"{space}text")]
    assert len({top for top, _ in tops}) == 6
    assert int(root.get("height", "")) > max(tops)[0]
    assert [int(each.get("width", "")) for each in root.iter(f"{space}rect")] == [420, 140, 420]
    assert here("usage", "history", "acme", "--svg", str(tmp_path / "no" / "x.svg")).code == 1


def test_verify_finds_nothing_where_all_is_well(here: Run, ledger: SqliteLedger) -> None:
    told = here("usage", "verify")
    assert (told.code, told.out) == (0, "every counter is what its log comes to\n")
    assert here("usage", "verify", "acme", "--json").document == {"differences": []}


def test_verify_names_what_differs_and_exits_1(here: Run, acme: str, ledger: SqliteLedger) -> None:
    ledger.write(lambda tx: tx.set_usage(TenantId(acme), "2026-10", "tokens", 901))
    told = here("usage", "verify", "acme")
    assert told.code == 1
    assert told.out.splitlines()[1].split() == [acme, "2026-10", "tokens", "total", "901", "900"]
    (difference,) = here("usage", "verify", "--json").document["differences"]
    assert (difference["counter"], difference["rebuilt"]) == (901, 900)


def test_repair_sets_right_what_differs_and_says_what_it_was(here: Run, acme: str, ledger: SqliteLedger) -> None:
    ledger.write(lambda tx: tx.set_usage(TenantId(acme), "2026-10", "tokens", 901))
    told = here("usage", "verify", "acme", "--repair")
    assert told.code == 0
    heading, difference, verdict = told.out.splitlines()
    assert heading.split()[3] == "repaired"
    assert difference.split() == [acme, "2026-10", "tokens", "total", "901", "900"]
    assert verdict == "every counter is what its log comes to"
    assert here("usage", "verify", "--repair", "--json").document == {"differences": [], "repaired": []}
    assert ledger.read(lambda tx: tx.usage(TenantId(acme), "2026-10")) == {"tokens": 900}
    [record] = [each for each in ledger.read(lambda tx: tx.audit()) if each.action == "usage.repaired"]
    assert record.actor.startswith("cli:")


def test_what_is_reserved_stands_beside_what_is_used(here: Run, acme: str, ledger: SqliteLedger) -> None:
    held = ReservationRecord(
        "res_1", TenantId(acme), "o", "2026-11", {"storage": 10**9}, ReservationState.RESERVED, 1.0, 2.0, False, False
    )
    ledger.write(lambda tx: tx.put_reservation(held))
    ledger.write(lambda tx: tx.set_reserved(TenantId(acme), "", "storage", 10**9))
    shown = here("usage", "show", "acme", "--json").document["usage"]["storage"]
    assert (shown["used"], shown["reserved"]) == (GIGABYTES, 10**9)
    assert "1 GB" in here("usage", "show", "acme").out
    assert here("usage", "verify").code == 0
