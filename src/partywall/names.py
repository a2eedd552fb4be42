"""Names that exist only when they are legal: tenant ids, slugs, tables, columns, actions, regions.

Each type is a plain ``str`` at run time; its ``parse_*`` function is the only way to get one, and
this module is the only one that knows what is legal. Everything is ASCII and matched whole.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Final, NewType

from partywall.errors import InvalidArgument

__all__ = [
    "Action",
    "ColumnName",
    "PlanName",
    "Region",
    "RowId",
    "Slug",
    "TableName",
    "TenantId",
    "is_reserved_slug",
    "is_tenant_id",
    "meant",
    "new_row_id",
    "new_tenant_id",
    "parse_action",
    "parse_column",
    "parse_plan",
    "parse_region",
    "parse_row_id",
    "parse_slug",
    "parse_table",
    "parse_tenant_id",
    "pattern_of",
]

TenantId = NewType("TenantId", str)
"""``ten_`` and 4 to 32 of ``a-z0-9``; never changes, never given out twice; storage is named after it."""
Slug = NewType("Slug", str)
"""A DNS label of 1 to 48 characters in lower case; may change."""
PlanName = NewType("PlanName", str)
TableName = NewType("TableName", str)
ColumnName = NewType("ColumnName", str)
Action = NewType("Action", str)
"""What a rate limit counts, such as ``api_requests``."""
Region = NewType("Region", str)
RowId = NewType("RowId", str)

_TENANT_ID: Final = re.compile(r"ten_[a-z0-9]{4,32}")
_SLUG: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?")
_IDENTIFIER: Final = re.compile(r"[a-z][a-z0-9_]{0,47}")
_LABEL: Final = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_ROW_ID: Final = re.compile(r"[!-~]{1,128}")
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"

_RESERVED_SLUGS: Final = frozenset(
    [
        "admin",
        "api",
        "app",
        "assets",
        "auth",
        "con",
        "aux",
        "billing",
        "cdn",
        "console",
        "dashboard",
        "docs",
        "ftp",
        "help",
        "internal",
        "localhost",
        "login",
        "mail",
        "nul",
        "null",
        "none",
        "prn",
        "root",
        "smtp",
        "static",
        "status",
        "support",
        "system",
        "undefined",
        "www",
    ]
    + [f"{device}{digit}" for device in ("com", "lpt") for digit in range(10)]
)
_RESERVED_TABLES: Final = frozenset(
    ["main", "public", "pg_catalog", "temp", "information_schema", "partywall", "sqlite_master"]
)
_RESERVED_COLUMNS: Final = frozenset(["tenant_id", "rowid", "ctid", "xmin", "oid"])


def _legal(pattern: re.Pattern[str], text: object, what: str, rule: str) -> str:
    if not isinstance(text, str) or pattern.fullmatch(text) is None:
        raise InvalidArgument(f"{what} {_shown(text)} is not legal: {rule}")
    return str.__str__(text)  # a subclass may say that it is another text than the one examined


def _shown(text: object) -> str:
    shown = ascii(text)
    return shown if len(shown) <= 80 else shown[:77] + "…"


def is_tenant_id(text: str) -> bool:
    """Whether the text has the form of a tenant id; says nothing about whether the tenant exists."""
    return _TENANT_ID.fullmatch(text) is not None


def parse_tenant_id(text: object) -> TenantId:
    """The tenant id, or InvalidArgument."""
    return TenantId(_legal(_TENANT_ID, text, "tenant id", "'ten_' and 4 to 32 of a-z and 0-9"))


def parse_slug(text: object) -> Slug:
    """The slug, or InvalidArgument; refuses what could be taken for an id, a device or a host of ours."""
    slug = _legal(_SLUG, text, "slug", "1 to 48 of a-z, 0-9 and inner hyphens")
    if slug.startswith(("ten-", "xn--")) or slug[2:4] == "--":
        raise InvalidArgument(f"slug '{slug}' is not legal: it may not begin with 'ten-' or look like an encoded name")
    if slug in _RESERVED_SLUGS:
        raise InvalidArgument(f"slug '{slug}' is reserved; choose another")
    return Slug(slug)


def is_reserved_slug(text: str) -> bool:
    """Whether the text is a host label of ours, such as ``www``, that no tenant can ever have as its slug."""
    return text in _RESERVED_SLUGS


def parse_plan(text: object) -> PlanName:
    """The plan's name, or InvalidArgument."""
    return PlanName(_legal(_IDENTIFIER, text, "plan", "a letter, then up to 47 of a-z, 0-9 and _"))


