"""What stands around the picture of an answer: what was asked, who answered, what is protected, cost and date."""

from __future__ import annotations

from collections.abc import Sequence

from cordon.workbench.answer import Answer
from cordon.workbench.drawing import Captions

MOST_NAMED = 12
"""Forces of one reason that are named; the others are counted."""

MOST_NOTES = 4
"""Sentences about the columns; the others stand below the table."""


def captions_of(answer: Answer, title: str | None = None, *, more: Sequence[str] = ()) -> Captions:
    """The captions of a picture that shows an answer, or what was computed from it.

    Args:
        title: what was asked, where a sentence says it better than the statement does.
        more: sentences that stand before the answer's own.
    """
    asked = " ".join((answer.sql if title is None else title).split())
    lines = [*more, *_notes(answer), who_answered(answer), _protected(answer), _costs(answer)]
    return Captions(asked, tuple(line for line in lines if line))


def who_answered(answer: Answer) -> str:
    """How many of the forces asked are in an answer, and which are not, by reason."""
    by_reason: dict[str, list[str]] = {}
    for force, reason in answer.absent.items():
        by_reason.setdefault(reason, []).append(force)
    asked = len(answer.answered) + len(answer.absent)
    count = f"{len(answer.answered)} of {asked} forces answered"
    if not by_reason:
        return count
    without = "; ".join(f"{_names(forces)} ({reason})" for reason, forces in by_reason.items())
    return f"{count}; without {without}"


def _names(forces: list[str]) -> str:
    left = len(forces) - MOST_NAMED
    return ", ".join(forces[:MOST_NAMED]) + (f" and {left} more" if left > 0 else "")


def _notes(answer: Answer) -> list[str]:
    left = len(answer.notes) - MOST_NOTES
    return [*answer.notes[:MOST_NOTES], *([f"{left} more notes stand below the table"] if left > 0 else [])]


def _protected(answer: Answer) -> str:
    caveat = f" ({answer.caveat.rstrip('.')})" if answer.caveat else ""
    return f"data set {answer.dataset}; protected unit: {answer.unit}{caveat}"


def _costs(answer: Answer) -> str:
    cost = answer.cost
    attempts = f" over {cost.attempts} attempts" if cost.attempts > 1 else ""
    opened = f"; opened {answer.date}" if answer.date else ""
    return f"cost: epsilon {cost.epsilon:.3g}{attempts}{opened}; query {answer.query_id[:16]}"
