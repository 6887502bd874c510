"""Colours that colour-blind people and grey printers tell apart, each with a marker, a dash and a hatch of its own.

The colours are those of Okabe and Ito, Color Universal Design, 2008, in an order of which the first five differ in
lightness by at least 10 of 100 (CIE L*), so that grey paper keeps them apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Dash = Literal["-", "--", "-.", ":"]


@dataclass(frozen=True, slots=True)
class Look:
    """How one series is drawn."""

    colour: str
    marker: str
    dash: Dash
    hatch: str


LOOKS = (
    Look("#0072B2", "o", "-", ""),
    Look("#E69F00", "s", "--", "///"),
    Look("#000000", "^", "-.", "xxx"),
    Look("#009E73", "D", ":", "..."),
    Look("#F0E442", "v", "-", "\\\\\\"),
)

INK = "#222222"
"""Text, edges and intervals."""
FAINT = "#595959"
"""Captions; still 7 to 1 on white."""
PALE = "#F2F2F2"
"""Behind what is absent."""
RULE = "#BBBBBB"
"""Hatches of what is absent, grids and rules."""
GROUND = "#E6E6E6"
SCALE = "cividis_r"
"""Of heat maps: darkness grows with the value, for every kind of colour vision."""
ABSENT_HATCH = "xxxx"
NOISY_HATCH = "////"


def look_of(place: int) -> Look:
    """Of the series at a place; they come again after the last."""
    return LOOKS[place % len(LOOKS)]


def luminance(colour: str) -> float:
    """Relative luminance of `#RRGGBB`, 0 to 1 (WCAG 2.2)."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
