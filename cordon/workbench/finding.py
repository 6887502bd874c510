"""What was concluded from an answer, whichever analysis it was, and how it is shown, drawn and handed on."""

from __future__ import annotations

import html
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rich.console import Console

from cordon.workbench.answer import FRAMES, Answer
from cordon.workbench.drawing import Drawing
from cordon.workbench.extras import needed
from cordon.workbench.output import Format, Sheet, standard_output, write_sheet

if TYPE_CHECKING:
    import pyarrow as pa

    from cordon.workbench.plots.page import Picture

_ANY_WIDTH = 400

Found = TypeVar("Found")
Print = Callable[[Console], None]


@dataclass(frozen=True)
class Finding(Generic[Found]):
    """The result of an analysis. All of it is post-processing of one answer, and costs no privacy."""

    found: Found
    """The result itself, with what its own analysis can say of it."""
    answer: Answer = field(repr=False)
    sheet: Sheet = field(repr=False)
    """As rows for programs; what was concluded and what not stands in `about`."""
    reading: Print = field(repr=False)
    """Prints the table, what can and cannot be concluded, and what must be known of the answer."""
    notes: Print = field(repr=False)
    """Prints what belongs beside the rows, where the rows are for a program."""
    drawing: Callable[[], Drawing] = field(repr=False)
    """What its picture shows."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return self.sheet.as_dict()

    def to_arrow(self) -> pa.Table:
        """The rows as an Arrow table; everything else in the metadata.

        Raises:
            Misconfigured: pyarrow is not installed.
        """
        with needed(FRAMES, "a table for other programs"):
            from cordon.workbench import frames  # noqa: PLC0415
        return frames.sheet_of(self.sheet.columns, self.sheet.rows, self.sheet.about)

    def plot(self, path: Path | str | None = None) -> Picture:
        """The picture that suits it, with every interval; also written to `path` where one is given.

        Raises:
            Misconfigured: matplotlib is not installed, or it cannot be written there.
            Refused: the path's ending names no form of picture, or there is nothing to draw.
        """
        with needed("plot", "a picture"):
            from cordon.workbench import plots  # noqa: PLC0415
        return plots.plot(self.drawing(), None if path is None else Path(path))

    def __str__(self) -> str:
        """As the command line prints it, in lines of any length."""
        out = Console(file=io.StringIO(), width=_ANY_WIDTH)
        self.reading(out)
        assert isinstance(out.file, io.StringIO)  # noqa: S101 - tells the type checker
        return out.file.getvalue()

    def _repr_html_(self) -> str:
        """For notebooks."""
        return f"<pre>{html.escape(str(self))}</pre>"


def show(finding: Finding[Any], form: Format, output: Path | None, plot: Path | None, notes: Console) -> None:
    """What a command does with what it has found: write it, and draw it where that is asked for.

    Args:
        output: a file; None for standard output.
        plot: a picture's file; None for no picture.
        notes: where what belongs beside the rows goes.

    Raises:
        CordonError: it cannot be written there, or a library is not installed.
    """
    write_sheet(finding.sheet, form, output, standard_output(), finding.reading)
    if form is Format.CSV:
        finding.notes(notes)
    if plot is not None:
        finding.plot(plot)
        notes.print(f"drawn to {plot}", style="dim", highlight=False, markup=False)
