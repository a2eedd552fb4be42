from __future__ import annotations

import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partywall.catalog.snapshot import Shards

KEYS = st.text("abc", max_size=3)


@given(st.lists(st.dictionaries(KEYS, st.integers() | st.none(), max_size=6), max_size=6))
def test_shards_behave_as_a_dict_and_older_copies_never_change(batches) -> None:
    model: dict[str, int] = {}
    shards = Shards[int]()
    history = [(shards, dict(model))]
    for batch in batches:
        shards = shards.changed(batch)
        model = {key: value for key, value in (model | batch).items() if value is not None}
        history.append((shards, dict(model)))
    for copy, expected in history:
        assert {key: copy.get(key) for key in copy} == expected
        assert len(copy) == len(expected)


def test_plans_cannot_be_changed_through_a_snapshot(files) -> None:
    catalog = files.open()
    with pytest.raises(TypeError):
        catalog.snapshot.plans["free"] = None
    with pytest.raises(TypeError):
        catalog.tables["x"] = None


def test_the_digest_tells_the_content_and_nothing_else(files) -> None:
    files.tenant("acme")
    text = files.tenant("beta")
    catalog = files.open()
    first = catalog.snapshot.digest
    files.write("tenants/beta.yaml", text.replace("Beta", "Other"))
    assert catalog.refresh().digest != first
    files.write("tenants/beta.yaml", text)
    assert catalog.refresh().digest == first
    (files.tenants / "beta.yaml").rename(files.tenants / "renamed.yaml")
    assert catalog.refresh().digest == first
    assert files.reopen().snapshot.digest == first


def test_readers_always_see_one_whole_snapshot(files) -> None:
    catalog = files.open()
    files.tenant("one")
    files.tenant("two")
    catalog.refresh()
    torn: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            snapshot = catalog.snapshot
            plans = {snapshot.by_slug(slug).type for slug in ("one", "two")}
            if len(plans) != 1 or snapshot.grants("ten_one0001").plan not in plans:
                torn.append(f"{plans}")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    reader = threading.Thread(target=read)
    reader.start()
    try:
        for plan in ("starter", "free") * 5:
            files.tenant("one", plan=plan)
            files.tenant("two", plan=plan)
            catalog.refresh()
    finally:
        done.set()
        reader.join(30)
        sys.setswitchinterval(interval)
    assert torn == []


@pytest.mark.long
def test_one_edit_among_ten_thousand_tenants_costs_no_more_than_among_ten(files, heard) -> None:
    def median_edit() -> float:
        times = []
        for number in range(41):
            begun = time.perf_counter()
            catalog.edit_tenant("ten_t00001", {"name": f"N{number}"})
            times.append(time.perf_counter() - begun)
        return sorted(times)[20]

    for number in range(10):
        files.tenant(f"t{number}")
    catalog = files.open()
    few = median_edit()
    for number in range(10, 10_000):
        files.tenant(f"t{number}")
    begun = time.perf_counter()
    catalog = files.reopen()
    opened = time.perf_counter() - begun
    many = median_edit()
    assert many < few * 5, (few, many)
    assert opened < 60
    print(f"edit {few * 1e3:.2f} ms among 10, {many * 1e3:.2f} ms among 10,000; opened in {opened:.1f} s")
