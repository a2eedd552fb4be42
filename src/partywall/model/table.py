"""tables.yaml: the tables that every tenant owns."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

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
from partywall.model._base import named, snake_config
from partywall.model.values import ColumnType, encode
from partywall.names import ColumnName, TableName, parse_column, parse_table

__all__ = ["ID", "Column", "Table", "TablesFile"]

ID = ColumnName("id")
"""The primary key that every table has, a text unique within the tenant; made by the engine unless given."""


def _type(value: Any) -> ColumnType:
    try:
        return ColumnType(value)
    except ValueError:
        raise ValueError(f"expected one of {', '.join(ColumnType)}") from None


Named = Annotated[ColumnName, AfterValidator(parse_column), named(parse_column, but=ID)]
Target = Annotated[TableName, AfterValidator(parse_table), named(parse_table)]


class Column(BaseModel):
    """One column."""

    model_config = snake_config

    type: Annotated[ColumnType, BeforeValidator(_type)]
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
            raise ValueError("a column that references another table holds its id: type must be text")
        try:
            self.initial(datetime.now(UTC))
        except (QueryError, TypeError, ValueError):
            raise ValueError(f"the default does not fit the type {self.type}") from None
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
        for key in self.unique:
            if not key or len(set(key)) != len(key):
                raise ValueError("a unique key names at least one column, and each once")
            for column in key:
                if column not in self.columns:
                    raise ValueError(f"unique names '{column}', which is not a column of this table")
                if self.columns[column].type in (ColumnType.JSON, ColumnType.FLOAT):
                    raise ValueError(f"unique names '{column}', whose type cannot be a key")
        return self


class TablesFile(BaseModel):
    """The document ``tables.yaml``."""

    model_config = snake_config

    tables: Annotated[dict[Target, Table], Field(min_length=1)]
    """The tables by name. New tables and columns are added to the stores when the engine opens."""

    @model_validator(mode="after")
    def _named_and_linked(self) -> TablesFile:
        for name, table in self.tables.items():
            table._name = name  # noqa: SLF001  # the key is the name; the model above cannot see its key
            for column, target in table.references.items():
                if target not in self.tables:
                    raise ValueError(f"{name}.{column} references '{target}', which is not declared")
        return self
