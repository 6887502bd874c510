"""Columns that may mark records which must never enter a snapshot: an `[[exclude]]` for each, as a comment."""

from __future__ import annotations

from collections.abc import Iterator

from node.suggest.derive import quoted
from node.suggest.known import known
from node.suggest.names import plain, words
from node.suggest.propose import Suggestion
from node.suggest.sample import Sample
from node.suggest.toml import text


def exclusion_lines(suggestion: Suggestion) -> Iterator[str]:
    """A commented rule for each column whose name is like a marker's; nothing where there is none."""
    marking = [name for name in suggestion.left_over if known().exclusions & set(words(name))]
    if not marking:
        return
    yield "# guess: check. By their names these may mark records that must never enter, as of protected persons."
    for name in marking:
        yield f"# [[exclude]]   # {suggestion.samples[name].words.partition(';')[0]}"
        yield f"# where = {text(_condition(name, suggestion.samples[name]))}"
        yield '# reason = "…"'


def _condition(name: str, sample: Sample) -> str:
    """What is true of marked rows; the marking value only where it is a common word that says so."""
    yes = known().codes["yes_no"]
    marks = [
        value
        for value in sorted(sample.values)
        if "yes" in (*yes.sure.get(plain(value), ()), *yes.likely.get(plain(value), ()))
        or (value.isalpha() and value.casefold() in known().exclusions)
    ]
    shown = ", ".join("'" + value + "'" for value in marks) or "'…'"
    return f"{quoted(name)} = {shown}" if len(marks) <= 1 else f"{quoted(name)} IN ({shown})"
