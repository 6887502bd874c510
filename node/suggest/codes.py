"""Which contract code a local value means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from cordon.contract import UNKNOWN, Category
from node.suggest.known import CodeTable, known
from node.suggest.names import alike, plain
from node.suggest.sample import Sample


class Confidence(IntEnum):
    """How sure a proposal is. A guess is written as a comment, for a person to take the `#` away."""

    GUESS = 1
    LIKELY = 2
    SURE = 3

    @property
    def words(self) -> str:
        """As people read it."""
        return "guess: check" if self is Confidence.GUESS else self.name.lower()


@dataclass(frozen=True, slots=True)
class CodeProposal:
    """One local value and what it is proposed to mean."""

    local: str
    rows: int
    """In the sample."""

    code: str | None
    """Contract code; None where nothing fits."""

    confidence: Confidence
    missing: bool = False
    """Whether the value means that nothing is known, and belongs to `unknown`."""

    as_it_is: bool = False
    """Whether it is the contract's own code or label, and needs no entry."""


_Match = tuple[str, Confidence]


def propose_codes(column: Category, sample: Sample) -> tuple[CodeProposal, ...]:
    """A proposal for each local value of a sample, the most frequent first."""
    texts = _texts(column)
    tables = _tables(column)
    numeric = sum(value.isdigit() for value in sample.values) >= 0.6 * len(sample.values)
    return tuple(
        _propose(column, texts, tables, local, rows, sample, numeric=numeric)
        for local, rows in sorted(sample.values.items(), key=lambda item: (-item[1], item[0]))
    )


def _texts(column: Category) -> dict[str, tuple[str, ...]]:
    """By code, what it may be called."""
    return {code.code: (plain(code.code.replace("_", " ")), plain(code.label)) for code in column.codes}


def _tables(column: Category) -> list[CodeTable]:
    tables, name = known().codes, column.name
    found = [table for key, table in tables.items() if key in name]
    if {"yes", "no"} <= set(column.positions):
        found.append(tables["yes_no"])
    if name == "crime_type":
        found.append(tables["offence"])
    return found


def _propose(
    column: Category,
    texts: dict[str, tuple[str, ...]],
    tables: list[CodeTable],
    local: str,
    rows: int,
    sample: Sample,
    *,
    numeric: bool,
) -> CodeProposal:
    if local in column.positions or local in {code.label for code in column.codes}:
        own = next(code.code for code in column.codes if local in (code.code, code.label))
        return CodeProposal(local, rows, own, Confidence.SURE, as_it_is=True)
    text = plain(local)
    # Both ways of writing tables: "n/k" with its slash is a marker, "ic1" has none.
    raw = local.casefold()
    if raw in _SIGNS and _has_letter_codes(sample):
        return CodeProposal(local, rows, None, Confidence.GUESS)
    for find in (_spelt, _common):
        match = find(text, texts, tables)
        if match is not None:
            return CodeProposal(local, rows, match[0], match[1], missing=match[0] == UNKNOWN)
    if raw in known().markers:
        return CodeProposal(local, rows, None, Confidence.SURE, missing=True)
    if raw in known().number_markers and (numeric or len(raw) > 1):
        return CodeProposal(local, rows, None, Confidence.LIKELY, missing=True)
    match = _fuzzy(text, texts)
    return CodeProposal(local, rows, *(match or (None, Confidence.GUESS)))


_SIGNS = frozenset("-.")


def _has_letter_codes(sample: Sample) -> bool:
    """Whether most rows have codes of one letter or digit, among which a sign is likely one too."""
    codes = [value for value in sample.values if len(value) == 1 and value.isalnum()]
    others = sample.filled - sum(rows for value, rows in sample.values.items() if value in _SIGNS)
    return len(codes) >= 2 and sum(sample.values[code] for code in codes) >= 0.6 * others


def _spelt(text: str, texts: dict[str, tuple[str, ...]], _: list[CodeTable]) -> _Match | None:
    found = [code for code, names in texts.items() if text in names]
    return (found[0], Confidence.SURE) if text and found else None


def _common(text: str, texts: dict[str, tuple[str, ...]], tables: list[CodeTable]) -> _Match | None:
    for confidence, choose in ((Confidence.SURE, _sure), (Confidence.LIKELY, _likely)):
        for table in tables:
            meant = [code for code in choose(table).get(text, ()) if code in texts]
            if meant:
                return meant[0], confidence
    return None


def _sure(table: CodeTable) -> dict[str, tuple[str, ...]]:
    return table.sure


def _likely(table: CodeTable) -> dict[str, tuple[str, ...]]:
    return table.likely


def _fuzzy(text: str, texts: dict[str, tuple[str, ...]]) -> _Match | None:
    if len(text) < 3 or text.isdigit():
        return None
    own = {code: names for code, names in texts.items() if code != UNKNOWN}
    rules: tuple[tuple[Callable[[str, str], bool], Confidence], ...] = (
        (_all_its_words, Confidence.LIKELY),
        (_begins, Confidence.LIKELY),
        (_initials, Confidence.LIKELY),
        (_holds_all, Confidence.GUESS),
        (_shortened, Confidence.GUESS),
    )
    for rule, confidence in rules:
        found = {code for code, names in own.items() if any(rule(text, name) for name in names)}
        if len(found) == 1:
            return found.pop(), confidence
    ranked = sorted(((max(alike(text, name) for name in names), code) for code, names in own.items()), reverse=True)
    (best, code), (second, _) = ranked[0], ranked[1] if len(ranked) > 1 else (0.0, "")
    if best >= 0.85 and best - second >= 0.08:
        return code, Confidence.LIKELY
    return (code, Confidence.GUESS) if best >= 0.65 and best - second >= 0.05 else None


def _all_its_words(text: str, name: str) -> bool:
    return len(text) >= 4 and set(text.split()) <= set(name.split())


def _begins(text: str, name: str) -> bool:
    return name.startswith(text)


def _initials(text: str, name: str) -> bool:
    parts = name.split()
    return len(parts) >= 2 and text == "".join(part[0] for part in parts)


def _shortened(text: str, name: str) -> bool:
    """Whether letters were left out of a name, but for its first."""
    left = iter(name)
    return " " not in text and text[0] == name[0] and all(letter in left for letter in text)


def _holds_all(text: str, name: str) -> bool:
    return len(name) >= 4 and set(name.split()) <= set(text.split())
