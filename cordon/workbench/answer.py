"""An answer as an analyst works with it: rows with intervals, who answered, what it cost, tables and pictures."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cordon.analyst.render import about_lines, answer_text
from cordon.analyst.rows import Estimate, Row
from cordon.workbench.extras import needed

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from matplotlib.figure import Figure

FRAMES = "frames"
"""Extra of the distribution that tables of other libraries need."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an answer."""

    name: str
    is_measure: bool


@dataclass(frozen=True, slots=True)
class AnswerCost:
    """What an answer has cost, at the federation's delta where it is an epsilon."""

    rho: str
    """Charged to each force for an attempt, in zCDP."""
    attempts: int
    epsilon: float
    """Charged over all attempts."""
    against_public: float
    against_colluders: float
    against_all_others: float
    year_share: float | None = None
    """Largest share of a force's year budget that it took, as far as the register's copy tells."""


@dataclass(frozen=True)
class Answer:
    """What a query came to. Everything done with it is post-processing, and costs no privacy."""

    document: Mapping[str, Any] = field(repr=False)
    """The answer as JSON has it, docs/query.md: nothing is left out."""

    @property
    def query_id(self) -> str:
        """Names the query in the register, in hexadecimal."""
        return str(self.document["query"])

    @property
    def sql(self) -> str:
        """What was asked."""
        return str(self.document["sql"])

    @property
    def dataset(self) -> str:
        """Name and version of the data set's contract."""
        return str(self.document["dataset"])

    @property
    def unit(self) -> str:
        """What is protected, in words."""
        return str(self.document["protected_unit"])

    @property
    def caveat(self) -> str:
        """What the protected unit does not promise; empty where there is nothing to say."""
        return str(self.document["caveat"])

    @property
    def notes(self) -> tuple[str, ...]:
        """What people must know to read the columns, in sentences."""
        return tuple(self.document.get("notes", ()))

    @property
    def answered(self) -> tuple[str, ...]:
        """The forces whose records are in the answer."""
        return tuple(self.document["answered"])

    @property
    def absent(self) -> dict[str, str]:
        """The forces that were asked and are not in the answer, each with the reason."""
        declined = {item["force"]: f"declined: {item['code']}" for item in self.document["declined"]}
        silent = dict.fromkeys(self.document["did_not_answer"], "did not answer")
        return declined | silent | dict.fromkeys(self.document["lost"], "lost on the way")

    @property
    def date(self) -> str:
        """Day on which it was opened, ISO 8601 in UTC; empty where an earlier version of Cordon has opened it."""
        return str(self.document.get("opened_at") or "")[:10]

    @property
    def about(self) -> tuple[str, ...]:
        """What must be known of it whatever is shown of it: the protected unit, who answered, cost, notes, query."""
        return (*about_lines(self.document), f"query {self.query_id[:16]}")

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """Keys and measures, in the order of the SELECT list."""
        return tuple(Column(column["name"], column["measure"]) for column in self.document["columns"])

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the columns that the answer is grouped by."""
        return tuple(column.name for column in self.columns if not column.is_measure)

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of the columns of estimates."""
        return tuple(column.name for column in self.columns if column.is_measure)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Keys as people read them, estimates with intervals; infinite where the noise gives no end."""
        return tuple(_row(row) for row in self.document["rows"])

    @property
    def cost(self) -> AnswerCost:
        """What it has cost."""
        levels = self.document["epsilon"]
        year = (self.document.get("budget") or {}).get("year")
        return AnswerCost(
            rho=str(self.document["rho"]),
            attempts=int(self.document["attempts_charged"]),
            epsilon=levels["charged"],
            against_public=levels["against_public"],
            against_colluders=levels["against_tolerated_colluders"],
            against_all_others=levels["against_all_others"],
            year_share=None if year is None else year["largest"]["share"],
        )

    def to_arrow(self) -> pa.Table:
        """The rows as an Arrow table: each measure with its interval's ends; everything else in the metadata.

        Raises:
            Misconfigured: pyarrow is not installed.
        """
        with needed(FRAMES, "a table for other programs"):
            from cordon.workbench import frames  # noqa: PLC0415
        return frames.to_arrow(self.document)

    def to_pandas(self) -> pd.DataFrame:
        """The rows as a pandas frame; everything else in its `attrs`.

        Raises:
            Misconfigured: pandas or pyarrow is not installed.
        """
        with needed(FRAMES, "a table for other programs"):
            from cordon.workbench import frames  # noqa: PLC0415
        return frames.to_pandas(self.document)

    def to_polars(self) -> pl.DataFrame:
        """The rows as a polars frame.

        Raises:
            Misconfigured: polars or pyarrow is not installed.
        """
        with needed(FRAMES, "a table for other programs"):
            from cordon.workbench import frames  # noqa: PLC0415
        return frames.to_polars(self.document)

    def plot(self, path: Path | str | None = None) -> Figure:
        """The picture that suits the rows, with every interval; also written to `path` where one is given.

        Raises:
            Misconfigured: matplotlib is not installed.
            Refused: the path's ending names no format, or there is nothing to draw.
        """
        with needed("plot", "a picture"):
            from cordon.workbench import plots  # noqa: PLC0415
        return plots.plot_answer(self, None if path is None else Path(path))

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)

    def __str__(self) -> str:
        """The table and its notes, as `cordon query` prints them."""
        return answer_text(self.document)

    def _repr_html_(self) -> str:
        """For notebooks."""
        return f"<pre>{html.escape(str(self))}</pre>"


def _row(row: Mapping[str, Any]) -> Row:
    values = tuple(_estimate(value) for value in row["values"])
    return Row(tuple(row["keys"]), values, row["note"], row.get("certainty"))


def _estimate(value: Mapping[str, float | None]) -> Estimate:
    parts = (value["estimate"], value["low"], value["high"], value.get("raw"))
    unbounded = (math.nan, -math.inf, math.inf, math.nan)
    estimate, low, high, raw = (
        otherwise if part is None else part for part, otherwise in zip(parts, unbounded, strict=True)
    )
    return Estimate(estimate, low, high, raw)
