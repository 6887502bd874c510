"""Pictures of drawings: for paper and screen, without a window.

Every interval is drawn, what is too noisy or absent never looks like a value, colours differ in lightness too, and a
picture says what was asked, who answered, what is protected, what it cost and when.
"""

from __future__ import annotations

from pathlib import Path

from cordon.errors import Refused
from cordon.workbench.answer import Answer
from cordon.workbench.choosing import drawing_of
from cordon.workbench.drawing import Bars, Drawing, Forest, HeatMap, Lines, Panels, Quantiles
from cordon.workbench.output import check_plot, write_file
from cordon.workbench.plots import bars, forest, heat, lines, quantiles
from cordon.workbench.plots.page import Painting, Picture, page_of
from cordon.workbench.plots.saving import content_of


def plot_answer(answer: Answer, path: Path | None) -> Picture:
    """The picture that suits an answer's rows; also written to `path` where one is given.

    Raises:
        Refused: there is nothing to draw, or the path's ending names no form of picture.
        Misconfigured: it cannot be written there.
    """
    return plot(drawing_of(answer), path)


def plot(drawing: Drawing, path: Path | None) -> Picture:
    """The picture of a drawing; also written to `path` where one is given.

    Raises:
        Refused: the path's ending names no form of picture.
        Misconfigured: it cannot be written there.
    """
    picture = figure_of(drawing)
    if path is not None:
        save(picture, path)
    return picture


def figure_of(drawing: Drawing) -> Picture:
    """The picture of a drawing, as wide as a page and as high as it needs.

    Raises:
        Refused: there is nothing to draw.
    """
    panels = drawing.panels if isinstance(drawing, Panels) else (drawing,)
    if not panels or not all(map(_has_marks, panels)):
        raise Refused("there is nothing to draw")
    headed = isinstance(drawing, Panels)
    return page_of(drawing.captions, [(part.captions.title if headed else "", _painting(part)) for part in panels])


def save(picture: Picture, path: Path) -> None:
    """Write a picture as its path's ending says, whole or not at all; the same drawing gives the same bytes.

    Raises:
        Refused: the ending names no form of picture.
        Misconfigured: it cannot be written there.
    """
    check_plot(path)
    write_file(path, content_of(picture, path.suffix.lower().removeprefix(".")))


def _has_marks(part: Bars | Lines | HeatMap | Quantiles | Forest) -> bool:
    if isinstance(part, Forest):
        return any(effects for _, effects in part.groups)
    series = part.rows if isinstance(part, HeatMap) else part.series
    return bool(series) and bool(series[0].marks)


def _painting(part: Bars | Lines | HeatMap | Quantiles | Forest) -> Painting:
    match part:
        case Bars():
            return bars.painting(part)
        case Lines():
            return lines.painting(part)
        case HeatMap():
            return heat.painting(part)
        case Quantiles():
            return quantiles.painting(part)
        case Forest():
            return forest.painting(part)
