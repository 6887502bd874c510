"""A force's mapping from its own source to a data contract; private to the force.

The mapping says where the records are, which source column feeds which contract column, which local
codes mean which contract codes, and under which declared vintage they are served. Nothing of it leaves.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from cordon.configfile import ConfigModel
from cordon.contract import Category, Contract, Date
from cordon.errors import Misconfigured
from cordon.units import Name

Month = Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]
"""A calendar month, `YYYY-MM`."""


class ColumnMapping(ConfigModel):
    """What feeds one contract column."""

    source: str
    """Name of the column in the source."""

    codes: dict[str, str] = Field(default_factory=dict)
    """Local value → contract code. The contract's own codes and labels need no entry; the empty
    string stands for a missing value."""

    time_zone: str | None = None
    """For a date whose source is a time stamp in UTC: the zone whose civil date counts."""


class Mapping(ConfigModel):
    """How one source becomes one data set."""

    dataset: Name
    version: Annotated[int, Field(ge=1)]
    domain: Name
    """Budget domain: these source records, under whatever contract they are asked about."""

    source: Path
    """A Parquet, CSV or DuckDB file. *Trusted for content*: it is what answers are made from."""

    table: str | None = None
    """Table or view of a DuckDB file."""

    as_at: date
    """Scheduled date that the records are as at; declared, never read from the records."""

    first_month: Month
    last_month: Month
    """Months that the force declares to be covered."""

    note: Annotated[str, Field(max_length=200)] = ""
    """Data note for analysts, approved by an officer of the force."""

    columns: Annotated[dict[Name, ColumnMapping], Field(min_length=1)]
    """By contract column; a column that is left out is unknown in every row."""

    @model_validator(mode="after")
    def _months_are_in_order(self) -> Self:
        if self.first_month > self.last_month:
            raise ValueError("first_month must not come after last_month")
        return self

    def check(self, contract: Contract) -> None:
        """Check the mapping against its contract.

        Raises:
            Misconfigured: a column or code that the contract does not have.
        """
        known = {column.name: column for column in contract.columns}
        for name, mapped in self.columns.items():
            column = known.get(name)
            if column is None:
                raise Misconfigured(f"mapping: {self.dataset} v{self.version} has no column {name}")
            if mapped.codes and not isinstance(column, Category):
                raise Misconfigured(f"mapping: {name} is a {column.kind} and has no codes")
            if mapped.time_zone and not isinstance(column, Date):
                raise Misconfigured(f"mapping: {name} is a {column.kind} and has no time zone")
            strange = set(mapped.codes.values()) - set(column.positions if isinstance(column, Category) else ())
            if strange:
                raise Misconfigured(f"mapping: {name} has no code {min(strange)!r}")
        unit = contract.unit_column
        if unit is not None and unit not in self.columns:
            raise Misconfigured(f"mapping: {unit} names the privacy unit and must be mapped")
