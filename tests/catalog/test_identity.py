"""A tenant's file without an id gets one, however it is laid out, or stays as it is and is a problem."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from partywall.catalog import check, load, look
from partywall.catalog.text.edits import with_id
from partywall.errors import InvalidArgument

KEY = "tenants/acme.yaml"
BODY = """\
name: Acme
slug: acme
type: free
status: active
owner:
  userId: u1
  email: a@acme.test
  name: Ann
"""
FLOW = "{name: Acme, slug: acme, type: free, status: active, owner: {userId: u1, email: a@acme.test, name: Ann}}\n"
EMPTY = {
    "absent": "",
    "nothing": "id:\n",
    "a comment": "id:   # the engine's\n",
    "a tilde": "id: ~\n",
    "null": "id: null   # the engine's\n",
    "in quotes": '"id": null\n',
    "a spelled out key": "? id\n: null\n",
}
HEADS = {
    "none": "",
    "a comment": "# ours\n\n",
    "a marker": "---\n",
    "a marker with a comment": "--- # ours\n",
    "blank lines": "\n \n",
}


def indented(text: str, indent: int) -> str:
    return "".join(" " * indent + line for line in text.splitlines(keepends=True))


def laid_out(
    empty: str, head: str, *, indent: int = 0, last: bool = False, newline: str = "\n", mark: str = ""
) -> bytes:
    text = head + indented(BODY + empty if last else empty + BODY, indent)
    return (mark + text.replace("\n", newline)).encode()


def stays_itself(files, raw: bytes) -> None:
    """The file gets its id, says nothing else that is new, and is the same tenant's from then on."""
    files.write(KEY, raw)
    assert check(files.root) == []
    assert look(files.root, give_ids=True).snapshot.by_slug("acme") is not None
    catalog = files.open()
    assert catalog.problems == ()
    [tenant_id] = catalog.snapshot.ids()
    after = files.text(KEY)
    assert yaml.safe_load(after) == {**yaml.safe_load(raw.decode()), "id": tenant_id}
    assert after.count("# ours") == raw.count(b"# ours")
    assert after.startswith("\ufeff") == raw.startswith(b"\xef\xbb\xbf")
    assert after.count("\n") == after.count("\r\n") or "\r\n" not in after
    catalog.edit_tenant(tenant_id, {"name": "New", "settings.defaultModel": "small"})
    assert list(files.reopen().snapshot.ids()) == [tenant_id]
    assert check(files.root) == []


@pytest.mark.parametrize("indent", [0, 2])
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("empty", EMPTY.values(), ids=EMPTY)
def test_a_file_gets_its_id_however_it_is_laid_out(files, empty: str, head: str, indent: int) -> None:
    stays_itself(files, laid_out(empty, head, indent=indent))


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "with a mark"])
@pytest.mark.parametrize("empty", EMPTY.values(), ids=EMPTY)
def test_an_id_that_is_left_empty_at_the_end_is_filled_in_there(files, empty: str, mark: str, newline: str) -> None:
    stays_itself(files, laid_out(empty, "", last=True, mark=mark, newline=newline))


@pytest.mark.parametrize(
    "raw", [FLOW, "--- " + FLOW, FLOW.replace("{name", "{id: , name", 1), FLOW.replace("{name", '{"id": null, name', 1)]
)
def test_a_file_in_braces_gets_its_id_too(files, raw: str) -> None:
    stays_itself(files, raw.encode())


def test_lone_carriage_returns_end_lines(files) -> None:
    stays_itself(files, ("---\n" + BODY).replace("\n", "\r").encode())


@pytest.mark.parametrize("raw", [BODY + "? id\n", "? id\n" + BODY, BODY.ljust(256 * 1024 - 1, "\n")])
def test_a_file_that_cannot_be_given_an_id_stays_as_it_is_and_is_a_problem_at_its_place(files, raw: str) -> None:
    files.write(KEY, raw)
    told = check(files.root)
    catalog = files.open()
    line = raw[: raw.find("? id") + 1].count("\n") + 1
    assert [(problem.file, problem.line) for problem in catalog.problems] == [(f"system/tenancy/{KEY}", line)]
    assert "the file has no id" in catalog.problems[0].message
    assert [(problem.file, problem.line) for problem in told] == [(f"system/tenancy/{KEY}", line)]
    assert files.text(KEY) == raw
    assert len(catalog.snapshot) == 0


@settings(max_examples=300)
@given(
    st.lists(
        st.sampled_from(
            ["# x", "", "name: Acme", "a: {b: [1, 2]}", "c:", "  d: |", "    text", "e: >-", "  - f", "g: 'h'"]
        )
    ),
    st.sampled_from(list(EMPTY.values())),
    st.integers(0, 12),
    st.sampled_from([0, 1, 4]),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_any_text_has_its_id_afterwards_and_is_otherwise_the_same_or_is_refused(
    lines, empty, at, indent, newline
) -> None:
    text = "".join(f"{line}\n" for line in lines[:at]) + empty + "".join(f"{line}\n" for line in lines[at:])
    document = load("x", indented(text, indent).replace("\n", newline).encode())
    if document.problems or not isinstance(document.data, dict):
        return
    try:
        after = with_id(document, "ten_acme0001")
    except InvalidArgument:
        return
    loaded = load("x", after.encode())
    assert (loaded.problems, loaded.data) == ([], {**document.data, "id": "ten_acme0001"})
