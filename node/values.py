"""What values of an expression are taken as, and how two are compared: in two-valued logic, over every kind.

A comparison is true or false and never missing: a missing value is equal to nothing, neither less nor more. So an
exclusion says of every record whether it holds. docs/data.md, "Expressions".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from operator import or_
from typing import Any

import ibis
from ibis.common.annotations import ValidationError
from ibis.common.exceptions import IbisError
from ibis.expr import operations

from cordon.errors import Misconfigured
from node.dates import ISO_DAY, ISO_INSTANT, check_format, iso_day
from node.engine import BLANKS, Engine, floor_of, function

LARGEST_WHOLE = 2**63 - 1
"""Whole numbers have 64 bits."""

REFUSALS = (IbisError, ValidationError)
"""What ibis raises where it will not take a value."""

TRUE_WORDS = ("t", "true", "y", "yes", "1")
FALSE_WORDS = ("f", "false", "n", "no", "0")
"""Texts that stand for a truth value, in any case of letters."""

_EXACT_IN_FLOAT = 2**53
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_DIGITS = "^[+-]?[0-9]{1,19}$"
_WIDE = "decimal(19, 0)"
"""Holds 64 bits; sums and products of two are held by the engines' widest decimal."""


def number_in(text: str) -> int | float | None:
    """The number that a text of a mapping stands for, whole ones exactly; None where it is none of 64 bits."""
    if not _NUMBER.fullmatch(text):
        return None
    try:
        whole = int(text)
    except ValueError:
        number = float(text)
        return number if math.isfinite(number) else None
    return whole if -LARGEST_WHOLE - 1 <= whole <= LARGEST_WHOLE else None


def truth_in(text: str) -> bool | None:
    """The truth value that a text of a mapping stands for; None where it is none."""
    word = text.lower()
    return word in TRUE_WORDS if word in TRUE_WORDS + FALSE_WORDS else None


def turned(condition: Any) -> Any:
    """The negation of a condition."""
    # Not `~`: ibis prints NOT without parentheses, and what stands behind it would be part of it.
    return ibis.cases((condition, False), else_=True)


def chained(join: Callable[[Any, Any], Any], parts: Sequence[Any]) -> Any:
    """Many parts as one, in the order in which they stand, halves within halves: a chain of 1,000 is ten deep."""
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    return join(chained(join, parts[:half]), chained(join, parts[half:]))


def literal_in(value: Any) -> Any:
    """What a literal holds; None for anything else, and for NULL."""
    return value.op().value if isinstance(value.op(), operations.Literal) else None


def size_of(value: Any) -> tuple[int, int]:
    """Parts of a value as it is written, those that stand in it twice counted twice; and how deep they lie."""

    def add_up(_node: Any, sizes: Any, **_: Any) -> tuple[int, int]:
        inner = [sizes[part] for part in _node.__children__]
        return 1 + sum(parts for parts, _ in inner), 1 + max((depth for _, depth in inner), default=0)

    op = value.op()
    found: tuple[int, int] = op.map(add_up)[op]
    return found


def is_null(value: Any) -> bool:
    """Whether a value is the literal NULL."""
    return isinstance(value.op(), operations.Literal) and value.op().value is None


def _is_short(value: Any) -> bool:
    held = literal_in(value)
    return held is not None and abs(held) < _EXACT_IN_FLOAT


