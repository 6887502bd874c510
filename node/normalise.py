"""Make identifiers alike in every force before they are hashed, or reject them.

Two forces that know the same person, telephone or vehicle must come to the same text, and a default or a
switchboard must come to none: it would join people who have nothing to do with each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ibis

PNC_LETTERS = "ZABCDEFGHJKLMNPQRTUVWXY"
"""Check letters of PNC identifiers, by remainder modulo 23."""

FIRST_CENTURY_YEAR = 40
"""Two-digit years from here on are of the 1900s, those before of the 2000s; the same in every force."""

FIRST_YEAR, LAST_YEAR = 1940, 2039
"""Of PNC identifiers: those that two digits can stand for, and no others in four."""

_BETWEEN = "[ \t\u00a0\u200b\ufeff().\u2013-]"
"""What people write between the parts of an identifier. Anything else that is not of it makes it none: what is no
digit in one force might be one in another, and what is cut away unread might be a second number."""

_ASCII = "^[0-9A-Za-z/]+$"
"""Looked at before letters are made capitals: other letters have capitals among A to Z."""

_ALIKE = "|".join([f"{digit}{{9}}" for digit in range(10)])
_RUNS = "012345678|123456789|234567890|987654321|876543210"
_DEFAULT_PHONE = f"({_ALIKE}|{_RUNS}|000000)$"
"""Ends of telephone numbers that are typed where there is none."""

_MOBILE = r"^7([1-57-9][0-9]{8}|624[0-9]{6})$"
_ABROAD = r"^\+[1-9][0-9]{7,14}$"
_CURRENT = r"^[A-HJ-PR-Y][A-HJ-PR-Y][0-9]{2}[A-HJ-PR-Z]{3}$"
_NORTHERN_IRELAND = "[A-Z]?(?:I[ABJLW]|[JOUX]I|[A-HJ-PR-Y]Z)"
_ISSUED = (
    _CURRENT,
    r"^[A-HJ-NPR-TV-Y][1-9][0-9]{0,2}[A-Z]{3}$",
    r"^[A-Z]{3}[1-9][0-9]{0,2}[A-HJ-NPR-TV-Y]$",
    f"^{_NORTHERN_IRELAND}[1-9][0-9]{{0,3}}$",
    f"^[1-9][0-9]{{0,3}}{_NORTHERN_IRELAND}$",
)
"""Forms of registration that are told from other words: current, prefix, suffix, and Northern Ireland's both ways.

Other dateless ones are letters and digits, as `VAN1`, `REG123` and `BMW320` are.
"""


def phone(text: Any) -> Any:
    """A telephone number in E.164, or null.

    United Kingdom numbers must be mobile: short codes, geographic, service and personal numbers are held by
    switchboards and many people. Numbers from abroad need their country code. Ten digits that are a mobile number
    are one that lost its zero to a spreadsheet.
    """
    digits = _without_separators(text.replace("(0)", ""), "/")
    plus = ibis.cases(
        (digits.startswith("+"), digits),
        (digits.startswith("00"), ibis.literal("+") + digits.substr(2)),
        (digits.startswith("44") & (digits.length() == 12), ibis.literal("+") + digits),
        (digits.startswith("0"), ibis.literal("+44") + digits.substr(1)),
        (digits.re_search(_MOBILE), ibis.literal("+44") + digits),
        else_=digits,
    )
    national = plus.substr(3)
    # Some write the trunk's zero behind the country code.
    national = ibis.cases((national.startswith("0"), national.substr(1)), else_=national)
    at_home = plus.startswith("+44")
    return ibis.cases(
        (plus.re_search(_DEFAULT_PHONE), ibis.null("string")),
        (at_home & national.re_search(_MOBILE), ibis.literal("+44") + national),
        (~at_home & plus.re_search(_ABROAD), plus),
        else_=ibis.null("string"),
    )


def pnc_id(text: Any) -> Any:
    """A PNC identifier as `YYYY/NNNNNNNL`, or null where it is none or its check letter is wrong."""
    left = _without_separators(text)
    plain = left.upper()
    year = _first(
        plain, (r"^([0-9]{4}|[0-9]{2})/[0-9]{1,7}[A-Z]$", r"^([0-9]{4})[0-9]{7}[A-Z]$", r"^([0-9]{2})[0-9]{7}[A-Z]$")
    )
    serial = _first(plain, (r"^[0-9]+/([0-9]{1,7})[A-Z]$", r"^[0-9]*([0-9]{7})[A-Z]$"))
    letter = plain.re_extract(r"([A-Z])$", 1)
    two = year.right(2)
    full = ibis.cases(
        (year.length() == 4, year),
        (two.try_cast("int64") >= FIRST_CENTURY_YEAR, ibis.literal("19") + two),
        else_=ibis.literal("20") + two,
    )
    padded = (ibis.literal("0000000") + serial).right(7)
    remainder = (two + padded).try_cast("int64") % len(PNC_LETTERS)
    right = remainder.cases(*enumerate(PNC_LETTERS), else_=ibis.null("string"))
    known = full.try_cast("int64").between(FIRST_YEAR, LAST_YEAR) & (padded != "0000000")
    whole = left.re_search(_ASCII) & year.notnull() & serial.notnull() & known & (letter == right)
    return ibis.cases((whole, full + ibis.literal("/") + padded + letter), else_=ibis.null("string"))


def vehicle(text: Any) -> Any:
    """A United Kingdom registration in capitals without blanks, or null where it has no form of `_ISSUED`.

    O and 0, and I and 1, are exchanged by position, only where the value is no registration as it stands.
    """
    left = _without_separators(text, "/")
    plain = left.upper()
    seven = plain.length() == 7
    current = _letters(plain.substr(0, 2)) + _figures(plain.substr(2, 2)) + _letters(plain.substr(4, 3))
    issued = [plain.re_search(form) for form in _ISSUED]
    as_it_stands = issued[0] | issued[1] | issued[2] | issued[3] | issued[4]
    return ibis.cases(
        (~left.re_search(_ASCII), ibis.null("string")),
        (as_it_stands, plain),
        (seven & current.re_search(_CURRENT), current),
        else_=ibis.null("string"),
    )


def _without_separators(text: Any, more: str = "") -> Any:
    return text.re_replace(_BETWEEN.replace("[", f"[{more}", 1), "")


def _first(text: Any, patterns: tuple[str, ...]) -> Any:
    """What the first pattern that fits extracts; null where none does."""
    return ibis.coalesce(*(text.re_extract(pattern, 1).nullif("") for pattern in patterns))


def _letters(text: Any) -> Any:
    return text.replace("0", "O").replace("1", "I")


def _figures(text: Any) -> Any:
    return text.replace("O", "0").replace("I", "1")


SCHEMES: dict[str, Callable[[Any], Any]] = {"phone": phone, "pnc_id": pnc_id, "vehicle": vehicle}
"""By the contract's name of the scheme: from a trimmed text to the text that is hashed, or null."""
