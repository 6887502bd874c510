"""When a watch is due: once in each day, week, month or quarter of the calendar, in UTC. Pure; time is an argument."""

from __future__ import annotations

from datetime import date, timedelta
from enum import StrEnum

from cordon.analyst.times import utc


class Every(StrEnum):
    """How often a watch asks: at most once in each."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"

    @property
    def most_a_year(self) -> int:
        """Most releases that can fall in one calendar year."""
        # 54 weeks touch a leap year that begins on a Sunday.
        return {Every.DAY: 366, Every.WEEK: 54, Every.MONTH: 12, Every.QUARTER: 4}[self]


def slot_of(every: Every, now: int) -> date:
    """The first day of the slot that a time falls in; weeks begin on Monday.

    Args:
        now: seconds since 1970-01-01 UTC.
    """
    return _first(every, utc(now).date())


def next_slot(every: Every, slot: date) -> date:
    """The first day of the slot after one."""
    # 40 days and 100 days from a first day lie in the next month and quarter, whatever their lengths.
    ahead = {Every.DAY: 1, Every.WEEK: 7, Every.MONTH: 40, Every.QUARTER: 100}[every]
    return _first(every, slot + timedelta(days=ahead))


def year_before(every: Every, slot: date) -> date:
    """The slot of the year before that one is compared with; 52 weeks before where slots are weeks."""
    if every is Every.WEEK:
        return slot - timedelta(weeks=52)
    leap_day = (slot.month, slot.day) == (2, 29)
    return slot.replace(year=slot.year - 1, day=28 if leap_day else slot.day)


def named(every: Every, slot: date) -> str:
    """A slot as people say it."""
    if every is Every.WEEK:
        year, week, _ = slot.isocalendar()
        return f"{year}-W{week:02d}"
    if every is Every.QUARTER:
        return f"{slot.year}-Q{(slot.month + 2) // 3}"
    return slot.isoformat() if every is Every.DAY else f"{slot:%Y-%m}"


def _first(every: Every, day: date) -> date:
    if every is Every.DAY:
        return day
    if every is Every.WEEK:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1, month=day.month if every is Every.MONTH else day.month - (day.month - 1) % 3)