class Values:
    """Kinds of values in one expression, for one engine."""

    def __init__(self, written: str, engine: Engine) -> None:
        self._written = written
        self._engine = engine

    # What a value is taken as

    def text(self, value: Any) -> Any:
        """As a text."""
        return self._engine.text_of(value)

    def present(self, value: Any) -> Any:
        """As a text without blanks at both ends; missing where nothing is left."""
        if not value.type().is_string():
            return self.text(value)
        held = literal_in(value)
        if held is not None:
            return ibis.literal(held.strip(BLANKS) or None, type="string")
        # Columns are trimmed where they are named, and are no other than these.
        return value if isinstance(value.op(), operations.NullIf) else self._engine.trimmed(value)

    def known(self, value: Any) -> Any:
        """As it is; of a text what `present` makes of it."""
        return self.present(value) if value.type().is_string() and not is_null(value) else value

    def filled(self, value: Any) -> Any:
        """As it is; missing where it is an empty text."""
        if not value.type().is_string() or is_null(value) or isinstance(value.op(), operations.NullIf):
            return value
        return value.nullif("")

    def number(self, value: Any) -> Any:
        """As a float; missing where it is no number."""
        if value.type().is_numeric():
            return value.cast("float64")
        if value.type().is_boolean():
            return value.cast("int32").cast("float64")
        return self._engine.number_of(self._numeral(value))

    def whole(self, value: Any) -> Any:
        """As a whole number, the one below where it has places; missing where it is no number of 64 bits."""
        if value.type().is_integer() or value.type().is_boolean():
            return value.cast("int64")
        below = floor_of(self.number(value)).try_cast("int64")
        if value.type().is_numeric():
            return below
        # A float in between would make one of two long numbers.
        text = self._numeral(value)
        return ibis.cases((text.re_search(_DIGITS), text.try_cast("int64")), else_=below)

    def truth(self, value: Any) -> Any:
        """As a truth value; missing where it is none."""
        if value.type().is_boolean():
            return value
        word = self.present(value).lower()
        known = (word.isin(TRUE_WORDS), True), (word.isin(FALSE_WORDS), False)
        return ibis.cases(*known, else_=ibis.null("boolean"))

    def condition(self, value: Any) -> Any:
        """As a condition: false where it is missing."""
        return self.truth(value).fill_null(False)

    def day(self, value: Any, form: str | None = None) -> Any:
        """As a day: of a text in ISO 8601 or in a format.

        Raises:
            Misconfigured: it is a number or truth value, or the format cannot be read.
        """
        if form is not None:
            check_format(form)
        kind = value.type()
        if kind.is_timestamp():
            return value.date()
        if kind.is_date():
            return value
        if not kind.is_string():
            raise self._wrong(f"takes a {self._kind(value)} as a date")
        return (
            iso_day(self.present(value)) if form is None else self._engine.time_of(self.present(value), [form]).date()
        )

    def alike(self, values: list[Any]) -> list[Any]:
        """Values of one kind: as they are where they are alike, as numbers where all are, else as texts."""
        kinds = [value.type() for value in values if not is_null(value)]
        if not kinds:
            return values
        if all(kind.is_integer() for kind in kinds):
            return [ibis.null("int64") if is_null(value) else value.cast("int64") for value in values]
        if all(kind.is_numeric() for kind in kinds):
            return [ibis.null("float64") if is_null(value) else self.number(value) for value in values]
        if len({kind.copy(nullable=True) for kind in kinds}) == 1:
            return [ibis.null(kinds[0]) if is_null(value) else value for value in values]
        return [self.text(value) for value in values]

    def reckoned(self, left: Any, right: Any, how: str) -> Any:
        """A sum, difference or product, by the name of its operator; of whole numbers whole, missing beyond 64 bits."""
        if left.type().is_integer() and right.type().is_integer():
            # Engines fail where 64 bits do not hold the result.
            return getattr(left.cast(_WIDE), how)(right.cast(_WIDE)).try_cast("int64")
        return getattr(self.number(left), how)(self.number(right))

    def negative(self, value: Any) -> Any:
        """A number with its sign turned."""
        return self.reckoned(ibis.literal(0, type="int64"), value, "__sub__")

    def absolute(self, value: Any) -> Any:
        """A number without its sign."""
        if not value.type().is_integer():
            return self.number(value).abs()
        return ibis.cases((value < 0, self.negative(value)), else_=value)

    def below(self, value: Any) -> Any:
        """The whole number below, of the kind that the value is of."""
        return value if value.type().is_integer() else floor_of(self.number(value))

    def rounded(self, value: Any, places: int) -> Any:
        """To so many decimals."""
        if value.type().is_integer():
            return value
        # Engines round to places each in its own way, and to whole numbers in one.
        scale = 10.0**places
        return function("round", ("float64",), "float64")(self.number(value) * scale) / scale

    # Comparisons

    def compare(self, left: Any, right: Any, how: str) -> Any:
        """Whether two values compare so, by the name of the operator; false where one is missing.

        Raises:
            Misconfigured: the two cannot be compared, or a text could never be equal to the other.
        """
        if how == "__ne__":
            return turned(self.compare(left, right, "__eq__"))
        if is_null(left) or is_null(right):
            return ibis.literal(False)
        kinds = {self._kind(left), self._kind(right)}
        if "day" in kinds:
            left, right = self._days(left, right)
        elif "truth value" in kinds:
            left, right = self._truths(left, right)
        elif "number" in kinds:
            return self._numbers(left, right, how)
        else:
            left, right = (self._worded(value) for value in (left, right))
        return getattr(left, how)(right).fill_null(False)

    def among(self, value: Any, others: Sequence[Any]) -> Any:
        """Whether a value is equal to one of others.

        Raises:
            Misconfigured: as for `compare`.
        """
        if self._kind(value) == "text" and all(isinstance(literal_in(other), str) for other in others):
            # A long list is one part of a statement.
            return self.present(value).isin([self._worded(other) for other in others]).fill_null(False)
        return chained(or_, [self.compare(value, other, "__eq__") for other in others])

    def _kind(self, value: Any) -> str:
        kind = value.type()
        if kind.is_numeric():
            return "number"
        if kind.is_boolean():
            return "truth value"
        return "day" if kind.is_date() or kind.is_timestamp() else "text"

    def _worded(self, value: Any) -> Any:
        if literal_in(value) is not None and not literal_in(value).strip(BLANKS):
            raise self._wrong(
                "compares with an empty text, and empty texts are missing", "write IS NULL or IS NOT NULL"
            )
        return self.present(value)

    def _truths(self, left: Any, right: Any) -> tuple[Any, Any]:
        if "number" in (self._kind(left), self._kind(right)):
            return self.number(left), self.number(right)
        for value in (left, right):
            held = literal_in(value)
            if isinstance(held, str) and truth_in(held.strip(BLANKS)) is None:
                raise self._wrong(f"compares a truth value with {held!r}", "write TRUE or FALSE")
        return self.truth(left), self.truth(right)

    def _numbers(self, left: Any, right: Any, how: str) -> Any:
        left, right = (self._figure(value) for value in (left, right))
        exact = getattr(self.whole(left), how)(self.whole(right)).fill_null(False)
        near = getattr(self.number(left), how)(self.number(right)).fill_null(False)
        wholes = [value for value in (left, right) if value.type().is_integer()]
        texts = [value for value in (left, right) if value.type().is_string()]
        if len(wholes) == 2:
            return exact
        # With a short literal a float is exact enough, and quicker.
        if not wholes or not texts or _is_short(wholes[0]):
            return near
        return ibis.cases((self._numeral(texts[0]).re_search(_DIGITS).fill_null(False), exact), else_=near)

    def _figure(self, value: Any) -> Any:
        held = literal_in(value)
        if not isinstance(held, str):
            return value
        number = number_in(held.strip(BLANKS))
        if number is None:
            raise self._wrong(f"compares a number with {held!r}")
        return ibis.literal(number, type="int64" if isinstance(number, int) else "float64")

    def _days(self, left: Any, right: Any) -> tuple[Any, Any]:
        for value in (left, right):
            if self._kind(value) not in {"day", "text"}:
                raise self._wrong(f"compares a day with a {self._kind(value)}")
        if isinstance(literal_in(left), str):
            return self._moments(right, literal_in(left))[::-1]
        if isinstance(literal_in(right), str):
            return self._moments(left, literal_in(right))
        if left.type().is_timestamp() and right.type().is_timestamp():
            return self._instant(left), self._instant(right)
        return self.day(left), self.day(right)

    def _moments(self, value: Any, held: str) -> tuple[Any, Any]:
        """A day or time stamp, and a literal that it is compared with: by the day, or to the moment."""
        text, stamped = held.strip(BLANKS), value.type().is_timestamp()
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            moment = None
        if moment is not None and re.search(ISO_DAY, text):
            return self.day(value), ibis.literal(moment.date())
        zoned = stamped and value.type().timezone is not None
        if (
            moment is None
            or not stamped
            or not re.search(ISO_INSTANT, text)
            or (moment.tzinfo is not None and not zoned)
        ):
            raise self._wrong(
                f"compares a {'time stamp' if stamped else 'date'} with {held!r}",
                "write the day as YYYY-MM-DD" + (", or a time stamp in ISO 8601" if stamped else ""),
            )
        plain = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        return self._instant(value), ibis.literal(plain.astimezone(UTC).replace(tzinfo=None))

    def _instant(self, value: Any) -> Any:
        return value if value.type().timezone is None else self._engine.civil_time(value, "UTC")

    def _numeral(self, value: Any) -> Any:
        return self.present(self.text(value))

    def _wrong(self, what: str, hint: str = "docs/data.md says what compares with what") -> Misconfigured:
        return Misconfigured(f"the expression {self._written!r} {what}", hint=hint)
