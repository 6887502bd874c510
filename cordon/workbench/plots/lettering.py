"""Text that fits: measured in the one font of all pictures, which comes with matplotlib.

Labels and statements may have been published by somebody else: they are drawn sign by sign, never read as formulas,
and what would hide or reorder other signs is left out.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from pathlib import Path

import matplotlib as mpl
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font
from matplotlib.textpath import text_to_path

FAMILY = "DejaVu Sans"
LINE = 1.25
"""Height of a line, relative to the size of its letters."""

_MARGIN = 1.04
"""Letters on a raster are up to this much wider than their outlines."""

_STRANGE = "\ufffd"
_POINTS = 72
"""To an inch."""


def clean(text: str) -> str:
    """One line of signs that the font has: no control, format or private signs, and no line ends."""
    return "".join(_sign(sign) for sign in " ".join(text.split()))


def wrap(text: str, inches: float, size: float, *, most: int = 3, bold: bool = False) -> list[str]:
    """Clean text in lines that are at most `inches` wide; what is left after `most` lines ends in an ellipsis."""
    lines: list[str] = []
    line = ""
    for word in clean(text).split():
        longer = f"{line} {word}" if line else word
        if width(longer, size, bold=bold) <= inches:
            line = longer
            continue
        lines += [line] if line else []
        *whole, line = _cut(word, inches, size, bold=bold)
        lines += whole
    lines += [line] if line else []
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], shorten(lines[most - 1] + " …", inches, size, bold=bold)]


def shorten(text: str, inches: float, size: float, *, bold: bool = False) -> str:
    """Clean text in one line, with an ellipsis in place of what does not fit."""
    text = clean(text)
    if width(text, size, bold=bold) <= inches:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        fits = width(text[:middle].rstrip(" …") + "…", size, bold=bold) <= inches
        low, high = (middle, high) if fits else (low, middle - 1)
    return text[:low].rstrip(" …") + "…"


@cache
def width(text: str, size: float, *, bold: bool = False) -> float:
    """Of text in one line, cleaned, in inches.

    Args:
        size: of the letters, in points.
    """
    font = FontProperties(family=FAMILY, size=size, weight="bold" if bold else "normal")
    return float(text_to_path.get_text_width_height_descent(clean(text), font, False)[0]) * _MARGIN / _POINTS


def height(lines: int, size: float) -> float:
    """Of lines below one another, in inches."""
    return lines * size * LINE / _POINTS


def _cut(word: str, inches: float, size: float, *, bold: bool) -> list[str]:
    """A word in pieces that fit."""
    pieces = [""]
    for sign in word:
        if pieces[-1] and width(pieces[-1] + sign, size, bold=bold) > inches:
            pieces.append("")
        pieces[-1] += sign
    return pieces


def _sign(sign: str) -> str:
    if unicodedata.category(sign)[0] == "C":
        return ""
    return sign if ord(sign) in _known() else _STRANGE


@cache
def _known() -> frozenset[int]:
    font = FT2Font(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"))
    return frozenset(font.get_charmap())
