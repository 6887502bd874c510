"""A picture as the bytes of a file, the same each time, with what it shows in words inside."""

from __future__ import annotations

import io
import threading

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.text import Text

_ONE_AT_A_TIME = threading.Lock()
"""The salt of an SVG's names is a setting of the whole process."""


def content_of(figure: Figure, form: str) -> bytes:
    """The bytes of a PNG or SVG file.

    Args:
        form: png or svg.
    """
    said = {part: _said(figure, part) for part in ("title", "notes")}
    buffer = io.BytesIO()
    if form == "svg":
        about = {"Title": said["title"], "Description": said["notes"], "Creator": "Cordon", "Date": None}
        with _ONE_AT_A_TIME, mpl.rc_context({"svg.hashsalt": "cordon", "svg.fonttype": "path"}):
            figure.savefig(buffer, format="svg", metadata=about)
    else:
        about = {"Title": said["title"], "Description": said["notes"], "Software": "Cordon"}
        figure.savefig(buffer, format="png", metadata=about)
    return buffer.getvalue()


def _said(figure: Figure, name: str) -> str:
    found = figure.findobj(lambda artist: artist.get_gid() == name)
    return " ".join(" ".join(text.get_text().split()) for text in found if isinstance(text, Text))
