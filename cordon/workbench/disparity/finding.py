"""From an answer to disparities: post-processing of what was released, so that it costs no privacy."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cordon.estimate.interval import REACH_95, Ends
from cordon.workbench.answer import Answer
from cordon.workbench.disparity.adjust import LEVEL, adjusted, joint_reach
from cordon.workbench.disparity.cells import Cells, cells_of, picked
from cordon.workbench.disparity.effects import (
    Array,
    Side,
    alike_by_chance,
    deviations_from_equal,
    difference_ends,
    over,
    p_value,
    rate_ends,
    ratio,
    ratio_ends,
    with_chance,
)
from cordon.workbench.disparity.matching import check_read
from cordon.workbench.disparity.result import ALL, Comparison, Disparity, Rate, Span, Unknown, Verdict
from cordon.workbench.disparity.statement import Adjust, Per, Wanted

HARDLY = 0.1
"""Records that are at most this share of what the other group's rate would give are a matter of recording."""


def disparity_of(answer: Answer, asked: Wanted, *, adjust: Adjust = Adjust.HOLM, within: float = 0.0) -> Disparity:
    """Make an answer's comparisons.

    Args:
        within: how far residents may be off, as a share of them, in each group by itself.

    Raises:
        Refused: the answer is about something else, or holds nothing to compare.
    """
    check_read(answer, asked)
    cells = cells_of(answer, asked)
    scale = 1000.0 if asked.per is Per.POPULATION else 100.0
    return Disparity(
        answer=answer,
        asked=asked,
        adjust=adjust,
        within=within,
        rates=_rates(cells, asked, scale, within),
        comparisons=_comparisons(cells, asked, scale, within, adjust),
        unknown=_unknown(cells),
        absent=answer.absent,
    )


def _name(place: str | None) -> str:
    return ALL if place is None else place


def _rates(cells: Cells, asked: Wanted, scale: float, within: float) -> tuple[Rate, ...]:
    found = []
    ends = rate_ends(cells.known, within=within)
    for at, place in enumerate(cells.places):
        for number, group in enumerate(cells.groups):
            here = picked(cells.known, lambda array, cell=(at, number): array[cell])  # type: ignore[misc]
            off = REACH_95 * float(here.hits_off)
            rate = Span(*(scale * float(value) for value in (here.rate, ends.low[at, number], ends.high[at, number])))
            found.append(
                Rate(
                    force=_name(place),
                    group=asked.label(group),
                    records=Span(float(here.hits), float(here.hits) - off, float(here.hits) + off),
                    over=float(over(here)),
                    rate=_within_ends(rate),
                    is_reference=group == asked.reference,
                )
            )
    return tuple(found)


def _comparisons(cells: Cells, asked: Wanted, scale: float, within: float, adjust: Adjust) -> tuple[Comparison, ...]:
    """Of every group beside the reference and every place whose rates can be compared."""
    others = [group for group in cells.groups if group != asked.reference]
    sides = _side_by_side(cells, asked.reference, others)
    can_be = np.isfinite(deviations_from_equal(*sides))
    for of in sides:
        can_be &= np.isfinite(over(of))
    side, reference = (picked(of, lambda array: array[can_be]) for of in sides)
    pairs = [divmod(int(at), len(others)) for at in np.flatnonzero(can_be)]
    made = _measured(side, reference, within, adjust)
    unknown = _if_known(cells, [place for place, _ in pairs], side, reference)
    return tuple(
        _comparison(made, unknown, at, _name(cells.places[place]), asked.label(others[group]), asked.per, scale)
        for at, (place, group) in enumerate(pairs)
    )


@dataclass(frozen=True)
class _Measured:
    """Everything that is computed of all comparisons at once; arrays with one value each."""

    ratio: Array
    ratio_ends: Ends
    together: Ends
    process: Ends
    difference: Array
    difference_ends: Ends
    p: Array
    p_adjusted: Array
    process_p_adjusted: Array
    tipping: Array
    most_records: Array
    at_equal: Array
    is_seen: npt.NDArray[np.bool_]


def _measured(side: Side, reference: Side, within: float, adjust: Adjust) -> _Measured:
    p = p_value(deviations_from_equal(side, reference, within=within))
    process_p = p_value(deviations_from_equal(*alike_by_chance(side, reference), within=within))
    difference = side.rate - reference.rate
    chance = with_chance(side), with_chance(reference)
    by_census = ratio_ends(*chance)

    def of_lower(one: Array, other: Array) -> Array:
        return np.where(difference > 0, other, one)

    return _Measured(
        ratio=ratio(side, reference),
        ratio_ends=ratio_ends(side, reference, within=within),
        together=ratio_ends(side, reference, within=within, reach=joint_reach(len(p))),
        process=ratio_ends(*chance, within=within),
        difference=difference,
        difference_ends=difference_ends(side, reference, within=within),
        p=p,
        p_adjusted=adjusted(p, adjust),
        process_p_adjusted=adjusted(process_p, adjust),
        tipping=np.minimum(np.maximum(1.0, by_census.low), by_census.high),
        most_records=of_lower(side.hits + REACH_95 * side.hits_off, reference.hits + REACH_95 * reference.hits_off),
        at_equal=of_lower(reference.rate * over(side), side.rate * over(reference)),
        is_seen=of_lower(rate_ends(side).low, rate_ends(reference).low) > 0,
    )


