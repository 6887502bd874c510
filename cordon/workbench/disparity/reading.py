"""What a disparity says, in plain English: what can be concluded, what cannot, and why."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from cordon.workbench.disparity.result import ALL, Comparison, Disparity, Span, Verdict
from cordon.workbench.disparity.statement import Adjust, Per, without_residents

MOST_NAMES = 8
"""Forces that a sentence names; the table has all of them."""

NOTABLE_UNKNOWN = 10.0
"""Percent of a place's records without a known group from which on the place is named."""

MOST_PLACES = 2
"""Places after the point: more would pretend that residents and records are known so well."""

CENSUS_YEAR = 2011

_WORDS = {
    Verdict.HIGHER: "higher",
    Verdict.LOWER: "lower",
    Verdict.PERHAPS_HIGHER: "higher in these records, by no more than chance may make of one year",
    Verdict.PERHAPS_LOWER: "lower in these records, by no more than chance may make of one year",
    Verdict.UNCLEAR: "cannot be told apart",
}


_WHY = (
    "None of this shows why rates differ: a difference by itself neither proves nor rules out that anybody was treated "
    "unfairly, and no difference does not show fairness."
)
_AVAILABLE = (
    "Residents are not who is there to be met by police: visitors and commuters, who is out in the street and when, "
    "ages, and where officers are sent all differ between groups."
)
_MIXED = (
    "A ratio over several forces mixes their rates: where a group lives mostly where everybody's rate is high, it is "
    "above one although every force's own may be one."
)
_WHERE_SEEN = "which forces those may be shows only with --by-force"
_MARGIN = (
    "Shares of records with an outcome can be alike under unequal treatment and differ under equal treatment, because "
    "groups differ in more than the cases in which a search is a close call (infra-marginality)."
)


def conclusions(found: Disparity) -> tuple[str, ...]:
    """What the records show, one sentence a group, or a few where there are forces."""
    uncounted = _uncounted(found)
    if not found.comparisons:
        why = uncounted or "nothing is known of its residents or of the reference group's."
        return (f"No group can be compared: {why}",)
    overall = [_sentence(each, found) for each in found.of(ALL)]
    if uncounted:
        overall.append(f"All that answered cannot be compared together: {uncounted}")
    groups = dict.fromkeys(each.group for each in found.comparisons) if found.asked.by_force else ()
    return (*overall, *(_by_force(group, found) for group in groups), _how_sure(found))


def limits(found: Disparity) -> tuple[str, ...]:
    """What cannot be concluded, and what the figures do not know."""
    said = [
        _WHY,
        "It counts records, not people: somebody with five records counts five times.",
    ]
    said += _of_residents(found) if found.asked.per is Per.POPULATION else _of_shares()
    said.append(_of_chance(found))
    said += _of_recording(found)
    said += _of_unknown(found)
    if "officer" in found.asked.by.name:
        said.append("The group is what the officer perceived; what people say of themselves may differ.")
    said += _of_forces(found)
    return tuple(said)


def about(found: Disparity) -> tuple[str, ...]:
    """What a reader must know of the answer, in lines."""
    answer = found.answer
    lines = [
        *found.asked.notes,
        f"rates are {found.unit}; ratios are to {found.reference}",
        f"test: {_test(found)}",
        _listed("not asked, without residents of their own", found.asked.left_out),
        f"asked: {answer.sql}",
        *answer.about,
    ]
    return tuple(line for line in lines if line)


def figure(value: float, span: Span) -> str:
    """A number with as many places as its interval tells apart; a dash where there is none."""
    if not math.isfinite(value):
        return "-"
    width = span.high - span.low
    places = 2 if not 0 < width < math.inf else max(0, min(MOST_PLACES, 1 - math.floor(math.log10(width))))
    return f"{value:,.{places}f}"


def ends(span: Span) -> str:
    """An interval as people read it."""
    if not math.isfinite(span.high):
        return "any value" if not span.low > 0 else f"from {figure(span.low, span)}"
    return f"{figure(span.low, span)} to {figure(span.high, span)}"


