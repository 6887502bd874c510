"""What can and cannot be concluded from a trend, in plain English."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from cordon.workbench.trend.found import FALSE_ALARM, GroupTrend, Point, Step, Trend
from cordon.workbench.trend.model import Guard
from cordon.workbench.trend.periods import number_of
from cordon.workbench.trend.season import YEARS_TO_ADJUST
from cordon.workbench.trend.series import EVERYTHING, spans
from cordon.workbench.trend.words import moved, number, percent

MOSTLY_NOISE = 0.5

FEW_YEARS = 4
"""Below that, steps, drift and season can stand for one another."""


def readings(trend: Trend) -> tuple[str, ...]:
    """One sentence or a few on each group, in the order of the answer."""
    return tuple(f"{_named(group.name, trend)}{_reading(group, trend)}" for group in trend.groups)


def _named(name: str, trend: Trend) -> str:
    return "" if not trend.by and name == EVERYTHING else f"{name}: "


def _reading(group: GroupTrend, trend: Trend) -> str:
    if group.note:
        return f"nothing can be said: {group.note}"
    said = [*_year(group), *(_stepped(step, trend) for step in group.steps), *_drifted(group), *_uneven(group)]
    if not said:
        said = ["no change that noise and chance would not explain"]
        said += [*_recorded(group), *_unseen(group, trend)]
    if group.noise_share > MOSTLY_NOISE:
        said.append(f"{percent(group.noise_share)} of what it varies by is noise that was added")
    return "; ".join(said)


def _year(group: GroupTrend) -> Iterator[str]:
    year = group.year_before
    if year is not None and year.tested.stands_out:
        yield f"{moved(year.tested.amount)} against the year before ({_over(year.periods)})"


def _recorded(group: GroupTrend) -> Iterator[str]:
    """A difference that is recorded, and not noise, but no more than such a series varies by."""
    year = group.year_before
    if year is None or year.tested.stands_out or year.recorded_low <= 0 <= year.recorded_high:
        return
    share, more = year.tested.amount.share, "more" if year.recorded_low > 0 else "fewer or less"
    if math.isfinite(share):
        yield (
            f"what is recorded is {percent(share)} {more} than the year before ({_over(year.periods)}), "
            "no more than such a series varies by anyway"
        )


def _over(periods: Sequence[str]) -> str:
    return periods[0] if len(periods) == 1 else f"{periods[0]} to {periods[-1]}"


def _stepped(step: Step, trend: Trend) -> str:
    when = f"in {step.at}" if step.first == step.last else f"in {step.at} (or from {step.first} to {step.last})"
    return f"{moved(step.amount)} at once {when}, by {number(abs(step.amount.size))} a {trend.grain}"


def _drifted(group: GroupTrend) -> Iterator[str]:
    drift, beside = group.drift, group.drift_beside
    if drift is None or not drift.stands_out:
        return
    if beside is None:
        sudden = "" if group.is_uneven else "; no sudden change stands out of that"
        yield f"{moved(drift.amount)} a year on average over the whole time{sudden}"
    elif beside.low > 0 or beside.high < 0:
        yield f"beside that it {moved(beside)} a year on average"


def _uneven(group: GroupTrend) -> Iterator[str]:
    """Something has changed beyond chance, and no step describes it: neither is kept silent."""
    if group.is_uneven:
        yield (
            "varies by more than drift, season, noise and chance explain, and not as a jump that could be dated: "
            "an odd month, another season or a change of another kind"
        )


def _unseen(group: GroupTrend, trend: Trend) -> Iterator[str]:
    if math.isfinite(group.least_step):
        level = sum(point.estimate for point in group.points) / len(group.points)
        share = f" ({percent(group.least_step / level)})" if level > group.least_step / 10 else ""
        size = f"{number(group.least_step)} a {trend.grain}{share}"
        dated = "; one of less than twice that may get no date" if group.guard is Guard.WAVE else ""
        yield f"a lasting jump of less than about {size} would hardly be seen{dated}"


def cautions(trend: Trend) -> tuple[str, ...]:
    """What must be known to read any of it."""
    return (*_places(trend), *_season(trend), *_guarantees(trend))


def _places(trend: Trend) -> Iterator[str]:
    missing: dict[tuple[str, ...], list[int]] = {}
    for point in _first_of_each(trend):
        if point.missing:
            missing.setdefault(point.missing, []).append(number_of(point.period))
    for forces, numbers in missing.items():
        yield (
            f"{spans(numbers, trend.grain)}: not wholly covered by {_listed(forces)}, of those that answered; "
            "shown, and compared with nothing, since it would look like a fall"
        )
    if trend.undeclared:
        yield f"which months {_listed(trend.undeclared)} cover is not known: a fall may be theirs"


def _first_of_each(trend: Trend) -> Iterator[Point]:
    seen: set[tuple[str, tuple[str, ...]]] = set()
    for group in trend.groups:
        for point in group.points:
            if (point.period, point.missing) not in seen:
                seen.add((point.period, point.missing))
                yield point


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _season(trend: Trend) -> Iterator[str]:
    guards = {group.guard for group in trend.groups if not group.note}
    if not trend.season:
        yield "no yearly pattern was guarded against, as you asked: what every year brings may be called a change here"
    elif Guard.WAVE in guards:
        yield (
            "with less than two whole years, only a smooth yearly wave is kept apart from changes: "
            "what comes in a month of every year, such as a holiday's, may be taken for one; "
            "--no-season sees smaller changes, if you know that nothing here comes back every year"
        )
    if any(
        group.guard is Guard.MONTHS and group.steps and len(group.points) < FEW_YEARS * trend.grain.a_year
        for group in trend.groups
    ):
        yield (
            "over so few years, a jump can also be a drift and a season that happen to cancel a jump the other way: "
            "what is said takes the least drift and season that explains the figures"
        )
    adjusted = [group.is_adjusted for group in trend.groups]
    if any(adjusted):
        yield "adjusted values are without what each month brings every year; their intervals cover the noise"
    elif trend.groups:
        yield f"not seasonally adjusted: that takes {YEARS_TO_ADJUST} whole years"


def _supposed_season(trend: Trend) -> str:
    """What the guarantee supposes of the season; empty where it holds for any."""
    guards = {group.guard for group in trend.groups if not group.note}
    if Guard.NONE in guards:
        return " and nothing comes back every year"
    return " but along one smooth wave a year" if Guard.WAVE in guards else ""


def _guarantees(trend: Trend) -> Iterator[str]:
    if trend.tests:
        chance = f"{100 * FALSE_ALARM:.0f} %"
        supposed = _supposed_season(trend)
        yield (
            f"where nothing has changed{supposed}, the chance of any finding here is at most {chance}: "
            f"{trend.tests} {'test' if trend.tests == 1 else 'tests'}, adjusted by Holm's method"
        )
        yield (
            "intervals of changes are 95 % for all groups together, for each question by itself, and cover noise, "
            f"chance and the series' own variation, supposing that one {trend.grain}'s does not hang on that of the "
            "one before"
        )
        yield "a change is one of what was recorded: how it is recorded may have changed, and not what happened"
