"""A disparity as a table for people, and as a sheet for programs."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cordon.analyst.render import print_whole
from cordon.workbench.disparity.reading import about, conclusions, ends, figure, limits
from cordon.workbench.disparity.result import Comparison, Disparity, Rate, Span
from cordon.workbench.output import Sheet, Value

_NOISE = "95 %, noise alone"

COLUMNS = (
    "force", "group", "records", "over", "rate", "rate low", "rate high",
    "ratio", "ratio low", "ratio high", "together low", "together high", "process low", "process high",
    "difference", "difference low", "difference high", "p", "p adjusted", "process p adjusted",
    "tipping", "unknown low", "unknown high", "finding",
)  # fmt: skip
"""Of the sheet; docs/analysis/disparity.md says what each is."""


def sheet_of(found: Disparity) -> Sheet:
    """One line for each rate, the reference group's too; its comparison where there is one."""
    compared = {(each.force, each.group): each for each in found.comparisons}
    rows = tuple(_row(rate, compared.get((rate.force, rate.group))) for rate in found.rates)
    facts = {name: value for name, value in found.as_dict().items() if name not in ("rates", "comparisons")}
    read = {"concluded": list(conclusions(found)), "not_concluded": list(limits(found)), "about": list(about(found))}
    return Sheet(COLUMNS, rows, facts | read)


def print_disparity(found: Disparity, out: Console) -> None:
    """The table, what can and cannot be concluded, and what must be known of the answer."""
    print_whole(_table(found), out)
    for title, sentences in (("What the records show", conclusions(found)), ("What they do not show", limits(found))):
        out.print(f"\n{title}", style="bold", highlight=False, markup=False)
        for sentence in sentences:
            out.print(f"- {sentence}", highlight=False, markup=False, soft_wrap=True)
    out.print("")
    for line in about(found):
        out.print(line, highlight=False, markup=False, soft_wrap=True, style="dim")


def print_notes(found: Disparity, notes: Console) -> None:
    """What belongs beside the rows, where the rows are for a program."""
    for line in (*conclusions(found), *limits(found), *about(found)):
        notes.print(line, highlight=False, markup=False, soft_wrap=True, style="dim")


def _row(rate: Rate, one: Comparison | None) -> tuple[Value, ...]:
    compared: tuple[Value, ...] = ("reference" if rate.is_reference else "not compared",)
    values: list[float | None] = [None] * 16
    if one is not None:
        values = [
            *_parts(one.ratio), one.together_low, one.together_high, one.process_low, one.process_high,
            *_parts(one.difference), one.p, one.p_adjusted, one.process_p_adjusted, one.tipping,
            one.unknown_low, one.unknown_high,
        ]  # fmt: skip
        compared = (one.finding,)
    numbers = (rate.records.estimate, rate.over, *_parts(rate.rate), *values)
    return (rate.force, rate.group, *map(_number, numbers), *compared)


def _parts(span: Span) -> tuple[float, float, float]:
    return span.estimate, span.low, span.high


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _table(found: Disparity) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    with_force = found.asked.by_force
    for name, is_left in (
        *([("force", True)] if with_force else []),
        (found.asked.by.name, True),
        (found.unit, False), (_NOISE, False), (f"times {found.reference}", False), (_NOISE, False),
        ("95 %, with chance", False), ("if unknown", False), ("p adjusted", False), ("finding", True),
    ):  # fmt: skip
        table.add_column(Text(name), justify="left" if is_left else "right", no_wrap=True)
    compared = {(each.force, each.group): each for each in found.comparisons}
    for rate in found.rates:
        one = compared.get((rate.force, rate.group))
        cells = [*([rate.force] if with_force else []), rate.group, _marked(rate.rate), ends(rate.rate)]
        cells += _compared(one) if one is not None else ["", "", "", "", "", _why(rate)]
        # Not strings: a label must not be read as markup.
        table.add_row(*map(Text, cells))
    return table


def _compared(one: Comparison) -> list[str]:
    process = Span(one.ratio.estimate, one.process_low, one.process_high)
    unknown = Span(one.ratio.estimate, one.unknown_low, one.unknown_high)
    p = "< 0.001" if one.p_adjusted < 0.001 else f"{one.p_adjusted:.3f}"
    return [_marked(one.ratio), ends(one.ratio), ends(process), ends(unknown), p, one.finding]


def _marked(span: Span) -> str:
    return f"{figure(span.estimate, span)} ?" if span.is_noisy else figure(span.estimate, span)


def _why(rate: Rate) -> str:
    if rate.is_reference:
        return "reference"
    return "residents not counted" if math.isnan(rate.over) else "not compared"
