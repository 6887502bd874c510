"""What can and cannot be concluded from a regression, in plain English."""

from __future__ import annotations

import math

from cordon.contract import Contract
from cordon.workbench.answer import Answer
from cordon.workbench.regress.model import Condition, Model
from cordon.workbench.regress.result import Coefficient, Regression

MUCH_NOISE = 0.5
"""Share of the variance beyond which it is privacy noise that makes intervals wide."""

_NO_PREDICTION = "nothing here predicts anything about one person."
_COVERED = (
    "Intervals cover privacy noise and the records' own scatter, not what records lack: unknown values are left out, "
    "numbers are clamped to the contract's bounds, and absent forces are absent."
)


def conclusions(found: Regression, model: Model) -> tuple[str, ...]:
    """One sentence for each term."""
    return tuple(_sentence(term, found, model) for term in found.terms)


def limits(found: Regression, model: Model) -> tuple[str, ...]:
    """What nobody should read into it."""
    sentences = [
        "An association is no cause: what is not in the formula may lie behind it.",
        _explained(found),
        "Each term is read with the others held equal, and numbers act along a straight line.",
        _COVERED,
        _independence(model.contract),
    ]
    if found.only:
        sentences.append(f"It is of records for which {' and '.join(found.only)}, and says nothing of others.")
    if model.numbers:
        sentences.append(_scatters_alike(model))
    if isinstance(model.response, Condition):
        sentences.append("Shares are fitted along a line, which can leave 0 to 100 % at its ends.")
    several = len(found.terms)
    if several > 1:
        sentences.append(
            f"p-values stand each for itself: of {several} terms without any effect, {0.05 * several:.1g} would be "
            "expected below 0.05."
        )
    return tuple(sentences)


def about(found: Regression, answer: Answer) -> tuple[str, ...]:
    """What must be known of the answer that it was fitted from."""
    left_out = f"left out, too few records to tell: {', '.join(found.left_out)}" if found.left_out else ""
    again = f"--from-query {answer.query_id[:8]} fits and draws it again at no cost"
    asked = f"asked: {' '.join(answer.sql.split())}"
    return tuple(line for line in (left_out, again, asked, *answer.about) if line)


def _explained(found: Regression) -> str:
    what = f"the differences between records in {found.response}"
    if math.isnan(found.explained):
        return f"How much of {what} the terms explain cannot be told from the noise: {_NO_PREDICTION}"
    return f"The terms explain {100 * found.explained:.2g} % of {what}: {_NO_PREDICTION}"


def _sentence(term: Coefficient, found: Regression, model: Model) -> str:
    what = _what(term, model)
    if not term.is_told:
        return f"{what}: the noise allows any value. Ask with a larger --epsilon, or drop a term."
    span = f"95 % interval {figure(term.low, term)} to {figure(term.high, term)}"
    if not term.stands_out:
        return f"{what}: no difference in {found.response} can be told ({span} {found.unit}){_why(term)}."
    more = "more" if term.estimate > 0 else "less"
    size = figure(abs(term.estimate), term)
    ends = sorted(abs(end) for end in (term.low, term.high))
    span = f"95 % interval {figure(ends[0], term)} to {figure(ends[1], term)}"
    if isinstance(model.response, Condition):
        return f"{what}: {model.response.label} {size} percentage points {more} often ({span}){_why(term)}."
    return f"{what}: {size} {found.unit} {more} {found.response} ({span}){_why(term)}."


def _what(term: Coefficient, model: Model) -> str:
    if term.level:
        return f"{term.term} {term.level}, compared with {term.reference}"
    column = next(number.column for number in model.numbers if number.name == term.term)
    return f"{term.term}, for each one more ({column.unit})"


def _why(term: Coefficient) -> str:
    if term.noise_share > MUCH_NOISE:
        return f"; {100 * term.noise_share:.0f} % of the uncertainty is privacy noise"
    return ""


def _scatters_alike(model: Model) -> str:
    if isinstance(model.response, Condition):
        return "Intervals are wide enough for the share at which records scatter most, wherever on the line they are."
    return (
        "Within each level, records are taken to scatter alike around the line, whatever their numbers: where they "
        "scatter more at some, intervals can hold the truth less often than 95 %."
    )


def _independence(contract: Contract) -> str:
    if contract.unit.kind == "row":
        return "Records are taken as independent of one another, though several may be about one person or one event."
    k = contract.unit.max_rows_per_unit
    alike = f", of whom up to {k} records each may be quite alike: intervals are wide enough for that" if k > 1 else ""
    return f"Persons are taken as independent of one another{alike}."


def figure(value: float, beside: Coefficient) -> str:
    """A number to about a tenth of its interval's width."""
    if not math.isfinite(value):
        return "?"
    width = beside.high - beside.low
    digits = max(0, min(8, 1 - math.floor(math.log10(width)))) if 0 < width < math.inf else 4
    text = f"{value:,.{digits}f}"
    return text.removeprefix("-") if not any(each in "123456789" for each in text) else text