def parse_table(text: object) -> TableName:
    """The table's name, or InvalidArgument; says nothing about whether the table is declared."""
    name = _legal(_IDENTIFIER, text, "table", "a letter, then up to 47 of a-z, 0-9 and _")
    if name in _RESERVED_TABLES or name.startswith(("pg_", "sqlite_", "duckdb_")):
        raise InvalidArgument(f"table '{name}' is reserved; choose another")
    return TableName(name)


def parse_column(text: object) -> ColumnName:
    """The column's name, or InvalidArgument; says nothing about whether the column is declared."""
    name = _legal(_IDENTIFIER, text, "column", "a letter, then up to 47 of a-z, 0-9 and _")
    if name in _RESERVED_COLUMNS:
        raise InvalidArgument(f"column '{name}' is reserved; choose another")
    return ColumnName(name)


def parse_action(text: object) -> Action:
    """The rate-limited action, or InvalidArgument."""
    return Action(_legal(_LABEL, text, "action", "a letter, then up to 63 of a-z, 0-9, '_', '.' and '-'"))


def parse_region(text: object) -> Region:
    """The region, or InvalidArgument."""
    return Region(_legal(_IDENTIFIER, text, "region", "a letter, then up to 47 of a-z, 0-9 and _"))


def parse_row_id(text: object) -> RowId:
    """A row's id: 1 to 128 printable ASCII characters without spaces, or InvalidArgument."""
    if not isinstance(text, str) or _ROW_ID.fullmatch(text) is None:
        raise InvalidArgument(f"row id {_shown(text)} is not legal: 1 to 128 printable ASCII characters, no spaces")
    return RowId(str.__str__(text))


def meant(word: object, known: Iterable[str]) -> str:
    """The end of a refusal that names the known word that was probably meant; empty when none is near.

    A word that differs in case and separators only, such as ``max_users`` for ``maxUsers``, is near enough.
    """
    words = list(known)
    text = word[:64] if isinstance(word, str) else ""
    near = get_close_matches(text, words, n=1, cutoff=0.6) or [each for each in words if _bare(each) == _bare(text)]
    return f"; did you mean '{near[0]}'?" if near else ""


def _bare(word: str) -> str:
    return word.replace("_", "").replace("-", "").lower()


def pattern_of(parse: Callable[[object], str]) -> str:
    """The anchored regular expression of what a ``parse_*`` function of this module accepts, for JSON Schemas."""
    pattern, refused = _FORMS[parse]
    ahead = f"(?!{'|'.join(refused)})" if refused else ""
    return f"^{ahead}{pattern.pattern}$"


def _words(words: Iterable[str]) -> str:
    return f"(?:{'|'.join(sorted(words))})$"


_FORMS: Final[dict[Callable[[object], str], tuple[re.Pattern[str], tuple[str, ...]]]] = {
    parse_tenant_id: (_TENANT_ID, ()),
    parse_slug: (_SLUG, ("ten-", "xn--", "..--", _words(_RESERVED_SLUGS))),
    parse_plan: (_IDENTIFIER, ()),
    parse_table: (_IDENTIFIER, ("pg_", "sqlite_", "duckdb_", _words(_RESERVED_TABLES))),
    parse_column: (_IDENTIFIER, (_words(_RESERVED_COLUMNS),)),
    parse_action: (_LABEL, ()),
    parse_region: (_IDENTIFIER, ()),
}


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def new_tenant_id() -> TenantId:
    """A fresh tenant id with 80 random bits."""
    return TenantId(f"ten_{_random(16)}")


def new_row_id() -> RowId:
    """A fresh row id with 125 random bits: nothing to count, nothing shared between tenants."""
    return RowId(_random(25))
