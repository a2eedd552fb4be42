from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from partywall.catalog import load
from partywall.catalog.text.render import rendered
from partywall.catalog.text.scalars import Ambiguous, plain_value


def refused(text: str | bytes) -> list[tuple[int, int, str]]:
    document = load("f.yaml", text if isinstance(text, bytes) else text.encode())
    assert document.problems, f"accepted: {document.data}"
    assert all(problem.file == "f.yaml" for problem in document.problems)
    return [(problem.line, problem.column, problem.message) for problem in document.problems]


def first(text: str | bytes) -> tuple[int, int, str]:
    return refused(text)[0]


def test_plain_data_is_loaded_as_json_has_it() -> None:
    document = load("f", b"a: 1\nb: [x, 2.5, true, ~, null]\nc: {d: '1', e: \"\\n\"}\nf:\n")
    assert document.problems == []
    assert document.data == {"a": 1, "b": ["x", 2.5, True, None, None], "c": {"d": "1", "e": "\n"}, "f": None}


def test_a_byte_order_mark_is_accepted_and_counts_for_nothing() -> None:
    document = load("f", b"\xef\xbb\xbfa: 1\n")
    assert (document.problems, document.data, document.place(("a",))) == ([], {"a": 1}, (1, 4))


@pytest.mark.parametrize(
    "text", ["a: !!python/object/apply:os.system [id]", "a: !x 1", "!!map {a: 1}", "a: !!str 1", "a: ! b"]
)
def test_k1_tags_are_refused_at_their_place(text: str) -> None:
    line, _, message = first(text)
    assert line == 1
    assert "tags are not accepted" in message


def test_k1_a_python_tag_runs_nothing(tmp_path: object) -> None:
    document = load("f", f"a: !!python/object/apply:os.mkdir ['{tmp_path}/made']".encode())
    assert document.problems[0].column == 4
    assert not __import__("pathlib").Path(f"{tmp_path}/made").exists()


def test_k2_an_alias_bomb_is_refused_before_it_grows() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    problems = refused(bomb)
    assert problems[0] == (1, 5, "anchors are not accepted; write the value out where it is used")
    assert any((line, column) == (2, 10) and "aliases" in message for line, column, message in problems)


def test_k2_a_value_that_holds_itself_and_a_merge_key_are_refused() -> None:
    assert "anchors" in first("a: &a [*a]")[2]
    assert "merge keys" in first("a: {<<: {b: 1}}")[2]


