"""A regression as a table for people, and as a sheet for programs."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cordon.analyst.render import print_whole
from cordon.workbench.answer import Answer
from cordon.workbench.output import Sheet, Value
from cordon.workbench.regress.model import Model
from cordon.workbench.regress.reading import about, conclusions, figure, limits
from cordon.workbench.regress.result import Coefficient, Regression

COLUMNS = ("term", "level", "reference", "coefficient", "low", "high", "noise_share", "p")
"""Of the sheet; docs/analysis/regress.md says what each is."""


def sheet_of(found: Regression, model: Model, answer: Answer) -> Sheet:
    """One line for each coefficient, the intercept first."""
    rows = tuple(_row(coefficient) for coefficient in found.coefficients)
    facts = {name: value for name, value in found.as_dict().items() if name != "coefficients"}
    read = {"concluded": list(conclusions(found, model)), "not_concluded": list(limits(found, model))}
    return Sheet(
        COLUMNS,
        rows,
        {"query": answer.query_id, "sql": answer.sql} | facts | read | {"about": list(about(found, answer))},
    )


def print_regression(found: Regression, model: Model, answer: Answer, out: Console) -> None:
    """The table, what can and cannot be concluded, and what must be known of the answer."""
    out.print(f"{found.formula}, in {found.unit}", highlight=False, markup=False, soft_wrap=True)
    if found.only:
        line = f"only records for which {' and '.join(found.only)}"
        out.print(line, highlight=False, markup=False, soft_wrap=True)
    print_whole(_table(found), out)
    out.print(f"\nintercept: {found.base}", highlight=False, markup=False, soft_wrap=True)
    out.print(
        f"records: {found.rows:,.0f} ({found.rows_low:,.0f} to {found.rows_high:,.0f}); "
        f"explained (R²): {_told(found.explained, '.1%')}; scatter: {_told(found.scatter, '.4g', found.unit)}",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
    for title, sentences in (
        ("What the records show", conclusions(found, model)),
        ("What they do not show", limits(found, model)),
    ):
        out.print(f"\n{title}", style="bold", highlight=False, markup=False)
        for sentence in sentences:
            out.print(f"- {sentence}", highlight=False, markup=False, soft_wrap=True)
    out.print("")
    for line in about(found, answer):
        out.print(line, highlight=False, markup=False, soft_wrap=True, style="dim")


def print_notes(found: Regression, model: Model, answer: Answer, notes: Console) -> None:
    """What belongs beside the rows, where the rows are for a program."""
    for line in (*conclusions(found, model), *limits(found, model), *about(found, answer)):
        notes.print(line, highlight=False, markup=False, soft_wrap=True, style="dim")


def _row(of: Coefficient) -> tuple[Value, ...]:
    figures = (of.estimate, of.low, of.high, of.noise_share, of.p_value)
    return (of.term, of.level, of.reference, *(value if math.isfinite(value) else None for value in figures))


def _table(found: Regression) -> Table:
    table = Table("term", "compared with", box=None, pad_edge=False)
    for name in ("coefficient", "95 % interval", "of it noise", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    for of in found.coefficients:
        told = of.is_told
        span = f"{figure(of.low, of)} to {figure(of.high, of)}" if told else "any value"
        noise = f"{100 * of.noise_share:.0f} %" if told else ""
        cells = (of.label, of.reference, figure(of.estimate, of), span, noise, _p(of))
        table.add_row(*map(Text, cells))
    return table


def _told(value: float, form: str, unit: str = "") -> str:
    if math.isnan(value):
        return "cannot be told"
    return f"{value:{form}} {unit}".strip().replace("%", " %")


def _p(of: Coefficient) -> str:
    if not of.is_told or math.isnan(of.p_value):
        return ""
    return "<0.0001" if of.p_value < 1e-4 else f"{of.p_value:.4f}"
