"""The tables, values and names that the kit works with: ordinary ones, and those that break things."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Final

from partywall.backend import Row
from partywall.model import ID, ColumnType, Table, TablesFile
from partywall.names import TableName, TenantId

__all__ = [
    "ACCOUNTS",
    "ALIKE",
    "DECLARED",
    "EVERY_VALUE",
    "GROWN",
    "PARTS",
    "ROW_IDS",
    "SPECIMENS",
    "TABLES",
    "TEXTS",
    "account",
    "part",
    "specimen",
    "tables_of",
    "token",
    "token_row",
]

DECLARED: Final[dict[str, Any]] = {
    "specimens": {
        "columns": {
            "label": {"type": "text"},
            "amount": {"type": "integer"},
            "score": {"type": "float"},
            "flag": {"type": "boolean"},
            "moment": {"type": "timestamp"},
            "day": {"type": "date"},
            "raw": {"type": "bytes"},
            "document": {"type": "json"},
        }
    },
    "accounts": {
        "columns": {"email": {"type": "text"}, "team": {"type": "text"}, "seat": {"type": "integer"}},
        "unique": [["email"], ["team", "seat"]],
    },
    "parts": {"columns": {"specimen": {"type": "text", "references": "specimens"}, "label": {"type": "text"}}},
}

GROWN: Final[dict[str, Any]] = {
    **DECLARED,
    "parts": {"columns": {**DECLARED["parts"]["columns"], "weight": {"type": "float"}}},
    "later": {"columns": {"label": {"type": "text"}}},
}
"""The same tables some releases later: one column and one table more."""


def tables_of(declared: Mapping[str, Any]) -> Mapping[TableName, Table]:
    """The tables that a document like ``tables.yaml`` declares."""
    return TablesFile.model_validate_json(json.dumps({"tables": declared})).tables


TABLES: Final = tables_of(DECLARED)
SPECIMENS: Final = TABLES[TableName("specimens")]
ACCOUNTS: Final = TABLES[TableName("accounts")]
PARTS: Final = TABLES[TableName("parts")]


def specimen(row_id: str, **values: Any) -> Row:
    """A whole row of specimens."""
    return {ID: row_id, **dict.fromkeys(SPECIMENS.columns), **values}


def account(row_id: str, email: str | None = None, team: str | None = None, seat: int | None = None) -> Row:
    """A whole row of accounts."""
    return {ID: row_id, "email": email, "team": team, "seat": seat}


def part(row_id: str, specimen_id: str | None = None, label: str | None = None) -> Row:
    """A whole row of parts."""
    return {ID: row_id, "specimen": specimen_id, "label": label}


def token() -> str:
    """A text that can come from one place only: 128 random bits."""
    return secrets.token_hex(16)


def token_row(row_id: str, canary: str, **values: Any) -> Row:
    """A specimen that carries the token in every column that can hold it."""
    carried = {"label": canary, "raw": canary.encode(), "document": f'{{"{canary}":"{canary}"}}'}
    return specimen(row_id, **{**carried, **values})


TEXTS: Final = (
    "",
    " ",
    " both ends ",
    "'",
    '"',
    "`",
    "\\",
    "%",
    "_",
    "%_\\",
    "NULL",
    "None",
    "null",
    "0",
    "00",
    "1e3",
    "true",
    "2026-11-23",
    "x' OR '1'='1",
    '"; DROP TABLE specimens --',
    "/* */ -- #",
    "? $1 :x %s {x} @x",
    "a\0b",
    "\0",
    "line\nbreak\r\n\ttab\x1b\x7f",
    "Z",
    "z",
    "é",
    "e\u0301",
    "ß",
    "İ",
    "\u202eright to left",
    "\ufeffmark",
    "\u200b",
    "\ud7ff\ue000\uffff",
    "😀",
    "\U0010ffff",
    "x" * 100_000,
)
"""Texts in no order, all different by code point, some alike to whoever folds, trims or normalises."""

EVERY_VALUE: Final[dict[ColumnType, tuple[Any, ...]]] = {
    ColumnType.TEXT: TEXTS,
    ColumnType.INTEGER: (0, 1, -1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, -(2**63)),
    ColumnType.FLOAT: (0.0, -0.0, 0.1, 1.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1e308, 1e16 + 2),
    ColumnType.BOOLEAN: (True, False),
    ColumnType.TIMESTAMP: (
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2026, 3, 29, 1, 30, 0, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ),
    ColumnType.DATE: (date(1, 1, 1), date(1582, 10, 10), date(1970, 1, 1), date(2028, 2, 29), date(9999, 12, 31)),
    ColumnType.BYTES: (b"", b"\0", bytes(range(256)), b"'\"\\", b"\xff\xfe", b"\0" * 70_000),
    ColumnType.JSON: ("{}", "[]", '""', "0", "false", '{"a":[1,2.5,null,"é😀\\u0000"],"tenant_id":"x"}', '"null"'),
}
"""Values of every type that are easily lost, rounded or taken for something else."""

ROW_IDS: Final = (
    "a",
    "A",
    "0",
    "00",
    "-0",
    "'",
    '"',
    "`",
    "\\",
    "%",
    "_",
    "a%",
    "--",
    ";",
    "/",
    "../a",
    "a/b",
    "NULL",
    "$1",
    "?",
    "{x}",
    "~" * 128,
    "~" * 127,
)
"""Legal row ids, all different."""

ALIKE: Final = tuple(
    TenantId(f"ten_{rest}")
    for rest in ("aaaa", "aaaaa", "aaaab", "0o0o", "o0o0", "null", f"{'x' * 31}a", f"{'x' * 31}b", f"{'x' * 30}aa")
)
"""Tenants whose ids begin alike, look alike, or differ only in their last letter."""
