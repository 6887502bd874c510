"""Data contracts: what all forces agree that a data set means.

A contract is public and independent of any records system. Its TOML bytes are what is hashed, so
`sha256sum contracts/street_crime.v1.toml` prints what the manifest must list.
"""

from __future__ import annotations

import hashlib
import tomllib
from datetime import date, timedelta
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from cordon.errors import Malformed
from cordon.units import Digest, Exact, Name

EPOCH = date(1970, 1, 1)
UNKNOWN = "unknown"
"""The code that every category has for a value that is missing or outside the contract."""

FORCE = "force"
"""The virtual column of every data set."""

MOST_COLUMNS = 64
MOST_CODES = 512


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Code(_Model):
    """One value of a code list."""

    code: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,62}$")]
    """What travels and is stored, e.g. `violence`."""

    label: Annotated[str, Field(min_length=1, max_length=120)]
    """What people read, and may type in SQL instead of the code."""


class Category(_Model):
    """A column with a public code list; its position in the list is what a snapshot stores."""

    kind: Literal["category"]
    name: Name
    title: str
    codes: Annotated[tuple[Code, ...], Field(min_length=2, max_length=MOST_CODES)]

    @model_validator(mode="after")
    def _codes_are_distinct_and_have_unknown(self) -> Self:
        names = [code.code for code in self.codes]
        labels = [code.label.casefold() for code in self.codes]
        if len(set(names)) != len(names) or len(set(labels)) != len(labels):
            raise ValueError(f"column {self.name}: a code or label occurs twice")
        if UNKNOWN not in names:
            raise ValueError(f"column {self.name}: the code list needs the code '{UNKNOWN}'")
        return self

    @cached_property
    def positions(self) -> dict[str, int]:
        """Position of each code in the list, from 0."""
        return {code.code: at for at, code in enumerate(self.codes)}


class Date(_Model):
    """A calendar date, in local civil time; stored as days since 1970-01-01, null where unknown."""

    kind: Literal["date"]
    name: Name
    title: str

    grain: Literal["day", "month"]
    """The finest grain that the source has; a month is stored as its first day."""

    min: date
    """First day that the contract covers; the first of a month."""

    max: date
    """Last day that the contract covers; the last of a month."""

    @model_validator(mode="after")
    def _covers_whole_months(self) -> Self:
        if self.min.day != 1 or (self.max + timedelta(days=1)).day != 1 or self.min > self.max:
            raise ValueError(f"column {self.name}: min must be the first and max the last day of a month")
        return self

    @property
    def low(self) -> int:
        """First day covered, in days since 1970-01-01."""
        return days(self.min)

    @property
    def high(self) -> int:
        """Last day covered, in days since 1970-01-01."""
        return days(self.max)

    @cached_property
    def months(self) -> tuple[int, ...]:
        """First day of every month covered, in days since 1970-01-01."""
        starts = []
        at = self.min
        while at <= self.max:
            starts.append(days(at))
            at = next_month(at)
        return tuple(starts)


class Number(_Model):
    """A bounded number; stored as the integer number of resolutions, null where unknown."""

    kind: Literal["number"]
    name: Name
    title: str
    unit: Annotated[str, Field(min_length=1, max_length=40)]
    """What one is, e.g. `GBP` or `years`."""

    min: Exact
    max: Exact
    resolution: Exact

    @model_validator(mode="after")
    def _bounds_are_whole_multiples(self) -> Self:
        # Rounding a bound could move a clamped value past the sensitivity that the plan computes.
        if self.resolution <= 0 or self.min >= self.max:
            raise ValueError(f"column {self.name}: needs resolution > 0 and min < max")
        if (self.min / self.resolution).denominator != 1 or (self.max / self.resolution).denominator != 1:
            raise ValueError(f"column {self.name}: min and max must be whole multiples of the resolution")
        if max(abs(self.low), abs(self.high)) > 2**40:
            raise ValueError(f"column {self.name}: more than 2^40 resolutions between zero and a bound")
        return self

    @property
    def low(self) -> int:
        """Lower bound, in resolutions."""
        return int(self.min / self.resolution)

    @property
    def high(self) -> int:
        """Upper bound, in resolutions."""
        return int(self.max / self.resolution)


