"""tables.yaml: the tables that every tenant owns."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    JsonValue,
    PrivateAttr,
    model_validator,
)

from partywall.errors import QueryError
from partywall.model._base import misplaced, named, one_of, snake_config
from partywall.model.values import ColumnType, encode
from partywall.names import ColumnName, TableName, meant, parse_column, parse_table

__all__ = ["ID", "Column", "Table", "TablesFile"]

ID = ColumnName("id")
"""The primary key that every table has, a text unique within the tenant; made by the engine unless given."""
_HINTS: Final = 20
"""Wrong names for which the one that was meant is looked for: that takes long among thousands, thousands of times."""


Named = Annotated[ColumnName, AfterValidator(parse_column), named(parse_column, but=ID)]
Target = Annotated[TableName, AfterValidator(parse_table), named(parse_table)]


class Column(BaseModel):
    """One column."""

    model_config = snake_config

    type: Annotated[ColumnType, one_of(ColumnType)]
    """What the column holds."""
    required: bool = False
    """Whether every row must have a value."""
    default: JsonValue = None
    """What a row gets that names no value: ``now`` on a timestamp is the moment of the insert; other moments and
    dates are ISO texts, bytes are a text's UTF-8.
    """
    references: Target | None = None
    """The table, of the same tenant, whose row with this id must exist; it cannot be deleted meanwhile."""

    @model_validator(mode="after")
    def _consistent(self) -> Column:
        if self.references is not None and self.type is not ColumnType.TEXT:
            raise misplaced([(("type",), "a column that references another table holds its id: type must be text")])
        try:
            self.initial(datetime.now(UTC))
        except (QueryError, TypeError, ValueError):
            raise misplaced([(("default",), f"the default does not fit the type {self.type}")]) from None
        return self

    def initial(self, now: datetime) -> Any:
        """What a row holds that names no value, in the form that the rows of the contract have."""
        value: Any = self.default
        if value is None:
            return None
        match self.type:
            case ColumnType.TIMESTAMP:
                value = now if value == "now" else datetime.fromisoformat(value)
            case ColumnType.DATE:
                value = date.fromisoformat(value)
            case ColumnType.BYTES:
                value = value.encode()
        return encode(self.type, value, "the default")


def _with_id(columns: Any) -> Any:
    if isinstance(columns, dict) and ID in columns:
        raise ValueError("every table has the column 'id' already; remove it here")
    return columns


class Table(BaseModel):
    """One table; its column ``id`` is implied."""

    model_config = snake_config

    columns: Annotated[dict[Named, Column], Field(min_length=1), BeforeValidator(_with_id)]
    """The columns by name, without ``id``."""
    unique: tuple[tuple[Named, ...], ...] = ()
    """Keys beside ``id``, each unique within the tenant; rows with a missing value never collide."""

    quota: Literal["users", "projects"] | None = None
    """The quota that each row counts against: an insert that would pass it is refused, a delete gives back. Tables
    with the same quota are counted together.
    """

    _name: TableName = PrivateAttr(default=TableName(""))

    @property
    def name(self) -> TableName:
        """The name under which tables.yaml declares it."""
        return self._name

    @property
    def types(self) -> dict[ColumnName, ColumnType]:
        """Every column, ``id`` first, with its type."""
        return {ID: ColumnType.TEXT, **{name: column.type for name, column in self.columns.items()}}

    @property
    def references(self) -> dict[ColumnName, TableName]:
        """The columns that hold another row's id, and the table of that row."""
        return {name: column.references for name, column in self.columns.items() if column.references}

    @model_validator(mode="after")
    def _keys_exist(self) -> Table:
        found: list[tuple[tuple[str | int, ...], str]] = []
        for index, key in enumerate(self.unique):
            if not key or len(set(key)) != len(key):
                found.append((("unique", index), "a unique key names at least one column, and each once"))
            for part, column in enumerate(key):
                wrong = self._no_key(column, hint=len(found) < _HINTS)
                if wrong:
                    found.append((("unique", index, part), f"unique names '{column}', {wrong}"))
        if found:
            raise misplaced(found)
        return self

    def _no_key(self, column: ColumnName, *, hint: bool) -> str | None:
        if column not in self.columns:
            return f"which is not a column of this table{meant(column, self.columns) if hint else ''}"
        if self.columns[column].type in (ColumnType.JSON, ColumnType.FLOAT):
            return "whose type cannot be a key"
        return None


class TablesFile(BaseModel):
    """The document ``tables.yaml``."""

    model_config = snake_config

    tables: Annotated[dict[Target, Table], Field(min_length=1)]
    """The tables by name. New tables and columns are added to the stores when the engine opens."""

    @model_validator(mode="after")
    def _named_and_linked(self) -> TablesFile:
        found: list[tuple[tuple[str | int, ...], str]] = []
        for name, table in self.tables.items():
            table._name = name  # noqa: SLF001  # the key is the name; the model above cannot see its key
            for column, target in table.references.items():
                if target not in self.tables:
                    hint = meant(target, self.tables) if len(found) < _HINTS else ""
                    message = f"references '{target}', which is not declared{hint}"
                    found.append((("tables", name, "columns", column, "references"), message))
        if found:
            raise misplaced(found)
        return self
