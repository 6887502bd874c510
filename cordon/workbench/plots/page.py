"""One page: what was asked at the top, the key below it, the pictures, and at the foot what must be known of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text

from cordon.workbench.drawing import Captions
from cordon.workbench.plots.lettering import FAMILY, height, shorten, width, wrap
from cordon.workbench.plots.palette import FAINT, INK, RULE

WIDTH = 10.0
"""Of every picture, in inches: it fits a page, and grows downwards."""
DOTS = 150
"""To an inch."""
EDGE = 0.25
TITLE, HEADING, LABEL, SMALL = 11.0, 9.5, 8.5, 7.5
"""Sizes of letters, in points."""

_TITLE_LINES, _NOTE_LINES = 10, 4
_KEY_ROW = 0.21
_MOST_KEY = 3.6


class Picture(Figure):
    """A figure that notebooks show by itself, whether or not they plot otherwise."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class Key:
    """What a colour, marker or hatch stands for."""

    label: str
    handle: Artist


@dataclass(frozen=True)
class Painting:
    """One picture of a page, and how it gets there."""

    height: float
    """In inches, its scales and headings included."""
    reading: tuple[str, ...]
    """How to read it, in sentences."""
    keys: tuple[Key, ...]
    paint: Callable[[Figure, SubplotSpec, str], Axes]
    """Draws it; the text is a prefix of the names of what is drawn. Returns what its heading stands over."""


def page_of(captions: Captions, paintings: Sequence[tuple[str, Painting]]) -> Picture:
    """A page.

    Args:
        paintings: each with its heading; empty where there is one picture.
    """
    inside = WIDTH - 2 * EDGE
    title = wrap(captions.title, inside, TITLE, most=_TITLE_LINES, bold=True)
    notes = [line for text in _notes(captions, paintings) for line in wrap(text, inside, SMALL, most=_NOTE_LINES)]
    keys = list({key.label: key for _, painting in paintings for key in painting.keys}.values())
    columns, key_rows = _arranged(keys, inside)
    head = EDGE + height(len(title), TITLE) + key_rows * _KEY_ROW + 0.12
    foot = EDGE + height(len(notes), SMALL) + 0.12
    heights = [painting.height + (0.3 if heading else 0.0) for heading, painting in paintings]
    tall = head + sum(heights) + foot
    layout = ConstrainedLayoutEngine(
        rect=(EDGE / WIDTH, foot / tall, inside / WIDTH, sum(heights) / tall), h_pad=0.06, w_pad=0.03, wspace=0.04
    )
    picture = Picture(
        figsize=(WIDTH, tall),
        dpi=DOTS,
        facecolor="white",
        layout=layout,
    )
    FigureCanvasAgg(picture)
    _write(picture, EDGE / WIDTH, 1 - EDGE / tall, title, TITLE, INK, weight="bold")
    _write(picture, EDGE / WIDTH, (foot - 0.12) / tall, notes, SMALL, FAINT)
    if keys:
        _place_keys(picture, keys, columns, 1 - (EDGE + height(len(title), TITLE) + 0.05) / tall)
    grid = picture.add_gridspec(len(paintings), 1, height_ratios=heights)
    for at, (heading, painting) in enumerate(paintings):
        axes = painting.paint(picture, grid[at, 0], f"panel{at}")
        if heading:
            axes.set_xlabel("")
            lines = wrap(heading, inside - 1, HEADING, most=1, bold=True)
            axes.set_title("\n".join(lines), loc="left", fontsize=HEADING, fontweight="bold", color=INK)
    _take_literally(picture)
    layout.execute(picture)
    # Once is enough: what is drawn does not change any more.
    picture.set_layout_engine("none")
    return picture


def dress(axes: Axes, *, grid: str) -> None:
    """What all axes have in common.

    Args:
        grid: x or y, the axis of values; empty for none.
    """
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=LABEL, colors=INK, labelfontfamily=FAMILY, length=0, pad=6)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    if grid == "x":
        axes.grid(axis="x", color=RULE, linewidth=0.5)
    elif grid == "y":
        axes.grid(axis="y", color=RULE, linewidth=0.5)


def named(artist: Any, name: str) -> None:
    """Name what is drawn: tests find it by that, and so does who edits the SVG.

    It lies within its axes, so that the layout need not measure it.
    """
    artist.set_gid(name)
    artist.set_in_layout(False)


def _notes(captions: Captions, paintings: Iterable[tuple[str, Painting]]) -> list[str]:
    readings = dict.fromkeys(sentence for _, painting in paintings for sentence in painting.reading)
    return [" ".join(readings), *captions.lines]


def _arranged(keys: Sequence[Key], inside: float) -> tuple[int, int]:
    """Columns and rows of a key."""
    if not keys:
        return 0, 0
    widest = max(width(shorten(key.label, _MOST_KEY, LABEL), LABEL) for key in keys) + 0.55
    columns = max(1, min(len(keys), int(inside / widest)))
    return columns, -(-len(keys) // columns)


def _place_keys(picture: Figure, keys: Sequence[Key], columns: int, top: float) -> None:
    legend = picture.legend(
        [key.handle for key in keys],
        [shorten(key.label, _MOST_KEY, LABEL) for key in keys],
        loc="upper left",
        bbox_to_anchor=(EDGE / WIDTH, top),
        ncols=columns,
        frameon=False,
        fontsize=LABEL,
        borderpad=0,
        borderaxespad=0,
        handlelength=2.2,
        columnspacing=1.2,
        labelcolor=INK,
    )
    legend.set_in_layout(False)
    named(legend, "key")


def _write(
    picture: Figure, left: float, top: float, lines: Sequence[str], size: float, colour: str, weight: str = "normal"
) -> None:
    text = picture.text(
        left, top, "\n".join(lines), fontsize=size, color=colour, weight=weight, va="top", ha="left", linespacing=1.2
    )
    named(text, "title" if weight == "bold" else "notes")


def _take_literally(picture: Figure) -> None:
    """No text is a formula, whoever has written it, and none depends on the fonts of a machine."""
    for text in picture.findobj(Text):
        assert isinstance(text, Text)  # noqa: S101 - tells the type checker
        text.set_parse_math(False)
        text.set_usetex(False)
        text.set_fontfamily(FAMILY)