class Identifier(_Model):
    """An identifier: never selectable or filterable."""

    kind: Literal["identifier"]
    name: Name
    title: str
    use: Literal["unit", "linkage"]
    """`unit` names the privacy unit; `linkage` is kept for questions across forces."""

    scheme: Literal["phone", "pnc_id", "vehicle"] | None = None
    """How values are made alike before they are hashed, the same in every force. A linkage identifier without a
    scheme is never stored."""


Column = Annotated[Category | Date | Number | Identifier, Field(discriminator="kind")]


class Unit(_Model):
    """What one unit of privacy is, and how much one unit may contribute in one force."""

    kind: Literal["person", "row"]
    """`person`: all rows with one identifier; `row`: each row by itself."""

    words: Annotated[str, Field(min_length=3, max_length=120)]
    """The protected unit as every answer prints it, e.g. `one stop and search record`."""

    max_rows_per_unit: Annotated[int, Field(ge=1, le=1000)]
    """The contribution bound k: rows of one unit that a node keeps; 1 for a row unit."""

    max_rows_per_force: Annotated[int, Field(ge=1, le=10**9)]
    """Public bound on rows of one force after bounding; sizes the plaintext modulus."""

    rows_without_unit: Literal["own unit", "leave out"] = "own unit"
    """Whether a row without identifier enters, as a unit by itself."""

    max_forces_per_unit: Annotated[int, Field(ge=1)] | None = None
    """An assumption that no force can enforce; answers that use it say 'assumed'."""

    caveat: str = ""
    """For row units: what is not protected, in a sentence. Printed with every answer."""

    @model_validator(mode="after")
    def _a_row_is_not_a_person(self) -> Self:
        if self.kind == "row" and (self.max_rows_per_unit != 1 or not self.caveat):
            raise ValueError("a row unit needs max_rows_per_unit = 1 and a caveat sentence")
        return self


class Contract(_Model):
    """What all forces agree that one data set means. Frozen; compare by `digest`."""

    dataset: Name
    version: Annotated[int, Field(ge=1)]
    title: str
    description: str
    source: str
    """Source standard, e.g. `data.police.uk street-level crime`."""

    licence: str
    unit: Unit
    columns: Annotated[tuple[Column, ...], Field(alias="column", min_length=1, max_length=MOST_COLUMNS)]

    _digest: Digest = PrivateAttr()

    @model_validator(mode="after")
    def _columns_fit_the_unit(self) -> Self:
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names) or FORCE in names:
            raise ValueError(f"column names must be distinct, and '{FORCE}' is taken")
        # A snapshot's own columns end so, and the contribution bound stands in one of them.
        if any(name.endswith("_") or "__" in name for name in names):
            raise ValueError("a column's name must not end in '_' or contain '__'")
        units = [c for c in self.columns if isinstance(c, Identifier) and c.use == "unit"]
        if len(units) != (self.unit.kind == "person"):
            raise ValueError("a person unit needs exactly one identifier column with use = 'unit', a row unit none")
        return self

    @classmethod
    def from_toml(cls, payload: bytes) -> Self:
        """Read a contract from its TOML bytes.

        Raises:
            Malformed: not UTF-8, not TOML, or not a contract; the message names the place.
        """
        try:
            contract = cls.model_validate(tomllib.loads(payload.decode()))
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise Malformed(f"contract is not readable as TOML: {error}") from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise Malformed(f"contract: {place or 'file'}: {first['msg']}") from error
        contract._digest = Digest(hashlib.sha256(payload).digest())  # noqa: SLF001 - our own class
        return contract

    @property
    def digest(self) -> Digest:
        """SHA-256 of the TOML bytes that this contract was read from."""
        return self._digest

    @property
    def unit_column(self) -> str | None:
        """Name of the identifier column of the privacy unit; None for a row unit."""
        return next((c.name for c in self.columns if isinstance(c, Identifier) and c.use == "unit"), None)

    def column(self, name: str) -> Category | Date | Number | Identifier:
        """The column called `name`.

        Raises:
            KeyError: there is none.
        """
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Category | Date | Number | Identifier]:
        return {column.name: column for column in self.columns}


def days(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - EPOCH).days


def day(number: int) -> date:
    """The date that lies `number` days after 1970-01-01."""
    return EPOCH + timedelta(days=number)


def next_month(start: date) -> date:
    """First day of the month after the month of `start`."""
    return date(start.year + start.month // 12, start.month % 12 + 1, 1)
