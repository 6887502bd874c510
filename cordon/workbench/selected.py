"""Which columns of a statement are quantiles of one number: read from its SELECT list, for pictures alone.

What cannot be read so is drawn as any other measure, so nothing depends on this but how a picture looks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_COLUMN, _SHARE = r"(?P<number>[\w.\"]+)", r"(?P<share>0?\.\d+)"

_QUANTILES = tuple(
    (re.compile(pattern.replace(" ", r"\s?"), re.IGNORECASE), share)
    for pattern, share in (
        (rf"QUANTILE(?:_CONT|_DISC)? \( {_COLUMN} , {_SHARE} \)", ""),
        (rf"PERCENTILE_(?:CONT|DISC) \( {_SHARE} \) WITHIN GROUP \( ORDER BY {_COLUMN} \)", ""),
        (rf"MEDIAN \( {_COLUMN} \)", "0.5"),
        (rf"MIN \( {_COLUMN} \)", "0.01"),
        (rf"MAX \( {_COLUMN} \)", "0.99"),
    )
)
"""How each is written, and its share where it is not."""

_ALIAS = re.compile(r"(?i:\s(?:AS\s)?)(?:\w+|\"[^\"]*\")$")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Quantile:
    """A column that is a quantile."""

    number: str
    share: float

    def __str__(self) -> str:
        """As a chief officer reads it."""
        return "median" if self.share == 0.5 else f"{100 * self.share:.4g} %"


def quantiles_of(sql: str, is_measure: Sequence[bool]) -> list[Quantile | None]:
    """For each measure of a statement's SELECT list, which quantile it is; None for another measure.

    Args:
        is_measure: of each column, in the order of the SELECT list.
    """
    outputs = list(_outputs(sql))
    measures = [None] * sum(is_measure)
    if len(outputs) != len(is_measure):
        return list(measures)
    return [_quantile(text) for text, measure in zip(outputs, is_measure, strict=True) if measure]


def _quantile(output: str) -> Quantile | None:
    for text in (output.strip(), _ALIAS.sub("", output.strip())):
        for pattern, share in _QUANTILES:
            found = pattern.fullmatch(text)
            if found is not None:
                return Quantile(found["number"].strip('"').lower(), float(share or found["share"]))
    return None


def _outputs(sql: str) -> Iterator[str]:
    """The SELECT list, cut at its commas; nothing where it is not simply one."""
    text = " ".join(sql.split())
    if text[:6].upper() != "SELECT":
        return
    depth, quote, start, at = 0, "", 6, 6
    while at < len(text):
        sign = text[at]
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign in "()":
            depth += 1 if sign == "(" else -1
        elif depth == 0 and sign == ",":
            yield text[start:at]
            start = at + 1
        elif depth == 0 and text[at - 1].isspace() and _word(text, at) == "FROM":
            yield text[start:at]
            return
        at += 1


def _word(text: str, at: int) -> str:
    found = _WORD.match(text, at)
    return "" if found is None else found[0].upper()
