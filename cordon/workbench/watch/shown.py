"""A watch on a screen, and its rows for programs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cordon.accounting import epsilon
from cordon.analyst.times import utc
from cordon.errors import CordonError, Unavailable
from cordon.units import Rho, exact_number
from cordon.workbench.explanation import Explanation
from cordon.workbench.output import Format, Sheet, Value, write_sheet
from cordon.workbench.watch.account import Account
from cordon.workbench.watch.alert import Alert
from cordon.workbench.watch.delivery import write_all
from cordon.workbench.watch.folder import Watches
from cordon.workbench.watch.plan import YearPlan, least_seen
from cordon.workbench.watch.saved import Saved
from cordon.workbench.watch.schedule import named, next_slot

LISTED = ("name", "every", "releases", "last", "next", "spent_epsilon", "budget_epsilon", "sql", "damaged_alerts")


def show_alert(alert: Alert, form: Format) -> None:
    """To standard output, whole or not at all.

    Raises:
        Unavailable: nobody takes it there.
    """
    lines = [json.dumps(alert.body(), ensure_ascii=False)] if form is Format.JSON else alert.lines()
    text = "".join(f"{line}\n" for line in lines)
    try:
        _put(text)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it is closed"
        raise Unavailable(f"standard output did not take it: {why}") from None


def _put(text: str) -> None:
    sys.stdout.flush()
    try:
        handle = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    # Past the buffer: what stayed in it would be written, and fail, once more when the program ends.
    write_all(handle, text.encode(sys.stdout.encoding or "utf-8", "backslashreplace"))


def show_plan(saved: Saved, planned: YearPlan, form: Format, explanation: Explanation | None = None) -> None:
    """What a watch is, and what a year of it costs; of a new one also how exact it would be."""
    out = Console()
    least = {} if explanation is None else least_seen(saved, explanation)
    if form is Format.JSON:
        plan = {"watch": saved.model_dump(mode="json"), "year": planned.as_dict(), "least_seen": least}
        release = {} if explanation is None else {"release": explanation.facts}
        out.file.write(json.dumps(plan | release, indent=2) + "\n")
        return
    out.print(head(saved), highlight=False, markup=False, soft_wrap=True)
    planned.print(out)
    for column, difference in least.items():
        text = f"a cell of {column} must differ by more than {difference:,.4g} to be told from noise"
        out.print(text, highlight=False, markup=False, soft_wrap=True)


def head(saved: Saved) -> str:
    """A watch in two lines."""
    return f"{saved.name}: {saved.sql}\nof {saved.dataset}, every {saved.every}, against {saved.against}"


def epsilon_of(nano: int, saved: Saved) -> float:
    """An amount of nano-rho as epsilon, at the federation's delta."""
    return epsilon(Rho(nano), float(exact_number(saved.delta)))


def spent(saved: Saved, account: Account, now: int) -> dict[str, object]:
    """What is written down for the year that is used now."""
    year = max(utc(now).year, account.period)
    spent = account.spent(year)
    return {"period": year, "spent_rho": str(spent), "spent_epsilon": epsilon_of(spent.nano, saved)}


def spent_line(saved: Saved, account: Account, now: int) -> str:
    """The same in a sentence."""
    found = spent(saved, account, now)
    return (
        f"written down for {found['period']}: rho {found['spent_rho']}, epsilon {found['spent_epsilon']:.4g}, of rho "
        f"{saved.budget}, epsilon {epsilon_of(saved.budget_nano, saved):.4g}"
    )


def listed(watches: Watches, name: str, now: int) -> tuple[Value, ...]:
    """A watch as a row of `LISTED`; a damaged one is named, and stops nothing."""
    try:
        folder = watches.open(name)
        saved, account = folder.saved, folder.account()
    except CordonError as error:
        return (name, "damaged", *[None] * 5, f"{error}; 'cordon watch remove {name}' puts it aside", None)
    newest = account.newest_slot
    return (
        saved.name, str(saved.every), len(account.answered),
        None if newest is None else named(saved.every, newest),
        "due" if newest is None else next_slot(saved.every, newest).isoformat(),
        epsilon_of(account.spent(max(utc(now).year, account.period)).nano, saved),
        epsilon_of(saved.budget_nano, saved), " ".join(saved.sql.split()),
        len(folder.outbox()[1]),
    )  # fmt: skip


def time_of(seconds: int) -> str:
    """A time, ISO 8601 in UTC."""
    return utc(seconds).isoformat()


def write_rows(sheet: Sheet, form: Format, output: Path | None, empty: str) -> None:
    """Write rows as they are asked for."""
    write_sheet(
        sheet, form, output, Console(), lambda out: print_rows(sheet.columns, sheet.rows, out, empty)
    )  # fmt: skip


def print_rows(columns: tuple[str, ...], rows: tuple[tuple[object, ...], ...], out: Console, empty: str) -> None:
    """Print rows for people; `empty` where there are none."""
    if not rows:
        out.print(empty, highlight=False)
        return
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    out.print(table, highlight=False)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
