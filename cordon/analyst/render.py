"""Show an answer: as a table for people, as CSV for spreadsheets, as JSON for programs."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from cordon.analyst.budgets import share_line

MOST_NAMES = 60

ALL = "(all)"
"""What stands in the key of a total."""

RANK_COLUMN = "rank is right"


_ANY_WIDTH = 400
_COMPUTED = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a formula begins with, as spreadsheets read CSV."""
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


class Format(StrEnum):
    """How an answer is printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def print_answer(answer: dict[str, Any], form: Format, out: Console, notes: Console) -> None:
    """Print an answer.

    Args:
        answer: from `OpenedAnswer.as_dict`.
        out: standard output.
        notes: where what belongs beside the rows goes, when the rows are for a program.
    """
    if form is Format.JSON:
        out.file.write(json.dumps(answer, indent=2) + "\n")
    elif form is Format.CSV:
        out.file.write(_csv(answer))
        _print_notes(answer, notes)
    else:
        _print_table(answer, out)
        _print_notes(answer, out)


def answer_text(answer: Mapping[str, Any]) -> str:
    """An answer as `print_answer` shows it to people, in lines of any length."""
    out = Console(file=io.StringIO(), width=_ANY_WIDTH)
    print_answer(dict(answer), Format.TABLE, out, out)
    assert isinstance(out.file, io.StringIO)  # noqa: S101 - tells the type checker
    return out.file.getvalue()


def print_whole(table: Table, out: Console) -> None:
    """Print a table with all that is in it: where it is wider than the terminal, lines go on in the next one, since
    a figure that is cut says nothing, or another figure.
    """
    needs = Measurement.get(out, out.options.update(max_width=_ANY_WIDTH), table).maximum
    if needs <= out.width:
        out.print(table, highlight=False)
        return
    wide = Console(file=out.file, width=needs, no_color=out.no_color, force_terminal=out.is_terminal)
    wide.print(table, highlight=False)


def _print_table(answer: dict[str, Any], out: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in answer["columns"]:
        table.add_column(Text(column["name"]), justify="right" if column["measure"] else "left", no_wrap=True)
        if column["measure"]:
            table.add_column("95 % interval", justify="right", no_wrap=True)
    ranked = any(row.get("certainty") is not None for row in answer["rows"])
    if ranked:
        table.add_column(RANK_COLUMN, justify="right", no_wrap=True)
    for row in answer["rows"]:
        cells = [*_table_cells(answer["columns"], row), *([_certainty(row)] if ranked else [])]
        # Not strings: what somebody else has published must not be read as markup.
        table.add_row(*map(Text, cells))
    print_whole(table, out)


def too_noisy(value: dict[str, Any]) -> bool:
    """Whether an estimate's interval is at least as wide as the estimate itself, or has no end."""
    if any(value[part] is None for part in ("estimate", "low", "high")):
        return True
    return bool(value["high"] - value["low"] >= abs(value["estimate"]))


def _table_cells(columns: list[dict[str, Any]], row: dict[str, Any]) -> Iterator[str]:
    keys, values = iter(row["keys"]), iter(row["values"])
    for column in columns:
        if not column["measure"]:
            yield _key(next(keys))
        elif row["note"]:
            yield from (row["note"], "")
        else:
            value = next(values)
            digits = _digits(value)
            estimate = _number(value["estimate"], digits)
            yield f"{estimate} ?" if estimate and too_noisy(value) else estimate or "?"
            yield _interval(value, digits)


def _interval(value: dict[str, Any], digits: int) -> str:
    low, high = value["low"], value["high"]
    if low is None and high is None:
        return "any value"
    if low is None:
        return f"up to {_number(high, digits)}"
    return f"from {_number(low, digits)}" if high is None else f"{_number(low, digits)} to {_number(high, digits)}"


def _key(key: str | None) -> str:
    return ALL if key is None else key


def _certainty(row: dict[str, Any]) -> str:
    certainty = row.get("certainty")
    return "" if certainty is None else f"{100 * certainty:.0f} %"


def csv_text(text: str) -> str:
    """A text as it stands in CSV: with an apostrophe before what a spreadsheet would compute, and in lines that end as
    CSV's own do.
    """
    shown = f"'{text}" if text.startswith(_COMPUTED) and not _NUMBER.fullmatch(text) else text
    # A lone carriage return ends a line for a spreadsheet, and is not put in quotes.
    return shown.replace("\r\n", "\n").replace("\r", "\n")


def one_of_each(names: Sequence[str]) -> list[str]:
    """Names of columns, with `(2)` after the second of a name and so on: frames and files know columns by name."""
    taken = set(names)
    found: list[str] = []
    for name in names:
        other, number = name, 1
        while other in found or (number > 1 and other in taken):
            number += 1
            other = f"{name} ({number})"
        found.append(other)
    return found