# Sentences


def _sentence(one: Comparison, found: Disparity) -> str:
    if one.verdict is Verdict.UNSEEN:
        return (
            f"{one.group}: {'higher' if one.is_higher else 'lower'}, with {_few(one, found)}; so few say more of how "
            "groups are recorded than of rates."
        )
    if one.verdict is Verdict.UNCLEAR and not math.isfinite(one.ratio.high):
        return f"{one.group}: cannot be told apart; the noise does not tell {found.reference}'s rate from nought."
    process = Span(one.ratio.estimate, one.process_low, one.process_high)
    said = (
        f"{one.group}: {_times(one)} the rate of {found.reference} "
        f"(95 %: {ends(one.ratio)} by the noise alone, {ends(process)} with chance): {_WORDS[one.verdict]}"
    )
    if one.verdict.stands_out and not one.is_seen:
        end = "upper" if one.is_higher else "lower"
        said = f"{said}; with {_few(one, found)}, the ratio has no {end} end"
    if one.verdict is Verdict.UNCLEAR:
        hides = "the noise, or by residents who are not what the census counted" if found.within else "the noise"
        return f"{said}; a difference may be there and be hidden by {hides}."
    return f"{said}{_tipping(one, found)}."


def _times(one: Comparison) -> str:
    if one.ratio.high == math.inf:
        return f"at least {figure(one.ratio.low, one.ratio)} times"
    return f"{figure(one.ratio.estimate, one.ratio)} times"


def _few(one: Comparison, found: Disparity) -> str:
    """How few records the group with the lower rate has, against what the other's rate would give."""
    lower, other = (found.reference, one.group) if one.is_higher else (one.group, found.reference)
    outcome = " with the outcome" if found.asked.outcome is not None else ""
    most = max(1, math.floor(one.most_records) + 1)
    return f"fewer than {most:,} records of {lower}{outcome} where {other}'s rate would give {one.at_equal:,.0f}"


def _uncounted(found: Disparity) -> str:
    """Why forces together have no rate per resident; empty where they have."""
    if found.asked.per is not Per.POPULATION:
        return ""
    without = without_residents(found.answer.answered)
    listed = ", ".join(f"'{force}'" for force in without)
    return (
        f"nobody has counted residents of {_names(without)}, whose records are in the answer; ask where "
        f"force NOT IN ({listed})."
        if without
        else ""
    )


def _tipping(one: Comparison, found: Disparity) -> str:
    if found.asked.per is not Per.POPULATION or one.tipping == 1:
        return ""
    more = "at least" if one.tipping > 1 else "at most"
    return (
        f"; for equal rates, its residents would have to be {more} {one.tipping:.2f} times what the census counted, "
        f"against those of {found.reference}"
    )


def _by_force(group: str, found: Disparity) -> str:
    of = [each for each in found.comparisons if each.group == group and each.force != ALL]
    if not of:
        return f"{group}: no force by itself can be compared."
    parts = [_counted(verdict, [each.force for each in of if each.verdict is verdict], len(of)) for verdict in Verdict]
    few = sum(each.verdict.stands_out and not each.is_seen for each in of)
    resting = f"; {few} of these findings rest on records that the noise does not tell from none" if few else ""
    return f"{group}, against {found.reference} in each of {len(of)} forces: {', '.join(filter(None, parts))}{resting}."


def _counted(verdict: Verdict, forces: list[str], of: int) -> str:
    if not forces:
        return ""
    return f"{verdict.value} in {len(forces)}" + (f" ({_names(forces)})" if len(forces) < of else "")


def _names(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:MOST_NAMES]) + (
        f" and {len(listed) - MOST_NAMES} more" if len(listed) > MOST_NAMES else ""
    )


def _how_sure(found: Disparity) -> str:
    made = len(found.comparisons)
    any_of = "this comparison" if made == 1 else f"any of these {made} comparisons"
    if found.adjust is Adjust.HOLM or made == 1:
        return f"If no rates differed, the chance that the noise made {any_of} stand out would be at most 5 %."
    return f"Of those of these {made} comparisons that stand out, at most 5 % are expected to be the noise's."


