"""Pictures of drawings."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from cordon.errors import Refused
from cordon.workbench.answer import Answer


def plot_answer(answer: Answer, path: Path | None) -> Figure:
    """The picture that suits an answer's rows; also written to `path` where one is given."""
    raise Refused(f"there are no pictures yet: {answer.query_id[:16]} {path}")
