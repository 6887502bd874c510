"""A regression as a forest of its terms."""

from __future__ import annotations

import math
from collections.abc import Iterable

from cordon.units import exact_text
from cordon.workbench.drawing import Captions, Effect, Forest, Mark
from cordon.workbench.regress.model import Model, Quantity
from cordon.workbench.regress.result import Coefficient, Regression

STEP = 10
"""A number is drawn per a tenth of its bounds, in whole resolutions, so that terms can share one scale."""


def drawing_of(found: Regression, model: Model, captions: Captions) -> Forest:
    """Each term's effect on the response, numbers together and each category under its own heading."""
    steps = {number.name: number for number in model.numbers}
    headings: dict[str, list[Effect]] = {}
    for term in found.terms:
        if term.level:
            headings.setdefault(f"{term.term}, compared with {term.reference}", []).append(_effect(term, term.level))
        else:
            headings.setdefault("numbers", []).append(_of_number(term, steps[term.term]))
    # A heading says something only beside another, or where it names a reference.
    alone = list(headings) == ["numbers"]
    groups = tuple(("" if alone else name, tuple(effects)) for name, effects in headings.items())
    return Forest(captions, f"difference in {found.response}, {found.unit}", groups, none=0.0)


def captions_lines(found: Regression, more: Iterable[str] = ()) -> tuple[str, ...]:
    """What a reader of the picture must know besides who answered."""
    first = f"linear regression, others held equal; about {found.rows:,.0f} records; an association is no cause"
    only = f"only records for which {' and '.join(found.only)}" if found.only else ""
    return tuple(line for line in (first, only, *more) if line)


def _of_number(term: Coefficient, number: Quantity) -> Effect:
    column = number.column
    resolutions = max(1, (column.high - column.low) // STEP)
    step = resolutions * column.resolution
    return _effect(term, f"{term.term}, per {exact_text(step)} {column.unit}", float(step))


def _effect(term: Coefficient, label: str, step: float = 1.0) -> Effect:
    estimate = step * term.estimate
    mark = Mark(
        label, estimate, step * term.low, step * term.high,
        noisy=not term.is_told, note="" if term.is_told else "too noisy to tell",
    )  # fmt: skip
    return Effect(mark, term.stands_out and not math.isnan(estimate))
