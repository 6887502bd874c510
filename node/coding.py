"""From a record as its source has it to a record as the contract has it: typed, integer-coded, identifiers hashed.

One ibis expression over the source's rows, compiled for whichever engine holds the snapshot. Each row follows from
its own record alone, and no value can make it fail: what cannot be read is missing, and marked as mended.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import reduce
from typing import Any

import ibis

from cordon.contract import UNKNOWN, Category, Contract, Date, Identifier, Number
from cordon.errors import Misconfigured
from node.dates import ISO_INSTANT, ISO_MONTH, day_in, iso_day
from node.engine import HEX_DIGITS, Engine, function
from node.expression import build, names_in
from node.identifiers import UNIT, Keys, secrets_of
from node.mapping import ColumnMapping
from node.mapping import Mapping as SourceMapping
from node.normalise import SCHEMES
from node.values import number_in, truth_in

RANK = "rank_"
UNIT_REST = "unit_rest_"
"""The second half of a unit's hash, by which units are told apart while a snapshot is built."""

DRAW = "draw_"
EXCLUDED = "excluded_"
"""Number of the first exclusion that holds, from 1; 0 where none does."""

MONTH_SUFFIX = "__month"
"""Beside each date column stands its month, as 12·year + month − 1."""

MISSING_SUFFIX = "__missing"
MENDED_SUFFIX = "__mended"
LOCAL_SUFFIX = "__local"
"""The source's own text of a value that was mended; never of an identifier."""

MOST_LOCAL = 80
"""Characters of it that are kept: a long one is a note, and a report needs none."""

RECORDS = "records"
"""The table of source rows that `coded` reads."""

CODES = "codes_"
"""Local codes of the columns that have many: a table of (column_, local_, position_) beside the source rows."""

MOST_CASES = 48
"""Local codes of a column that are compared one after the other."""

_EPOCH = ibis.date(1970, 1, 1)

_LARGEST = sys.float_info.max
"""What is beyond is infinite, or no number."""


def columns_named(mapping: SourceMapping) -> tuple[str, ...]:
    """Source columns that feed a contract column or decide an exclusion, each once.

    Raises:
        Misconfigured: an expression cannot be read.
    """
    names: list[str] = []
    for mapped in mapping.columns.values():
        names += [mapped.source] if mapped.source is not None else names_in(mapped.expression or "")
    for exclusion in mapping.exclude:
        names += names_in(exclusion.where)
    return tuple(dict.fromkeys(names))


def columns_read(mapping: SourceMapping, contract: Contract) -> tuple[str, ...]:
    """Source columns that a load needs, and no other, each once.

    Raises:
        Misconfigured: an expression cannot be read.
    """
    keys = mapping.deduplicate if contract.unit_column is None else ()
    return tuple(dict.fromkeys((*columns_named(mapping), *keys)))


def local_codes(mapping: SourceMapping, contract: Contract) -> dict[str, dict[str, int]]:
    """Local value → position in the contract's list, by category that is mapped.

    Raises:
        Misconfigured: a code list cannot be read, or has a code that the contract lacks.
    """
    found = {}
    for name, mapped in mapping.columns.items():
        column = contract.column(name)
        if isinstance(column, Category):
            found[name] = _lookup(column, mapped)
    return found


def many_codes(mapping: SourceMapping, contract: Contract) -> list[tuple[str, str, int]]:
    """Rows of the table `CODES`."""
    return [
        (name, local, position)
        for name, lookup in local_codes(mapping, contract).items()
        if len(lookup) > MOST_CASES
        for local, position in lookup.items()
    ]


def coded(types: Mapping[str, str], mapping: SourceMapping, contract: Contract, engine: Engine, keys: Keys) -> Any:
    """The coded rows of a source, as an ibis table over `RECORDS` and `CODES`.

    Args:
        types: ibis type of each source column that is read.

    Raises:
        Misconfigured: an expression of the mapping cannot be compiled over these columns.
    """
    records = ibis.table(dict(types), name=RECORDS)
    return _Coding(records, mapping, contract, engine, keys).rows()


def stored(contract: Contract, *, linked: bool) -> list[str]:
    """Columns of a snapshot, beside the unit's surrogate and rank.

    Args:
        linked: the node holds the forces' linkage key.
    """
    names: list[str] = []
    for column in contract.columns:
        if isinstance(column, Identifier):
            names += [column.name] if linked and column.use == "linkage" and column.scheme else []
        else:
            names += [column.name, column.name + MONTH_SUFFIX] if isinstance(column, Date) else [column.name]
    return names


