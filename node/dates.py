"""Formats of dates, as a mapping writes them, and how an engine without strptime reads them.

DuckDB's strptime is the measure: what it takes and what it makes of it, also of one digit where two are usual, of a
year in two digits, and of month names in any case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, NamedTuple

import ibis

from cordon.errors import Misconfigured

MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip

# What a group has taken it never gives back, as strptime reads from left to right.
_DIGITS = "((?>[0-9]{{1,{0}}}))".format
_SHORT = "(?i:({}))".format("|".join(month[:3] for month in MONTHS))
_LONG = "(?i:({}))".format("|".join(MONTHS))

DIRECTIVES = {
    "%Y": _DIGITS(4), "%y": _DIGITS(2), "%m": _DIGITS(2), "%d": _DIGITS(2), "%b": _SHORT, "%B": _LONG,
    "%H": _DIGITS(2), "%I": _DIGITS(2), "%M": _DIGITS(2), "%S": _DIGITS(2), "%p": "([AaPp][Mm])", "%f": _DIGITS(6),
    "%z": "([+-][0-9]{2}(?::?[0-9]{2})?)",
}  # fmt: skip
"""What may stand in a date format, by strptime's letters, and what each takes of a text, as a regular expression."""

FIRST_OF_1900S = 69
"""Years in two digits from here on are of the 1900s, those before of the 2000s: POSIX, strptime."""

_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?"
_OFFSET = "(Z|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?)"
_YEAR = "[1-9][0-9]{3}"

ISO_INSTANT = f"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}([T ]{_CLOCK}{_OFFSET}?)?$"
"""ISO 8601, of which engines take more and less, each in its own way."""

ISO_MONTH = f"^{_YEAR}-[0-9]{{2}}$"
ISO_DAY = f"^{_YEAR}-[0-9]{{2}}-[0-9]{{2}}$"
_ISO_TEXT = f"^{_YEAR}-[0-9]{{2}}(-[0-9]{{2}}([T ]{_CLOCK}( ?{_OFFSET})?)?)?$"
"""Behind the day stands nothing but a time that there is: what is cut off unread might be anything."""


def iso_day(text: Any) -> Any:
    """The day of an ISO 8601 text, of a month its first; null where the text is none."""
    day = ibis.cases((text.length() == len("2025-06"), text + ibis.literal("-01")), else_=text.substr(0, 10))
    return ibis.cases((text.re_search(_ISO_TEXT), day), else_=ibis.null("string")).try_cast("date")


def day_in(text: str, formats: Iterable[str]) -> date | None:
    """The day that a text of a mapping stands for: in ISO 8601, or in the first of the formats that fits."""
    if re.fullmatch(_ISO_TEXT, text):
        formats = ["%Y-%m-%d"]
        text = (text + "-01")[:10]
    for form in formats:
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007 - a day, whatever the zone
        except ValueError:
            continue
    return None


def check_format(form: str) -> None:
    """Check that a date can be read in a format.

    Raises:
        Misconfigured: it is empty, or has a letter that is not known.
    """
    letters = set(re.findall(r"%.?", form))
    if not letters or not letters <= DIRECTIVES.keys():
        raise Misconfigured(
            f"the date format {form!r} has {'a letter that is not known' if letters else 'no letter of a date'}",
            hint="known: " + " ".join(DIRECTIVES),
        )


class _Parts(NamedTuple):
    text: Any
    pattern: str
    order: tuple[str, ...]

    def part(self, directive: str) -> Any:
        """The text that a directive takes; None where the format does not have it."""
        if directive not in self.order:
            return None
        return self.text.re_extract(self.pattern, self.order.index(directive) + 1)


def iso_of(text: Any, form: str) -> Any:
    """An ISO 8601 text of the time that a text holds in a format; null where the format does not fit.

    Fields out of range, such as a month 13, stay in it: whoever casts it finds them.
    """
    pattern, order = pattern_of(form)
    parts = _Parts(text, pattern, order)
    day = _padded(_year(parts), 4) + "-" + _padded(_month(parts), 2) + "-" + _padded(parts.part("%d"), 2, "01")
    fraction = parts.part("%f")
    second = _padded(parts.part("%S"), 2, "00") + "." + ("0" if fraction is None else fraction)
    clock = _hour(parts) + ":" + _padded(parts.part("%M"), 2, "00") + ":" + second
    offset = parts.part("%z")
    whole = ibis.literal("") + day + " " + clock + ("" if offset is None else offset)
    return ibis.cases((text.re_search(pattern), whole), else_=ibis.null("string"))


def pattern_of(form: str) -> tuple[str, tuple[str, ...]]:
    """A format as a regular expression with a group for each directive, and the directives in their order."""
    parts = [part for part in re.split(r"(%[A-Za-z]|\s+)", form) if part]
    pattern = "".join(
        DIRECTIVES[part] if part in DIRECTIVES else "[ ]+" if part.isspace() else _plain(part) for part in parts
    )
    return f"^[ ]*{pattern}[ ]*$", tuple(part for part in parts if part in DIRECTIVES)


def _plain(text: str) -> str:
    return "".join(letter if letter.isalnum() else "\\" + letter for letter in text)


def _padded(part: Any, digits: int, otherwise: str = "") -> Any:
    return ibis.literal(otherwise) if part is None else (ibis.literal("0" * digits) + part).right(digits)


def _year(parts: _Parts) -> Any:
    four, two = parts.part("%Y"), parts.part("%y")
    if four is not None or two is None:
        return ibis.literal("1900") if four is None else four
    later = two.try_cast("int32") < FIRST_OF_1900S
    return ibis.cases((later, ibis.literal("20")), else_=ibis.literal("19")) + _padded(two, 2)


def _month(parts: _Parts) -> Any:
    number = parts.part("%m")
    if number is not None:
        return number
    for directive, length in (("%b", 3), ("%B", None)):
        name = parts.part(directive)
        if name is not None:
            known = [(month[:length], f"{at:02}") for at, month in enumerate(MONTHS, 1)]
            return name.lower().cases(*known, else_=ibis.literal("00"))
    return ibis.literal("01")


def _hour(parts: _Parts) -> Any:
    whole, half, noon = parts.part("%H"), parts.part("%I"), parts.part("%p")
    if half is None or whole is not None:
        return _padded(whole, 2, "00")
    hour = half.try_cast("int32")
    told = hour if noon is None else hour % 12 + ibis.cases((noon.lower() == "pm", 12), else_=0)
    # Beyond twelve there is no hour, which 99 is none of either.
    known = ibis.cases((hour.between(1, 12), told), else_=99)
    return _padded(known.cast("string"), 2)
