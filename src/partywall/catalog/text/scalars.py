"""What one plain scalar means, and how a value is written so that every YAML reader agrees on it.

YAML 1.1 and 1.2 read ``no``, ``012`` or ``12:30`` differently. Such a scalar is refused until it stands in
quotes, and nothing that is written here ever looks like one.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final, TypeAlias

__all__ = ["Ambiguous", "Plain", "plain_value", "written"]

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"
"""What a document comes to: JSON's values."""

_INT: Final = re.compile(r"0|-?[1-9][0-9]*")
_FLOAT: Final = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]+")
_WORDS: Final = frozenset(["yes", "no", "on", "off", "true", "false", "y", "n", "null"])
_NUMBER_LIKE: Final = re.compile(
    r"""[-+]?(?:
        0[bB][01_]+ | 0[oO]?[0-7_]+ | 0[xX][0-9a-fA-F_]+                      # other bases
      | [0-9][0-9_]*(?::[0-9]{1,2})+(?:\.[0-9_]*)?                            # sixties: 12:30
      | (?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9_]+)(?:[eE][-+]?[0-9]+)?              # 08, 1_000, 1e3, .5, 5.
      | \.(?:inf|Inf|INF|nan|NaN|NAN)
    )
    | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt\s].*)?                             # dates
    | = | <<""",
    re.VERBOSE | re.DOTALL,
)
_BARE: Final = re.compile(r"[A-Za-z_](?:[\w./+-]*[\w/+-])?", re.ASCII)
_ESCAPED: Final = re.compile('["\\\\\x00-\x1f\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]')


class Ambiguous(ValueError):
    """Readers of YAML would not agree on the scalar; the text says what to write instead."""


def _integer(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
        raise Ambiguous("the number does not fit in 64 bits")
    return int(text)


def _decimal(text: str) -> float:
    if len(text) > 64:
        raise Ambiguous("the number has too many digits")
    return float(text)


def plain_value(text: str) -> bool | int | float | str | None:
    """The value of an unquoted scalar; raises Ambiguous where readers disagree."""
    if text in ("", "~", "null"):
        return None
    if text in ("true", "false"):
        return text == "true"
    if _INT.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        return _decimal(text)
    if text == "<<":
        raise Ambiguous("merge keys are not accepted; write the keys out")
    if text.lower() in _WORDS or _NUMBER_LIKE.fullmatch(text):
        raise Ambiguous(f"'{text[:40]}' means different things to different readers; put it in quotes")
    return text


def _is_plain(text: str) -> bool:
    if _BARE.fullmatch(text) is None:
        return False
    try:
        return plain_value(text) == text
    except Ambiguous:
        return False


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character in '"\\':
        return "\\" + character
    short = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character)
    return short or f"\\u{ord(character):04x}"


def _text(text: str, style: str | None) -> str:
    if style is None and _is_plain(text):
        return text
    if style == "'" and _ESCAPED.search(text.replace('"', "").replace("\\", "")) is None:
        return "'" + text.replace("'", "''") + "'"
    return '"' + _ESCAPED.sub(_escape, text) + '"'


def written(value: bool | int | float | str | None, style: str | None = None) -> str:
    """The scalar as YAML; ``style`` is the quote character that a text shall keep, if it can."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        digits = format(Decimal(repr(value)), "f")
        return digits if "." in digits else f"{digits}.0"
    return _text(value, style)