def judged(mapping: SourceMapping, contract: Contract, *, linked: bool) -> list[str]:
    """Mapped columns whose missing and mended values are counted."""
    names = set(stored(contract, linked=linked)) | {contract.unit_column}
    return [name for name in sorted(mapping.columns) if name in names]


class _Coding:
    """Three layers of one statement: texts, what is read from them, and the columns of the contract."""

    def __init__(self, records: Any, mapping: SourceMapping, contract: Contract, engine: Engine, keys: Keys) -> None:
        self._mapping = mapping
        self._contract = contract
        self._engine = engine
        self._keys = keys
        self._secrets = secrets_of(keys, mapping, contract)
        self._places = {name: at for at, name in enumerate(mapping.columns)}
        self._mapped = [(name, mapped, contract.column(name)) for name, mapped in mapping.columns.items()]
        self._kinds: dict[str, Any] = {}
        self._rows = records
        self._rows = records.select(self._texts())
        self._joined = self._join_codes()
        self._rows = self._rows.mutate(**self._read())

    def rows(self) -> Any:
        """The coded rows."""
        parts = self._unit() | {EXCLUDED: self._rows[EXCLUDED], DRAW: ibis.random()}
        for column in self._contract.columns:
            mapped = self._mapping.columns.get(column.name)
            if isinstance(column, Category):
                parts |= self._category(column, mapped)
            elif isinstance(column, Date):
                parts |= self._date(column, mapped)
            elif isinstance(column, Number):
                parts |= self._number(column, mapped)
            elif self._is_linked(column):
                parts |= self._linkage(column, mapped)
        return self._rows.select(parts)

    # Texts: what stands in the source

    def _texts(self) -> dict[str, Any]:
        parts: dict[str, Any] = {EXCLUDED: self._excluded()}
        if self._contract.unit_column is None and self._mapping.deduplicate:
            parts["key"] = self._key()
        for name, mapped, column in self._mapped:
            value = self._value(mapped)
            text = self._plain(value)
            if mapped.unknown:
                text = ibis.cases((self._is_unknown(name, mapped, value), ibis.null("string")), else_=text)
            self._kinds[name] = value.type()
            parts[f"text_{self._places[name]}"] = text
            if isinstance(column, Date) and value.type().is_temporal():
                parts[f"time_{self._places[name]}"] = value
        return parts

    def _plain(self, value: Any) -> Any:
        """A value as text without blanks at both ends; null where nothing is left."""
        return self._engine.trimmed(value) if value.type().is_string() else self._engine.text_of(value)

    def _is_unknown(self, name: str, mapped: ColumnMapping, value: Any) -> Any:
        """Whether a value is one that means that nothing is known, compared as what it is."""
        kind = value.type()
        if kind.is_date() or kind.is_timestamp():
            days = [day_in(text, mapped.formats) for text in mapped.unknown]
            if None in days:
                raise Misconfigured(
                    f"mapping: {name}: the source holds dates, and {mapped.unknown[days.index(None)]!r} is none",
                    hint="write it under `unknown` as YYYY-MM-DD or in one of `formats`",
                )
            return (value.date() if kind.is_timestamp() else value).isin(days)
        if kind.is_boolean():
            return value.isin([known for known in map(truth_in, mapped.unknown) if known is not None])
        if not kind.is_numeric():
            return self._plain(value).isin(mapped.unknown)
        numbers = [known for known in map(number_in, mapped.unknown) if known is not None]
        if kind.is_integer():
            return value.isin([int(known) for known in numbers if known == int(known)])
        return value.isin([float(known) for known in numbers]) | self._plain(value).isin(mapped.unknown)

    def _value(self, mapped: ColumnMapping) -> Any:
        if mapped.source is not None:
            return self._rows[mapped.source]
        return build(mapped.expression or "", self._named(), self._engine)

    def _named(self) -> dict[str, Any]:
        return {name: self._rows[name] for name in self._rows.columns}

    def _key(self) -> Any:
        """What makes a row of a row unit what it is, as one text; null where a part is missing."""
        parts = [self._plain(self._rows[name]) for name in self._mapping.deduplicate]
        # Lengths keep the parts apart, whatever stands in them.
        sized = [part.length().cast("string") + ibis.literal(":") + part for part in parts]
        return reduce(lambda one, other: one + other, sized)

    def _excluded(self) -> Any:
        rules = [build(rule.where, self._named(), self._engine) for rule in self._mapping.exclude]
        for rule, value in zip(self._mapping.exclude, rules, strict=True):
            if not value.type().is_boolean():
                raise Misconfigured(f"exclude: {rule.where!r} is no condition", hint="compare something, as in a = 'Y'")
        numbered = [(rule.fill_null(False), ibis.literal(number)) for number, rule in enumerate(rules, 1)]
        return ibis.cases(*numbered, else_=ibis.literal(0)).cast("int16") if rules else ibis.literal(0).cast("int16")

    def _join_codes(self) -> frozenset[str]:
        """Look long code lists up in a table; the columns that are."""
        joined = []
        for name, mapped, column in self._mapped:
            if isinstance(column, Category) and len(self._local(name, mapped, column)) > MOST_CASES:
                place = self._places[name]
                codes = ibis.table({"column_": "string", "local_": "string", "position_": "int16"}, name=CODES)
                own = codes.filter(codes["column_"] == name).select(
                    **{f"local_{place}": codes["local_"], f"position_{place}": codes["position_"]}
                )
                self._rows = self._rows.left_join(
                    own, self._rows[f"text_{place}"].fill_null("") == own[f"local_{place}"]
                )
                joined.append(name)
        return frozenset(joined)

    def _local(self, name: str, mapped: ColumnMapping, column: Category) -> dict[str, int]:
        """Local code → position, as this source writes its codes."""
        lookup = _lookup(column, mapped)
        if not self._kinds[name].is_boolean():
            return lookup
        known = [(truth_in(local), at) for local, at in lookup.items()]
        return {str(truth).lower(): at for truth, at in known if truth is not None}

    # What is read from them

    def _read(self) -> dict[str, Any]:
        parts: dict[str, Any] = {}
        unit = self._contract.unit_column
        if unit is not None or "key" in self._rows.columns:
            identity = self._text(unit) if unit is not None else self._rows["key"]
            parts["hash"] = self._hashed(UNIT, identity)
        for name, mapped, column in self._mapped:
            if isinstance(column, Date):
                parts[f"read_{self._places[name]}"] = self._day(name, mapped).delta(_EPOCH, unit="day")
            elif isinstance(column, Number):
                parts[f"read_{self._places[name]}"] = self._whole(name, column)
            elif isinstance(column, Category) and name not in self._joined:
                lookup = [
                    (local, ibis.literal(at).cast("int16")) for local, at in self._local(name, mapped, column).items()
                ]
                position = self._text(name).fill_null("").cases(*lookup, else_=ibis.null("int16"))
                parts[f"position_{self._places[name]}"] = position
            elif isinstance(column, Identifier) and column.scheme is not None and self._is_linked(column):
                parts[f"read_{self._places[name]}"] = SCHEMES[column.scheme](self._text(name))
        return parts

    def _hashed(self, purpose: str, text: Any) -> Any:
        # SHA-256 under a secret prefix; what is kept of it is cut to half its length, so that it cannot be extended.
        return self._engine.digest(self._engine.secret(purpose, self._secrets[purpose]) + text)

    def _day(self, name: str, mapped: ColumnMapping) -> Any:
        local, zone, time = self._text(name), mapped.time_zone, f"time_{self._places[name]}"
        if time in self._rows.columns:
            value = self._rows[time]
            value = ibis.cases((local.notnull(), value), else_=ibis.null(value.type()))
            if not value.type().is_timestamp():
                return value
            return (value if zone is None else self._engine.civil_time(value.cast("timestamp('UTC')"), zone)).date()
        if mapped.formats:
            read = self._engine.time_of(local, mapped.formats)
            return (read if zone is None else self._engine.civil_time(read.cast("timestamp('UTC')"), zone)).date()
        if zone is None:
            return iso_day(local)
        instant = ibis.cases((local.re_search(ISO_INSTANT), local), else_=ibis.null("string"))
        civil = self._engine.civil_time(self._engine.instant_of(instant), zone).date()
        return ibis.cases((local.re_search(ISO_MONTH), iso_day(local)), else_=civil)

    def _whole(self, name: str, column: Number) -> Any:
        number = self._engine.number_of(self._text(name))
        ratio = column.resolution.denominator / column.resolution.numerator
        finite = number.between(-_LARGEST, _LARGEST)
        # The engine's own function: ibis makes an integer of it, which fails beyond 64 bits.
        rounded = function("round", ("float64",), "float64")(number * ratio)
        return ibis.cases((finite, rounded), else_=ibis.null("float64"))

    # Columns of the contract

    def _text(self, name: str) -> Any:
        return self._rows[f"text_{self._places[name]}"]

    def _found(self, name: str, kind: str = "read") -> Any:
        return self._rows[f"{kind}_{self._places[name]}"]

    def _category(self, column: Category, mapped: ColumnMapping | None) -> dict[str, Any]:
        unknown = ibis.literal(column.positions[UNKNOWN]).cast("int16")
        if mapped is None:
            return {column.name: unknown}
        local, position = self._text(column.name), self._found(column.name, "position")
        value = {column.name: position.fill_null(unknown).cast("int16")}
        return self._judged(column.name, value, mended=local.notnull() & position.isnull())

    def _date(self, column: Date, mapped: ColumnMapping | None) -> dict[str, Any]:
        if mapped is None:
            return {column.name: ibis.null("int32"), column.name + MONTH_SUFFIX: ibis.null("int32")}
        number = self._found(column.name)
        within = number.between(column.low, column.high)
        known = ibis.cases((within, _EPOCH + number.cast("int32").as_interval("D")), else_=ibis.null("date")).cast(
            "date"
        )
        month = (known.year().cast("int32") * 12 + known.month().cast("int32") - 1).cast("int32")
        first = (number - known.day().cast("int32") + 1) if column.grain == "month" else number
        value = ibis.cases((within, first.cast("int32")), else_=ibis.null("int32"))
        mended = self._text(column.name).notnull() & ~within.fill_null(False)
        return self._judged(column.name, {column.name: value, column.name + MONTH_SUFFIX: month}, mended=mended)

    def _number(self, column: Number, mapped: ColumnMapping | None) -> dict[str, Any]:
        if mapped is None:
            return {column.name: ibis.null("int64")}
        whole = self._found(column.name)
        clamped = ibis.greatest(float(column.low), ibis.least(float(column.high), whole))
        # Greatest and least leave out what is missing.
        value = ibis.cases((whole.notnull(), clamped.cast("int64")), else_=ibis.null("int64"))
        within = whole.between(column.low, column.high).fill_null(False)
        return self._judged(column.name, {column.name: value}, mended=self._text(column.name).notnull() & ~within)

    def _is_linked(self, column: Identifier) -> bool:
        return column.use == "linkage" and column.scheme is not None and self._keys.linkage is not None

    def _linkage(self, column: Identifier, mapped: ColumnMapping | None) -> dict[str, Any]:
        if mapped is None or self._keys.linkage is None:
            return {column.name: ibis.null("string")}
        local, alike = self._text(column.name), self._found(column.name)
        hashed = self._hashed(column.name, alike)
        return {
            column.name: part_of(hashed, 0, 32),
            column.name + MISSING_SUFFIX: local.isnull(),
            column.name + MENDED_SUFFIX: local.notnull() & alike.isnull(),
        }

    def _judged(self, name: str, values: dict[str, Any], *, mended: Any) -> dict[str, Any]:
        local = self._text(name)
        told = ibis.cases((mended, part_of(local, 0, MOST_LOCAL)), else_=ibis.null("string"))
        return values | {name + MISSING_SUFFIX: local.isnull(), name + MENDED_SUFFIX: mended, name + LOCAL_SUFFIX: told}

    def _unit(self) -> dict[str, Any]:
        if "hash" not in self._rows.columns:
            return {UNIT: ibis.null("int64"), UNIT_REST: ibis.null("int64")}
        hashed = self._rows["hash"]
        first, rest = (self._engine.whole(part_of(hashed, at * HEX_DIGITS, HEX_DIGITS)) for at in (0, 1))
        return {UNIT: first, UNIT_REST: rest}


def part_of(text: Any, start: int, length: int) -> Any:
    """So many characters of a text, from the one at `start`, counted from 0."""
    return function("substring", ("string", "int32", "int32"), "string")(text, start + 1, length)


def _lookup(column: Category, mapped: ColumnMapping) -> dict[str, int]:
    lookup = {code.label: column.positions[code.code] for code in column.codes}
    lookup |= column.positions
    return lookup | {local: column.positions[code] for local, code in mapped.read_codes(column).items()}
