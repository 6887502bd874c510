"""How facts are spelt, as DuckDB expressions over the table of facts."""

from __future__ import annotations

from collections.abc import Sequence

CHECK_LETTERS = "ZABCDEFGHJKLMNPQRTUVWXY"
"""The check letter of a PNC id is the one at the place that its year's two digits and its serial, read as one number,
leave when divided by 23."""

FIRST_PNC_YEAR = 1996
_TAGS = "ABCDEFGHKLMNOPRSVWY"
_SECOND_TAGS = "ABCDEFGHKLMNOPRSTUVWXY"
_LETTERS = "ABCDEFGHJKLMNOPRSTUVWXYZ"
"""Registrations have neither I nor Q among their last three letters."""

_NO_MOBILE = ("withheld", "999", "0117 496 0123", "101")

MACROS = f"""
CREATE MACRO pnc_year(n) AS {FIRST_PNC_YEAR} + n // 10000000;
CREATE MACRO pnc_serial(n) AS n % 10000000;
CREATE MACRO pnc_letter(n, wrong) AS
    substr('{CHECK_LETTERS}', 1 + (((pnc_year(n) % 100) * 10000000 + pnc_serial(n) + wrong) % 23)::INTEGER, 1);
CREATE MACRO pnc_long(n, wrong) AS pnc_year(n) || '/' || lpad(pnc_serial(n)::VARCHAR, 7, '0') || pnc_letter(n, wrong);
CREATE MACRO pnc_bare(n, wrong) AS replace(pnc_long(n, wrong), '/', '');
CREATE MACRO pnc_short(n, wrong) AS substr(pnc_year(n)::VARCHAR, 3) || '/' || pnc_serial(n) || pnc_letter(n, wrong);
CREATE MACRO phone_parts(n, a, b, c) AS a || substr(n::VARCHAR, 1, 4) || b || substr(n::VARCHAR, 5, 3) || c
    || substr(n::VARCHAR, 8);
CREATE MACRO phone_text(n, mess) AS CASE mess % 6
    WHEN 0 THEN '0' || n
    WHEN 1 THEN phone_parts(n, '0', ' ', '')
    WHEN 2 THEN '+44' || n
    WHEN 3 THEN '0044' || n
    WHEN 4 THEN phone_parts(n, '+44 (0)', ' ', ' ')
    ELSE phone_parts(n, '0', '-', '-') END;
CREATE MACRO letter(n) AS substr('{_LETTERS}', 1 + (n % 24)::INTEGER, 1);
CREATE MACRO vrm_area(n) AS substr('{_TAGS}', 1 + (n % 19)::INTEGER, 1)
    || substr('{_SECOND_TAGS}', 1 + (n // 19 % 22)::INTEGER, 1);
CREATE MACRO vrm_age(n) AS lpad((2 + n // 418 % 48 % 24 + CASE WHEN n // 418 % 48 >= 24 THEN 49 ELSE 0 END)::VARCHAR,
    2, '0');
CREATE MACRO vrm_end(n) AS letter(n // 20064) || letter(n // 481536) || letter(n // 11556864);
CREATE MACRO vrm_right(n, space) AS vrm_area(n) || vrm_age(n) || space || vrm_end(n);
CREATE MACRO vrm_wrong(n) AS replace(vrm_area(n), 'O', '0') || replace(vrm_age(n), '0', 'O') || ' '
    || replace(vrm_end(n), 'O', '0');
CREATE MACRO vrm_text(n, mess) AS CASE mess % 5
    WHEN 0 THEN vrm_right(n, '')
    WHEN 1 THEN lower(vrm_right(n, ''))
    WHEN 2 THEN vrm_wrong(n)
    WHEN 3 THEN vrm_area(n) || ' ' || vrm_right(n, ' ')[3:]
    ELSE vrm_right(n, ' ') END;
"""

PHONE = (
    "CASE WHEN person IS NOT NULL AND no_mobile THEN "
    f"{list(_NO_MOBILE)}[1 + mess % {len(_NO_MOBILE)}] ELSE phone_text(phone, mess // 4) END"
)
VEHICLE = "vrm_text(vehicle, mess // 24)"


def pick(fact: str, texts: Sequence[str | None]) -> str:
    """The text at the place that a fact says; None is missing."""
    listed = ", ".join("NULL" if text is None else f"'{text}'" for text in texts)
    return f"([{listed}])[{fact} + 1]"


def pick_any(fact: str, texts: Sequence[Sequence[str]]) -> str:
    """One of several texts at the place that a fact says, all of which mean the same."""
    widest = max(len(some) for some in texts)
    even = [[some[at % len(some)] for at in range(widest)] for some in texts]
    return f"({even})[{fact} + 1][1 + mess % {widest}]"


def or_else(expression: str, text: str) -> str:
    """What a records system writes where nothing is known."""
    return f"coalesce({expression}, '{text}')"


def dated(form: str, missing: str = "") -> str:
    """The day in a form of strftime's letters, upper case."""
    return f"coalesce(upper(strftime(DATE '1970-01-01' + day::INTEGER, '{form}')), '{missing}')"


def named(prefix: str, digits: int = 10) -> str:
    """The force's own number of a person, or nothing."""
    return f"CASE WHEN person IS NOT NULL THEN '{prefix}' || lpad(ref::VARCHAR, {digits}, '0') END"


def moment(second: str) -> str:
    """The time stamp at a second of the day."""
    return f"make_timestamp(1000000 * (86400 * day + {second}))"
