"""A disparity as a forest plot: ratios with their intervals beside the line of equal rates."""

from __future__ import annotations

import math

from cordon.workbench.disparity.result import ALL, Comparison, Disparity
from cordon.workbench.disparity.statement import Per
from cordon.workbench.drawing import UNKNOWN, Captions, Effect, Forest, Mark


def drawn(found: Disparity) -> Forest:
    """The forest of a disparity: one line a group, or under each group one line a force."""
    answer = found.answer
    over = "residents" if found.asked.per is Per.POPULATION else "records"
    what = f"{', '.join(found.asked.outcome_labels) or 'records'} per {over}"
    filled = (
        f"filled: stands out from {found.reference} after adjustment of {len(found.comparisons)} comparisons "
        f"({found.adjust.value}); lines are 95 % intervals of the noise"
    )
    missing = len(found.absent) + len(found.asked.left_out)
    lines = (
        *([f"only where {found.asked.where}"] if found.asked.where else []),
        filled,
        f"{answer.dataset}, protected: {answer.unit}; {len(answer.answered)} forces answered"
        + (f", {missing} are not in it" if missing else ""),
        f"epsilon {answer.cost.epsilon:.3g}, {answer.date or 'no date'}, query {answer.query_id[:16]}",
    )
    title = f"{answer.dataset.split()[0]}: {what}, ratio to {found.reference} by {found.asked.by.title.lower()}"
    return Forest(Captions(title, lines), f"ratio of rates to {found.reference}", _groups(found), none=1.0, ratio=True)


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
    span = one.ratio
    if not span.estimate > 0:
        # A logarithmic scale has no place for it.
        return Effect(Mark(label, UNKNOWN, span.low, span.high, noisy=True, note="too noisy to say"), stands_out=False)
    low = span.low if span.low > 0 else -math.inf
    return Effect(Mark(label, span.estimate, low, span.high, noisy=span.is_noisy), one.verdict.stands_out)
