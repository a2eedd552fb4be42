from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partywall import InvalidArgument
from partywall.names import (
    is_tenant_id,
    new_row_id,
    new_tenant_id,
    parse_action,
    parse_column,
    parse_row_id,
    parse_slug,
    parse_table,
    parse_tenant_id,
)


@pytest.mark.parametrize("name", ['x"; DROP TABLE y --', "beta.docs", "a b", "1a", "", "Ünder", "x'", "tables;"])
def test_a1_a8_table_names_that_escape_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_table(name)


@pytest.mark.parametrize("name", ["price * 2", "id desc", "(select 1)", "a,b", "tenant_id"])
def test_a2_columns_that_are_expressions_or_reserved_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_column(name)


@pytest.mark.parametrize("character", ["\0", "\n", "\x1b", "\x7f", "\u200b", "\u202e"])
def test_a3_e5_control_and_zero_width_characters_are_refused_everywhere(character: str) -> None:
    for parse in (parse_table, parse_column, parse_slug, parse_tenant_id, parse_action, parse_row_id):
        with pytest.raises(InvalidArgument):
            parse(f"ten_abc{character}def")


@pytest.mark.parametrize(
    "name", ["main", "public", "pg_catalog", "temp", "information_schema", "pg_x", "sqlite_master"]
)
def test_a4_reserved_tables_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_table(name)


@pytest.mark.parametrize("slug", ["Acme", "ACME", "acmE"])
def test_a6_only_the_canonical_case_is_a_slug(slug: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_slug(slug)


@pytest.mark.parametrize("slug", ["../b", "%2f", "/etc", "a/b", "a\\b", ".", "..", "a.", "con", "nul", "com1", "lpt9"])
def test_e1_e7_paths_and_devices_are_no_slugs(slug: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_slug(slug)


def test_e2_a_trailing_newline_is_no_slug() -> None:
    with pytest.raises(InvalidArgument):
        parse_slug("acme\n")


@pytest.mark.parametrize("slug", ["\u0430cme", "\uff41cme", "acm\u00e9", "ac\u200bme"])
def test_e3_e5_look_alikes_are_no_slugs(slug: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_slug(slug)


@pytest.mark.parametrize("slug", ["api", "admin", "www", "ten-acme", "xn--acme", "ab--c"])
def test_e8_reserved_slugs_and_those_like_ids_are_refused(slug: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_slug(slug)


@pytest.mark.parametrize(
    ("length", "legal"), [(0, False), (1, True), (48, True), (49, False), (64, False), (1000, False)]
)
def test_e13_a_slug_has_1_to_48_characters(length: int, legal: bool) -> None:
    if legal:
        assert parse_slug("a" * length) == "a" * length
        return
    with pytest.raises(InvalidArgument) as refusal:
        parse_slug("a" * length)
    assert len(str(refusal.value)) < 300


@given(st.one_of(st.none(), st.integers(), st.binary(), st.booleans(), st.lists(st.text())))
def test_b5_what_is_no_text_is_no_name(value: object) -> None:
    for parse in (parse_tenant_id, parse_slug, parse_table, parse_column, parse_action, parse_row_id):
        with pytest.raises(InvalidArgument):
            parse(value)


@given(st.text())
def test_a_name_is_legal_or_refused_and_never_changed(text: str) -> None:
    for parse in (parse_tenant_id, parse_slug, parse_table, parse_column, parse_action, parse_row_id):
        try:
            parsed = parse(text)
        except InvalidArgument:
            continue
        assert parsed == text
        assert text.isascii()


def test_e1_a_text_that_says_it_is_another_is_taken_by_what_was_examined() -> None:
    class Two(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "../b"

        def __iter__(self) -> Iterator[str]:
            return iter("x")

    assert [type(parse(Two("acme"))) for parse in (parse_slug, parse_table, parse_row_id)] == [str, str, str]
    assert [parse(Two("acme")) for parse in (parse_slug, parse_table, parse_row_id)] == ["acme"] * 3
    with pytest.raises(InvalidArgument):
        parse_row_id(Two("a b"))


def test_fresh_ids_are_legal_and_differ() -> None:
    tenants = {new_tenant_id() for _ in range(1000)}
    rows = {new_row_id() for _ in range(1000)}
    assert len(tenants) == len(rows) == 1000
    assert all(is_tenant_id(each) and parse_tenant_id(each) for each in tenants)
    assert all(parse_row_id(each) for each in rows)
