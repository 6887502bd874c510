"""How alike two names are: words, abbreviations and common synonyms. The one place that compares text fuzzily."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from rapidfuzz import fuzz

from cordon.contract import Column, Identifier
from node.suggest.known import known

SYNONYM = 0.97
"""Likeness of a common synonym: a little below the name itself."""

WEAK = 0.8
"""Most that a name counts which means other things in other systems."""

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_VOWELS = re.compile(r"(?<!^)[aeiou]")


def plain(text: str) -> str:
    """Lower case, with one space for everything that is neither letter nor digit."""
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


@cache
def words(name: str) -> tuple[str, ...]:
    """The words of a column's name, abbreviations written out, without those that say nothing."""
    tables = known()
    parts = plain(_CAMEL.sub(" ", name)).split()
    spelt = " ".join(tables.abbreviations.get(part, part) for part in parts).split()
    return tuple(part for part in spelt if part not in tables.noise) or tuple(spelt)


def alike(one: str, other: str) -> float:
    """How alike two texts are as a whole, in any order of words; from 0 to 1."""
    return fuzz.token_sort_ratio(one, other) / 100


def without_shared_beginning(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Words of each name, without a first word that most names share, as a table's name before every column."""
    split = {name: words(name) for name in names}
    firsts = [parts[0] for parts in split.values() if len(parts) > 1]
    common = {first for first in firsts if firsts.count(first) >= max(3, 0.6 * len(names))}
    return {name: parts[1:] if len(parts) > 1 and parts[0] in common else parts for name, parts in split.items()}


def name_likeness(parts: tuple[str, ...], column: Column) -> tuple[float, str]:
    """How much a source column's words say that it feeds a contract column, from 0 to 1; and why, in words."""
    tables = known()
    keys = [column.name]
    if isinstance(column, Identifier) and column.scheme is not None:
        keys.append(column.scheme)
    if column.name.endswith("_ethnicity"):
        keys.append("ethnicity")
    found = [(_phrases(parts, words(column.name)), "the contract's own")]
    found.append((_phrases(parts, words(column.title)), "the contract's title"))
    for key in keys:
        # A broader word for one of several like columns is a hint, and no proof.
        most = SYNONYM if key in (column.name, getattr(column, "scheme", None)) else WEAK
        found += [(most * _phrases(parts, words(text)), f"'{text}'") for text in tables.names.get(key, ())]
        found += [(WEAK * _phrases(parts, words(text)), f"'{text}'") for text in tables.weak_names.get(key, ())]
    score, which = max(found, key=lambda pair: pair[0])
    return score, f"the name is {'like ' if score < SYNONYM else ''}{which}"


def _phrases(one: tuple[str, ...], other: tuple[str, ...]) -> float:
    covered = (_covered(one, other), _covered(other, one))
    return 0.65 * min(covered) + 0.35 * max(covered)


def _covered(one: tuple[str, ...], other: tuple[str, ...]) -> float:
    light = known().light
    weights = [len(word) * (0.3 if word in light and len(one) > 1 else 1.0) for word in one]
    found = [weight * max(_word(word, against) for against in other) for weight, word in zip(weights, one, strict=True)]
    return sum(found) / sum(weights)


@cache
def _word(one: str, other: str) -> float:
    if one == other:
        return 1.0
    short, long = sorted((one, other), key=len)
    if len(short) >= 3 and long.startswith(short):
        return 0.92
    if len(short) >= 3 and _VOWELS.sub("", short) == _VOWELS.sub("", long):
        return 0.9
    ratio = fuzz.ratio(one, other) / 100 if len(short) >= 4 else 0.0
    return ratio if ratio >= 0.75 else 0.0