@pytest.mark.parametrize("unit", ["[", "- ", "? ", "{a: ", "{", "-\t", ": ", "[{", "- ? "])
def test_k4_thirty_kilobytes_of_openings_do_not_end_the_process(unit: str) -> None:
    line, column, message = first(unit * (30_000 // len(unit)))
    assert line == 1
    assert column >= 1
    assert message


@pytest.mark.parametrize("unit", ["[", "{a: "])
def test_k4_nesting_is_refused_at_the_33rd_level(unit: str) -> None:
    closing = {"[": "]", "{a: ": "}"}[unit]
    assert load("f", f"{unit * 32}1{closing * 32}".encode()).problems == []
    line, column, message = first(f"{unit * 33}1{closing * 33}")
    assert (line, column, message) == (1, 32 * len(unit) + 1, "nested deeper than 32 levels")


def test_k4_nesting_by_indentation_is_refused_too() -> None:
    text = "".join(" " * depth + "a:\n" for depth in range(600))
    assert first(text)[:2] == (33, 33)


def test_k4_brackets_in_quotes_count_and_many_are_refused() -> None:
    assert load("f", ("a: '" + "[" * 2000 + "'").encode()).problems == []
    assert first("a: '" + "[" * 2001 + "'")[:2] == (1, 2005)


def test_k5_a_duplicate_key_names_both_lines() -> None:
    line, column, message = first("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n")
    assert (line, column) == (5, 3)
    assert message == "the key 'c' is here twice: it is on line 3 already"


def test_k5_keys_that_differ_only_in_quotes_are_duplicates() -> None:
    assert first("{a: 1, \"a\": 2, 'a': 3}")[:2] == (1, 8)


# fmt: off
K6 = [
    "no", "yes", "on", "off", "No", "YES", "True", "FALSE", "y", "N", "012", "0o12", "0x1F", "0b1", "08", "+5",
    "-0", "12:30", "22:22", "1:30:15", "1_000", "1e3", "1E-3", ".5", "5.", "1.5e3",
    "2026-11-23", "2026-11-23T10:00:00Z", "2026-1-2 10:00:00", "=", "Null", "NULL", "9" * 20,
    "1." + "9" * 100, "-012.5",
]
# fmt: on


@pytest.mark.parametrize("scalar", K6)
def test_k6_what_readers_disagree_about_must_be_quoted(scalar: str) -> None:
    assert first(f"a: 1\nkey: {scalar}\n")[:2] == (2, 6)
    assert first(f"a: [x, {scalar}]\n")[:2] == (1, 8)
    assert load("f", f"key: '{scalar}'".encode()).data == {"key": scalar}


@pytest.mark.parametrize("scalar", ["no", "on", "12:30", "1", "true", "null", "1.5"])
def test_k6_a_key_that_is_no_text_is_refused(scalar: str) -> None:
    assert first(f"a: 1\n{scalar}: 1\n")[:2] == (2, 1)


@pytest.mark.parametrize("scalar", [".nan", ".inf", "-.inf", ".NaN", "+.INF"])
def test_k7_numbers_that_are_none_are_refused(scalar: str) -> None:
    assert first(f"a: {scalar}")[:2] == (1, 4)


@pytest.mark.parametrize(
    "text", ["10.0.0.1", "1.2.3", "7-Eleven", "3M", "a=b", "-", "--", "nobody", "one", "+", "v1", "1-2"]
)
def test_text_that_only_resembles_a_number_is_text(text: str) -> None:
    assert load("f", f"[a, {text} ]".encode()).data == ["a", text] or text in "--"
    assert plain_value(text) == text


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (b"a: 1\nb: \xe9t\xe9\n", (2, 4)),
        (b"a: 1\nb: \x00\n", (2, 4)),
        ("a: 1\n".encode("utf-16"), (1, 1)),
        (b"a: 1\nb: x\x07\n", (2, 5)),
        ("a: x\u2028y\n".encode(), (1, 5)),
        (b"a: '\xed\xa0\x80'\n", (1, 5)),
        (b"a: 1\n\tb: 2\n", (2, 1)),
        (b"a: 'x\n", (2, 1)),
        (b"a: 1\n<<<<<<< HEAD\nb: 2\n", (2, 1)),
        (b"a: 1\n---\nb: 2\n", (2, 1)),
        (b"? [a]\n: 1\n", (1, 3)),
        (b"%YAML 1.1\n---\na: 1\n", (1, 1)),
        (b'a: "\\0"\n', (1, 4)),
    ],
)
def test_what_is_no_clean_document_is_refused_at_its_place(raw: bytes, place: tuple[int, int]) -> None:
    assert first(raw)[:2] == place


def test_a_file_that_is_too_large_is_refused() -> None:
    assert "larger than 256 kB" in first("a: " + "x" * 256 * 1024)[2]


@pytest.mark.parametrize("raw", [b"", b"\n\n", b"# only a comment\n", b"---\n", b"~", b"\xef\xbb\xbf"])
def test_an_empty_file_says_so(raw: bytes) -> None:
    assert refused(raw) == [(1, 1, "the file is empty")]


