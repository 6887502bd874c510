"""Values as a picture writes them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from cordon.workbench.drawing import Mark

MOST_DIGITS = 6
CAPS = "Lines with caps are 95 % intervals."
ENDLESS = "Arrows lead to ends without bound."


def value_words(mark: Mark, most: int = MOST_DIGITS) -> str:
    """The estimate, with `?` where it is too noisy to read; why there is none.

    Args:
        most: decimals.
    """
    if mark.is_absent:
        return f"? ({mark.note})" if mark.noisy and mark.note else mark.note or "no value"
    return number(mark.estimate, min(most, digits_of(mark))) + (" ?" if mark.noisy else "")


def interval_words(mark: Mark, most: int = MOST_DIGITS) -> str:
    """The interval; empty where there is no value."""
    if mark.is_absent:
        return ""
    low, high = (number(end, min(most, digits_of(mark))) for end in (mark.low, mark.high))
    if math.isinf(mark.low) and math.isinf(mark.high):
        return "any value"
    if math.isinf(mark.low):
        return f"up to {high}"
    return f"from {low}" if math.isinf(mark.high) else f"{low} to {high}"


def full_words(mark: Mark, most: int = MOST_DIGITS) -> str:
    """The estimate and, in brackets, its interval."""
    interval = interval_words(mark, most)
    return f"{value_words(mark, most)} ({interval})" if interval else value_words(mark, most)


def digits_of(mark: Mark) -> int:
    """Decimals that tell an interval's ends apart to about a tenth of its width, as in the table."""
    width = mark.high - mark.low
    if 0 < width < math.inf:
        return max(0, min(MOST_DIGITS, 1 - math.floor(math.log10(width))))
    if math.isnan(mark.estimate) or mark.estimate % 1 == 0:
        return 0
    return max(0, 2 - math.floor(math.log10(abs(mark.estimate))))


def number(value: float, digits: int) -> str:
    """With separated thousands, and no minus before a zero."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞" if value < 0 else ""
    text = f"{value:,.{digits}f}"
    return text.removeprefix("-") if not any(figure in "123456789" for figure in text) else text


def tick(value: float, _: object = None) -> str:
    """A place of a scale."""
    return f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.0f}"


def reasons(marks: Iterable[Mark]) -> str:
    """Why marks are absent, each reason once."""
    return "; ".join(dict.fromkeys(value_words(mark) for mark in marks if mark.is_absent))


def reading(marks: Iterable[Mark], intervals: Iterable[str], noisy: str, absent: str) -> tuple[str, ...]:
    """How to read a picture, in sentences: what is in it and no more.

    Args:
        intervals: said of every picture.
        noisy: said where a mark is too noisy to read.
        absent: said where one has no value.
    """
    marks = tuple(marks)
    endless = any(math.isinf(end) for mark in marks if not mark.is_absent for end in (mark.low, mark.high))
    return (
        *intervals,
        *((ENDLESS,) if endless else ()),
        *((noisy,) if any(mark.noisy and not mark.is_absent for mark in marks) else ()),
        *((absent,) if any(mark.is_absent for mark in marks) else ()),
    )