def _listed(what: str, items: Sequence[str]) -> str:
    return f"{what}: {', '.join(items)}" if items else ""


def _test(found: Disparity) -> str:
    how = "Holm" if found.adjust is Adjust.HOLM else "Benjamini and Hochberg"
    return f"likelihood ratio under the known noise, two-sided, {len(found.comparisons)} comparisons, adjusted by {how}"


def _of_residents(found: Disparity) -> list[str]:
    within = f"; {100 * found.within:g} % either way is allowed for here" if found.within else ""
    census = (
        f"Residents are those of the census of {CENSUS_YEAR}, and groups have grown unequally since: no interval here "
        f"knows how wrong they are{within}."
    )
    return [census, _AVAILABLE, _MIXED] if _has_several_forces(found) else [census, _AVAILABLE]


def _of_chance(found: Disparity) -> str:
    k = found.asked.rows
    units = "each record" if k == 1 else f"people, each with up to {k} records in a force,"
    return (
        f"Chance takes {units} as independent; one operation with many records makes more of it than the intervals and "
        "tests know."
    )


def _has_several_forces(found: Disparity) -> bool:
    return len(found.answer.answered) > 1


def _of_recording(found: Disparity) -> list[str]:
    if found.asked.per is not Per.POPULATION or not _has_several_forces(found):
        return []
    if not found.asked.by_force:
        return [f"A force that never records a group still adds its residents; {_WHERE_SEEN}."]
    by_force = [each for each in found.comparisons if each.force != ALL]
    unseen = [each for each in by_force if each.verdict is Verdict.UNSEEN]
    few = [each for each in by_force if each.verdict.stands_out and not each.is_seen]
    said = []
    if unseen:
        said.append(
            f"{len(unseen)} comparisons have residents, but hardly any records, of one of the two groups "
            f"({_names(_place(each) for each in unseen)}): rather a matter of how a force records groups than of whom "
            "it searches, and their residents are in the ratios over all forces all the same."
        )
    if few:
        said.append(
            f"{len(few)} findings rest on records of one of the two groups that the noise does not tell from none "
            f"({_names(_place(each) for each in few)}): how a force records groups may be behind those too."
        )
    return said


def _of_shares() -> list[str]:
    return [_MARGIN, "Records whose outcome nobody knows count as records without it."]


def _of_unknown(found: Disparity) -> list[str]:
    overall = next((each.share for each in found.unknown if each.force == ALL), None)
    high = sorted((each for each in found.unknown if each.share.estimate >= NOTABLE_UNKNOWN and each.force != ALL),
                  key=lambda each: -each.share.estimate)  # fmt: skip
    if overall is None or overall.high <= 0:
        return []
    said = (
        f"The group of {figure(overall.estimate, overall)} % of the records is unknown (interval {ends(overall)}). "
        f"'If unknown' is what each ratio would be, noise aside, if they were all {found.reference} and if they were "
        "all of that group."
    )
    named = _names(f"{each.force} {each.share.estimate:.0f} %" for each in high)
    turning = [each for each in found.comparisons if each.verdict.stands_out and _could_turn(each)]
    return [
        said,
        *([f"It is unknown most often in {named}."] if named else []),
        *([f"Unknown groups could turn {len(turning)} of the findings: {_names(_place(each) for each in turning)}."]
          if turning else []),
    ]  # fmt: skip


def _could_turn(one: Comparison) -> bool:
    return one.unknown_low <= 1 if one.is_higher else one.unknown_high >= 1


def _place(one: Comparison) -> str:
    return one.group if one.force == ALL else f"{one.group} in {one.force}"


def _of_forces(found: Disparity) -> list[str]:
    missing = [*found.absent, *found.asked.left_out]
    if not missing:
        return []
    return [f"Nothing here is about {_names(missing)}, which {'is' if len(missing) == 1 else 'are'} not in the answer."]