def _csv(answer: dict[str, Any]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    header: list[str] = []
    for column in answer["columns"]:
        name = column["name"]
        header += [name, f"{name} low", f"{name} high"] if column["measure"] else [name]
    ranked = any(row.get("certainty") is not None for row in answer["rows"])
    header = [*header, *(["rank certainty"] if ranked else []), "note"]
    writer.writerow(map(csv_text, one_of_each(header)))
    for row in answer["rows"]:
        rank = [_plain(row.get("certainty"))] if ranked else []
        writer.writerow([*_csv_cells(answer["columns"], row), *rank, row["note"]])
    return buffer.getvalue()


def _csv_cells(columns: list[dict[str, Any]], row: dict[str, Any]) -> Iterator[str]:
    keys, values = iter(row["keys"]), iter(row["values"])
    for column in columns:
        if not column["measure"]:
            yield csv_text(_key(next(keys)))
        elif row["note"]:
            yield from ("", "", "")
        else:
            value = next(values)
            yield from (_plain(value[part]) for part in ("estimate", "low", "high"))


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.10g}"


def about_lines(answer: Mapping[str, Any]) -> list[str]:
    """What must be known of an answer, whatever is shown of it: protected unit, who answered, cost."""
    caveat = [f"           {answer['caveat']}"] if answer["caveat"] else []
    lines = [f"data set: {answer['dataset']}", f"protected: {answer['protected_unit']}", *caveat]
    return [*lines, *_people_lines(answer), *_cost_lines(answer), *answer.get("notes", [])]


def _print_notes(answer: dict[str, Any], out: Console) -> None:
    lines = about_lines(answer)
    if any(too_noisy(value) for row in answer["rows"] for value in row["values"]):
        lines.append("'?' marks estimates that are not larger than their interval is wide: too noisy to read")
    lines.append(f"checked: {answer['checked']}")
    lines.append(f"query {answer['query'][:16]}")
    for line in lines:
        out.print(line, highlight=False, markup=False, soft_wrap=True, style="dim")


def _people_lines(answer: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    answered = answer["answered"]
    lines.append(f"answered ({len(answered)}): {_names(answered)}")
    by_code: dict[str, list[dict[str, str]]] = {}
    for declined in answer["declined"]:
        by_code.setdefault(declined["code"], []).append(declined)
    for code, group in sorted(by_code.items()):
        texts = sorted({item["text"] for item in group if item["text"]})
        why = f" ({'; '.join(texts)})" if texts else ""
        word = "waits" if code == "awaiting approval" else "declined"
        lines.append(f"{word}, {code} ({len(group)}): {_names([item['force'] for item in group])}{why}")
    if answer["did_not_answer"]:
        lines.append(f"did not answer ({len(answer['did_not_answer'])}): {_names(answer['did_not_answer'])}")
    if answer["lost"]:
        lines.append(f"lost on the way ({len(answer['lost'])}): {_names(answer['lost'])}")
    return lines


def _cost_lines(answer: Mapping[str, Any]) -> list[str]:
    cost = answer["epsilon"]
    attempts = answer["attempts_charged"]
    over = f" over {attempts} attempts" if attempts > 1 else ""
    levels = (
        f"epsilon {cost['against_public']:.3g} against the public, "
        f"{cost['against_tolerated_colluders']:.3g} against colluding forces, "
        f"{cost['against_all_others']:.3g} if every other party colludes"
    )
    lines = [
        f"cost: epsilon {cost['charged']:.3g} (rho {answer['rho']} an attempt{over})",
        f"one attempt gives {levels}",
        share_line(answer.get("budget")),
    ]
    if "published" in answer:
        published = answer["published"]
        lines.append(f"published by {published['by']}, in leaf {published['leaf']} of the register")
    return [line for line in lines if line]


def _names(forces: list[str]) -> str:
    shown = ", ".join(forces[:MOST_NAMES])
    return shown + (", …" if len(forces) > MOST_NAMES else "")


def _digits(value: dict[str, Any]) -> int:
    """Decimals that tell an interval's ends apart to about a tenth of its width; none for counts of many."""
    low, high = value["low"], value["high"]
    width = None if low is None or high is None else high - low
    if not width or not 0 < width < math.inf:
        return 0 if float(value["estimate"] or 0).is_integer() else 4
    return max(0, min(6, 1 - math.floor(math.log10(width))))


def _number(value: float | None, digits: int) -> str:
    if value is None:
        return ""
    text = f"{value:,.{digits}f}"
    return text.removeprefix("-") if not any(figure in "123456789" for figure in text) else text
