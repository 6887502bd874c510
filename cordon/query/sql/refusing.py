"""Refusals of what was typed: a caret under the words, the rule, and the nearest thing that would work."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from sqlglot import exp
from sqlglot.errors import SqlglotError

from cordon.errors import QuestionRefused

_SHOWN = 12
"""Names that a hint lists before it breaks off."""


@dataclass(frozen=True, slots=True)
class Text:
    """A statement as typed, and the only way to refuse a part of it."""

    sql: str

    def refuse(self, message: str, node: exp.Expr | None, *, hint: str = "") -> NoReturn:
        """Refuse what stands under a node; the whole statement where that is not known."""
        start, end = span(node) if node is not None else (0, 0)
        self.refuse_at(message, start, end or len(self.sql), hint=hint)

    def refuse_at(self, message: str, start: int, end: int, *, hint: str = "") -> NoReturn:
        """Refuse the characters from `start` up to `end`."""
        start = max(0, min(start, len(self.sql)))
        raise QuestionRefused(message, hint=hint, sql=self.sql, start=start, end=max(start, min(end, len(self.sql))))

    def words(self, node: exp.Expr) -> str:
        """What was typed for a node, as far as its place is known: of a function call, its name."""
        start, end = node.meta.get("start"), node.meta.get("end")
        return self.sql[int(start) : int(end) + 1] if start is not None and end is not None else rendered(node)


def rendered(node: exp.Expr) -> str:
    """A node as SQL, for people to read."""
    try:
        return node.sql()
    except (SqlglotError, ValueError, TypeError, AttributeError, KeyError):
        # The parser makes some nodes that its own writer does not know.
        return "this"


def span(node: exp.Expr) -> tuple[int, int]:
    """First and one past the last character of everything under a node whose position is known."""
    places = [part.meta for part in node.walk() if "start" in part.meta]
    if not places:
        return 0, 0
    return min(int(place["start"]) for place in places), max(int(place["end"]) for place in places) + 1


def closest(word: str, known: Iterable[str]) -> str:
    """A hint: the name that was probably meant, or what names there are."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.7)
    if near:
        return f"did you mean {near[0]}?"
    return f"there are: {', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''}"
