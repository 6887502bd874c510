"""A force's mapping from its own source to a data contract; private to the force.

The mapping says where the records are, which source column feeds which contract column, which local
codes mean which contract codes, and under which declared vintage they are served. Nothing of it leaves.
"""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from cordon.configfile import ConfigModel
from cordon.contract import Category, Column, Contract, Date, Identifier
from cordon.errors import Misconfigured
from cordon.units import Name
from node.cluster import Cluster
from node.dates import check_format
from node.engine import BLANKS
from node.expression import kind_over_texts
from node.source.model import Source

Month = Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]
"""A calendar month, `YYYY-MM`."""

MOST_LOCAL_CODES = 10_000
"""Of one column."""


class ColumnMapping(ConfigModel):
    """What feeds one contract column."""

    source: str | None = None
    """Name of the column in the source."""

    expression: str | None = None
    """Instead of one column: an expression over columns of the same row. docs/data.md lists what it may hold."""

    codes: dict[str, str] = Field(default_factory=dict)
    """Local value → contract code. The contract's own codes and labels need no entry; the empty
    string stands for a missing value."""

    codes_file: Path | None = None
    """CSV file with the columns `local` and `code`, for long lists; beside `codes`."""

    unknown: tuple[str, ...] = ()
    """Local values that mean that nothing is known, such as `N/K` or `01/01/1900`: missing, not counted as mended."""

    formats: tuple[str, ...] = ()
    """For a date: formats to try, in this order, such as `%d/%m/%Y %H:%M`. ISO 8601 where not given."""

    time_zone: str | None = None
    """For a date whose source is a time stamp in UTC: the zone whose civil date counts."""

    most_mended_percent: Annotated[float, Field(ge=0, le=100)] | None = None
    """A load stops if a larger share of the rows that have a value is clamped or becomes unknown."""

    @field_validator("codes")
    @classmethod
    def _codes_without_blanks(cls, codes: dict[str, str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for local, code in codes.items():
            if found.setdefault(local.strip(BLANKS), code) != code:
                raise ValueError(f"{local.strip(BLANKS)!r} has two codes")
        return found

    @field_validator("unknown")
    @classmethod
    def _without_blanks(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(text.strip(BLANKS) for text in texts)

    @model_validator(mode="after")
    def _has_one_origin(self) -> Self:
        if (self.source is None) == (self.expression is None):
            raise ValueError("needs either source or expression")
        return self

    def read_codes(self, column: Category) -> dict[str, str]:
        """Local value → contract code, from both places.

        Raises:
            Misconfigured: the file cannot be read, has a value twice, or a code that the contract lacks.
        """
        codes = dict(self.codes)
        if self.codes_file is not None:
            for line, local, code in _code_list(self.codes_file):
                if local in codes:
                    raise Misconfigured(
                        f"{self.codes_file}, line {line}: {local!r} has a code already",
                        hint="keep one line for each local value",
                    )
                if code not in column.positions:
                    raise Misconfigured(f"{self.codes_file}, line {line}: {column.name} has no code {code!r}")
                codes[local] = code
        strange = set(codes.values()) - set(column.positions)
        if strange:
            raise Misconfigured(f"mapping: {column.name} has no code {min(strange)!r}")
        if len(codes) > MOST_LOCAL_CODES:
            raise Misconfigured(f"mapping: {column.name} has more than {MOST_LOCAL_CODES} local codes")
        return codes


class Exclusion(ConfigModel):
    """Records that never enter a snapshot."""

    where: str
    """A condition over columns of the row, such as `protected_marking = 'Y'`: rows where it is true are left out."""

    reason: Annotated[str, Field(min_length=3, max_length=200)]
    """Why, for the force's own people: it stands beside the count in the data-quality report."""


class Mapping(ConfigModel):
    """How one source becomes one data set."""

    dataset: Name
    version: Annotated[int, Field(ge=1)]
    domain: Name
    """Budget domain: these source records, under whatever contract they are asked about."""

    source: Source
    """Where the records are; `source = "records.csv"` for a file that needs no more said."""

    engine: Cluster | None = None
    """Where the snapshot is made and kept, if it is too large for one machine; the source must lie there too."""

    as_at: date
    """Scheduled date that the records are as at; declared, never read from the records."""

    first_month: Month
    last_month: Month
    """Months that the force declares to be covered."""

    max_age_days: Annotated[int, Field(ge=1)] | None = None
    """Days after `as_at` from which on the node declines: the records are stale. Beside the policy's own limit."""

    note: Annotated[str, Field(max_length=200)] = ""
    """Data note for analysts, approved by an officer of the force."""

    columns: Annotated[dict[Name, ColumnMapping], Field(min_length=1)]
    """By contract column; a column that is left out is unknown in every row."""

    exclude: tuple[Exclusion, ...] = ()
    """Rules for records that never enter."""

    deduplicate: tuple[str, ...] = ()
    """For a person unit, contract columns: of one person's rows that are alike in all of them, one stays. For a row
    unit, source columns that make a row what it is: rows that are alike in them are one unit, and one stays."""

    @model_validator(mode="after")
    def _months_are_in_order(self) -> Self:
        if self.first_month > self.last_month:
            raise ValueError("first_month must not come after last_month")
        return self

    def check(self, contract: Contract) -> None:
        """Check the mapping against its contract.

        Raises:
            Misconfigured: a column or code that the contract does not have; an expression, condition, format or time
                zone that cannot be read.
        """
        known = {column.name: column for column in contract.columns}
        for name, mapped in self.columns.items():
            if name not in known:
                raise Misconfigured(f"mapping: {self.dataset} v{self.version} has no column {name}")
            _check_column(mapped, known[name])
        for rule in self.exclude:
            # A column that is a text here may be a truth value in the source.
            if kind_over_texts(rule.where) not in {"boolean", "string"}:
                raise Misconfigured(f"exclude: {rule.where!r} is no condition", hint="compare something, as in a = 'Y'")
        unit = contract.unit_column
        if unit is not None and unit not in self.columns:
            raise Misconfigured(f"mapping: {unit} names the privacy unit and must be mapped")
        for name in self.deduplicate if unit is not None else ():
            if name not in self.columns or isinstance(known[name], Identifier):
                raise Misconfigured(f"mapping: deduplicate names {name}, which is no mapped column that is stored")


def _check_column(mapped: ColumnMapping, column: Column) -> None:
    if isinstance(column, Category):
        mapped.read_codes(column)
    elif mapped.codes or mapped.codes_file:
        raise Misconfigured(f"mapping: {column.name} is a {column.kind} and has no codes")
    if (mapped.time_zone or mapped.formats) and not isinstance(column, Date):
        given = "time zone" if mapped.time_zone else "formats"
        raise Misconfigured(f"mapping: {column.name} is a {column.kind} and has no {given}")
    for form in mapped.formats:
        try:
            check_format(form)
        except Misconfigured as error:
            raise Misconfigured(f"mapping: {column.name}: {error}", hint=error.hint) from None
    if mapped.time_zone is not None and not _is_zone(mapped.time_zone):
        raise Misconfigured(
            f"mapping: {column.name}: there is no time zone {mapped.time_zone!r}", hint="such as Europe/London"
        )
    if mapped.expression is not None:
        kind_over_texts(mapped.expression)


def _is_zone(name: str) -> bool:
    try:
        return bool(ZoneInfo(name).key)
    except (ValueError, OSError, KeyError):
        # It says in many ways that there is no such file.
        return False


def _code_list(path: Path) -> list[tuple[int, str, str]]:
    """Line number, local value and code of each line of a code list."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if set(reader.fieldnames or ()) != {"local", "code"}:
                raise Misconfigured(f"{path}: the first line must be `local,code`")
            lines = []
            for row in reader:
                if None in row or None in row.values():
                    raise Misconfigured(f"{path}, line {reader.line_num}: needs exactly two values")
                lines.append((reader.line_num, row["local"].strip(BLANKS), row["code"].strip()))
            return lines
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Misconfigured(f"{path} is not UTF-8 text") from None
    except csv.Error as error:
        raise Misconfigured(f"{path}: {error}") from None
