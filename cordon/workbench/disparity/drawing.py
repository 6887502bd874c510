"""A disparity as a forest plot: ratios with their intervals beside the line of equal rates."""

from __future__ import annotations

import math

from cordon.workbench.captions import captions_of
from cordon.workbench.disparity.reading import ends
from cordon.workbench.disparity.result import ALL, Comparison, Disparity, Span, Verdict
from cordon.workbench.disparity.statement import Per
from cordon.workbench.drawing import UNKNOWN, Effect, Forest, Mark


def drawn(found: Disparity) -> Forest:
    """The forest of a disparity: one line a group, or under each group one line a force."""
    answer = found.answer
    labels = ", ".join(found.asked.outcome_labels)
    with_outcome = f"records with {labels}" if labels else "records"
    what = f"{with_outcome} per resident" if found.asked.per is Per.POPULATION else f"share of {with_outcome}"
    lines_are = (
        f"lines: 95 % intervals of noise and a year's chance; told from 1: by both, after adjustment of "
        f"{len(found.comparisons)} comparisons ({found.adjust.value})"
    )
    left_out = ", ".join(found.asked.left_out)
    more = [
        f"only where {found.asked.where}" if found.asked.where else "",
        lines_are,
        f"not asked, without residents: {left_out}" if left_out else "",
    ]
    title = f"{answer.dataset.split()[0]}: {what}, ratio to {found.reference} by {found.asked.by.title.lower()}"
    return Forest(
        captions_of(answer, title, more=more),
        f"ratio of rates to {found.reference}",
        _groups(found),
        none=1.0,
        ratio=True,
    )


def _groups(found: Disparity) -> tuple[tuple[str, tuple[Effect, ...]], ...]:
    if not found.asked.by_force:
        return (("", tuple(_effect(each, each.group) for each in found.comparisons)),)
    groups = dict.fromkeys(each.group for each in found.comparisons)
    return tuple(
        (group, tuple(_effect(each, each.force) for each in _sorted(found, group))) for group in groups
    )  # fmt: skip


def _sorted(found: Disparity, group: str) -> list[Comparison]:
    """Forces by name, and all of them together last."""
    return sorted((each for each in found.comparisons if each.group == group), key=lambda e: (e.force == ALL, e.force))


def _effect(one: Comparison, label: str) -> Effect:
    """With chance: a picture is taken for what a force does, and not for what one year's records say."""
    span = Span(one.ratio.estimate, one.process_low, one.process_high)
    if one.verdict is Verdict.UNSEEN:
        return Effect(Mark(label, UNKNOWN, UNKNOWN, UNKNOWN, note="hardly recorded"), stands_out=False)
    told = one.verdict in (Verdict.HIGHER, Verdict.LOWER)
    if told and not span.estimate > 0:
        # Its interval has one end, and noise has left nothing that could be drawn as a ratio.
        return Effect(Mark(label, UNKNOWN, UNKNOWN, UNKNOWN, note=f"{one.verdict.value}: {ends(span)}"), told)
    if not told and span.is_noisy and not span.low > 0:
        # A logarithmic scale has no place for nought, and all between it and the other end would be drawn.
        return Effect(Mark(label, UNKNOWN, UNKNOWN, UNKNOWN, noisy=True, note="too noisy to say"), stands_out=False)
    low = span.low if span.low > 0 else -math.inf
    return Effect(Mark(label, span.estimate, low, span.high, noisy=span.is_noisy), told)