def test_every_problem_is_reported_not_the_first() -> None:
    places = [place[:2] for place in refused("a: no\nb: 012\na: 1\nc: !x 1\nd: &e 1\n")]
    assert places == [(1, 4), (2, 4), (3, 1), (4, 4), (5, 4)]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> theirs\n", 2),
        ("a:\r\n  b: 1\r\n<<<<<<< HEAD\r\n  c: 1\r\n=======\r\n  c: 2\r\n>>>>>>> theirs\r\nd: 1\r\n", 3),
        ("a:\n<<<<<<< HEAD\n- 1\n||||||| base\n- 0\n=======\n- 2\n>>>>>>> theirs\n", 2),
        ("a: {\n<<<<<<< HEAD\n b: 1,\n=======\n b: 2,\n>>>>>>> theirs\n}\n", 2),
        ("a: 1\n=======\nb: 2\n", 2),
        ("a: 1\n>>>>>>> theirs\nb: 2\n", 2),
    ],
)
def test_a_merge_conflict_is_named_at_its_first_line(text: str, line: int) -> None:
    (problem,) = refused(text)
    assert problem[:2] == (line, 1)
    assert problem[2].startswith("the file has an unresolved merge conflict; keep what is right")


def test_a_text_that_looks_like_a_merge_conflict_is_a_text() -> None:
    assert load("f", b'a: "x\n=======\ny"\nb: |\n  <<<<<<< HEAD\n').problems == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a:\n\tb: 1\n", (2, 1)),
        ("a: 1\n\tb: 2\n", (2, 1)),
        ("a:\n  b: 1\n  \tc: 2\n", (3, 3)),
        ("a:\n- b\n\t- c\n", (3, 1)),
        ("a: |\n\tb\n", (2, 1)),
    ],
)
def test_a_tab_for_indentation_is_named(text: str, place: tuple[int, int]) -> None:
    assert refused(text) == [(*place, "a tab: YAML is indented with spaces, not tabs")]


def test_of_very_many_problems_the_first_hundred_are_told_and_the_last_one_counts_the_others() -> None:
    problems = refused("a: 1\n" + "a:\n" * 80_000)
    assert len(problems) == 100
    assert problems[98][:2] == (100, 1)
    assert problems[99] == (101, 1, "there are 79,901 more problems from here on")
    assert len(refused("a: 1\n" + "a:\n" * 100)) == 100
    assert refused("a: 1\n" + "a:\n" * 100)[99][2].startswith("the key 'a' is here twice")


def test_the_path_of_a_problem_is_told() -> None:
    document = load("f", b"plans:\n  free:\n    features: [a, no]\n")
    assert str(document.problems[0]).endswith("put it in quotes at plans.free.features[1]")
    assert load("f", b"a: [{b: [1, {c: no}]}]").problems[0].path == "a[0].b[1].c"
    assert load("f", b"a: {b: {c: 1, c: 2}}").problems[0].path == "a.b"


@given(st.binary(max_size=400))
def test_no_bytes_raise(raw: bytes) -> None:
    document = load("f", raw)
    assert document.problems or document.root is not None


@given(st.text(alphabet="[]{}-?:,&*!|>'\"%@`#a1 \n\t~=<", max_size=200))
def test_no_punctuation_raises_and_what_is_accepted_reads_the_same_elsewhere(text: str) -> None:
    document = load("f", text.encode())
    if not document.problems:
        assert document.data == yaml.load(text, Loader=yaml.CSafeLoader)


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30) | st.sampled_from(K6)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False, min_value=-1e30, max_value=1e30).filter(
        lambda x: x == 0 or abs(x) > 1e-30
    )
    | TEXTS
)
DATA = st.dictionaries(
    TEXTS,
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=12
    ),
    min_size=1,
    max_size=5,
)


@given(DATA)
def test_rendered_data_is_loaded_equal(data: dict[str, object]) -> None:
    text = rendered(data)  # type: ignore[arg-type]
    document = load("f", text.encode())
    assert document.problems == []
    assert document.data == data
    assert yaml.safe_load(text) == data


@given(TEXTS)
def test_a_plain_scalar_means_one_thing_or_is_refused(text: str) -> None:
    try:
        value = plain_value(text)
    except Ambiguous:
        return
    assert value is None or isinstance(value, bool | int | float) or value == text