def _comparison(made: _Measured, unknown: Ends, at: int, force: str, group: str, per: Per, scale: float) -> Comparison:
    ends, apart = made.ratio_ends, made.difference_ends
    return Comparison(
        force=force,
        group=group,
        ratio=_within_ends(Span(float(made.ratio[at]), float(ends.low[at]), float(ends.high[at]))),
        together_low=float(made.together.low[at]),
        together_high=float(made.together.high[at]),
        process_low=float(made.process.low[at]),
        process_high=float(made.process.high[at]),
        difference=Span(*(scale * float(value[at]) for value in (made.difference, apart.low, apart.high))),
        p=float(made.p[at]),
        p_adjusted=float(made.p_adjusted[at]),
        process_p_adjusted=float(made.process_p_adjusted[at]),
        verdict=_verdict(made, at, per),
        unknown_low=float(unknown.low[at]),
        unknown_high=float(unknown.high[at]),
        tipping=float(made.tipping[at]),
        is_higher=bool(made.difference[at] > 0),
        most_records=float(made.most_records[at]),
        at_equal=float(made.at_equal[at]),
        is_seen=bool(made.is_seen[at]),
    )


def _verdict(made: _Measured, at: int, per: Per) -> Verdict:
    if made.p_adjusted[at] > LEVEL:
        return Verdict.UNCLEAR
    if per is Per.POPULATION and not made.is_seen[at] and made.most_records[at] <= HARDLY * made.at_equal[at]:
        return Verdict.UNSEEN
    if not (math.isfinite(made.ratio_ends.high[at]) or made.ratio_ends.low[at] > 1):
        return Verdict.UNCLEAR
    higher = bool(made.difference[at] > 0)
    # Test and interval take chance's variance from different places; a finding needs both.
    apart = made.process.low[at] > 1 or made.process.high[at] < 1
    if made.process_p_adjusted[at] <= LEVEL and apart:
        return Verdict.HIGHER if higher else Verdict.LOWER
    return Verdict.PERHAPS_HIGHER if higher else Verdict.PERHAPS_LOWER


def _side_by_side(cells: Cells, reference: str, others: list[str]) -> tuple[Side, Side]:
    """Every group but the reference, and the reference beside each, as long arrays: places, and groups in each."""
    places = [cells.groups.index(group) for group in others]
    one = picked(cells.known, lambda array: array[:, places].reshape(-1))
    return one, picked(cells.group(reference), lambda array: np.repeat(array, len(others)))


def _if_known(cells: Cells, places: list[int], side: Side, reference: Side) -> Ends:
    """The ratio if all records of unknown group were the reference's, and if all were the group's.

    Args:
        places: of each pair of sides.
    """
    unknown = picked(cells.unknown, lambda array: np.maximum(array[places, 0], 0.0))
    if side.rest is None:
        return Ends(
            ratio(_plus(side), _plus(reference, unknown.hits)), ratio(_plus(side, unknown.hits), _plus(reference))
        )
    # A share is least if only records without the outcome are added to it, and the other most if only those with it.
    rest = _or_nothing(unknown.rest)
    return Ends(
        ratio(_plus(side, rest=rest), _plus(reference, unknown.hits)),
        ratio(_plus(side, unknown.hits), _plus(reference, rest=rest)),
    )


def _plus(side: Side, hits: Array | float = 0.0, rest: Array | float = 0.0) -> Side:
    more = np.maximum(side.hits, 0.0) + hits
    return replace(side, hits=more, rest=None if side.rest is None else np.maximum(side.rest, 0.0) + rest)


def _or_nothing(value: Array | None) -> Array:
    return np.array(0.0) if value is None else value


def _unknown(cells: Cells) -> tuple[Unknown, ...]:
    of, known = cells.unknown, cells.known
    unknown, unknown_off = _all_records(of)
    others, others_off = _all_records(known)
    share = Side(unknown, unknown_off, others, others_off)
    ends = rate_ends(share)
    return tuple(
        Unknown(
            _name(place),
            _within_ends(Span(*(100 * float(value[at]) for value in (share.rate, ends.low, ends.high)))),
        )
        for at, place in enumerate(cells.places)
    )


def _all_records(side: Side) -> tuple[Array, Array]:
    off = np.square(side.hits_off) + (0.0 if side.rest_off is None else np.square(side.rest_off))
    return (side.hits + _or_nothing(side.rest)).sum(axis=1), np.sqrt(off.sum(axis=1))


def _within_ends(span: Span) -> Span:
    """A rate is never below zero, whatever the noise has made of its estimate."""
    if math.isnan(span.estimate):
        return span
    if span.estimate < span.low and math.isinf(span.high):
        return replace(span, estimate=math.nan)
    return Span(min(max(span.estimate, span.low), span.high), span.low, span.high)
