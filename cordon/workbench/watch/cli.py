"""`cordon watch`: questions asked again on a schedule. Thin; every release is an ordinary, fully charged query."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cordon.accounting import epsilon
from cordon.analyst.progress import Teller, may_leave
from cordon.analyst.times import utc
from cordon.errors import Refused, Unavailable
from cordon.units import Rho
from cordon.workbench.options import (
    AttemptsOption,
    DryRunOption,
    FormatOption,
    OutputOption,
    ProfileOption,
    session,
    typed,
)
from cordon.workbench.output import Format, Sheet, check_output, write_sheet
from cordon.workbench.session import Session
from cordon.workbench.watch.account import Account
from cordon.workbench.watch.delivery import deliver
from cordon.workbench.watch.folder import Folder, Watches
from cordon.workbench.watch.plan import Wanted, YearPlan, check_secret, make_saved, year_plan
from cordon.workbench.watch.release import Came, Run, run_release
from cordon.workbench.watch.saved import Against, Natural, Saved
from cordon.workbench.watch.schedule import Every, named, next_slot, slot_of

AGAIN_SECONDS = 3_600.0
"""After so long the loop looks again where a release is due that no force has new records for, where nobody could be
reached, and where an alert was not taken.
"""

app = typer.Typer(
    help="Ask a saved question again on a schedule, and tell of significant change.",
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
)

NameArgument = Annotated[str, typer.Argument(help="Name of the watch.")]


@app.command()
def add(
    name: NameArgument,
    sql: Annotated[str, typer.Argument(help="One SELECT of counts or sums; '-' reads it from standard input.")],
    every: Annotated[Every, typer.Option("--every", help="How often to ask, at most: once in each.")],
    epsilon: Annotated[str, typer.Option("--epsilon", help="Privacy cost of a release per attempt.")],
    budget: Annotated[str, typer.Option("--budget", help="Epsilon that is set aside for each calendar year.")],
    purpose: Annotated[str, typer.Option("--purpose", help="Why you ask: a purpose code of the federation.")],
    attempts: AttemptsOption = None,
    against: Annotated[
        Against, typer.Option("--against", help="Compare with the last release, or the year before.")
    ] = Against.LAST,
    natural: Annotated[
        Natural, typer.Option("--natural", help="What beside noise explains a difference without an alert.")
    ] = Natural.POISSON,
    least_change: Annotated[
        str, typer.Option("--least-change", help="Leave changes out of alerts that are smaller, e.g. 10%.")
    ] = "0",
    alert_file: Annotated[
        Path | None, typer.Option("--alert-file", help="Append alerts to this file, a line of JSON each.")
    ] = None,
    webhook: Annotated[str | None, typer.Option("--webhook", help="POST alerts to this https address.")] = None,
    secret_file: Annotated[
        Path | None, typer.Option("--webhook-secret-file", help="Sign what is sent with this file's content.")
    ] = None,
    secret_env: Annotated[
        str | None, typer.Option("--webhook-secret-env", help="Sign it with this environment variable's value.")
    ] = None,
    dry_run: DryRunOption = False,
    form: FormatOption = Format.TABLE,
    profile: ProfileOption = None,
) -> None:
    """Save a question that `cordon watch run` asks again, and set a yearly budget aside for it. Asks nothing yet."""
    notes, now = Console(stderr=True), _now()
    _check_plain(form)
    wanted = Wanted(
        name, typed(sql), purpose, every, epsilon, budget, attempts, against, natural, least_change,
        _absolute(alert_file), webhook, _absolute(secret_file), secret_env,
    )  # fmt: skip
    with session(profile, notes) as opened:
        saved = make_saved(wanted, opened, now=now)
        check_secret(wanted, saved, dict(os.environ))
        planned = year_plan(saved, opened, Account(), now=now)
        if not dry_run:
            Watches(opened.client).add(saved)
    _show_plan(saved, planned, form)
    done = "nothing was kept, asked or spent" if dry_run else f"kept; 'cordon watch run {name}' asks when it is due"
    notes.print(done, highlight=False, markup=False)


@app.command("list")
def list_command(form: FormatOption = Format.TABLE, output: OutputOption = None, profile: ProfileOption = None) -> None:
    """List your watches, and what each has spent this year. Asks nobody."""
    notes, now = Console(stderr=True), _now()
    check_output(form, output)
    with session(profile, notes) as opened:
        watches = Watches(opened.client)
        rows = tuple(_listed(watches.open(name), now) for name in watches.names())
    columns = ("name", "every", "releases", "last", "next", "spent_epsilon", "budget_epsilon", "sql")
    _write(Sheet(columns, rows), form, output, "there is no watch yet")


@app.command()
def show(
    name: NameArgument, form: FormatOption = Format.TABLE, output: OutputOption = None, profile: ProfileOption = None
) -> None:
    """Show a watch: its releases so far, what it has spent, and what a year of it costs. Asks nobody."""
    notes, now = Console(stderr=True), _now()
    check_output(form, output)
    with session(profile, notes) as opened:
        folder = Watches(opened.client).open(name)
        account = folder.account()
        planned = year_plan(folder.saved, opened, account, now=now)
        alerts = folder.alerts()
    saved = folder.saved
    columns = ("slot", "at", "query", "outcome", "rho", "epsilon", "alerts")
    raised = [alert.query for alert in alerts]
    rows = tuple(
        (
            named(saved.every, release.slot), _time(release.at), release.query,
            "answered" if release.answered else "no answer" if release.settled else "open",
            str(Rho(release.nano)), _epsilon(release.nano, saved), raised.count(release.query),
        )
        for release in account.releases
    )  # fmt: skip
    about = {"watch": saved.model_dump(mode="json"), "year": planned.as_dict(), **_spent(saved, account, now)}

    def human(out: Console) -> None:
        out.print(_head(saved), highlight=False, markup=False, soft_wrap=True)
        planned.print(out)
        out.print(_spent_line(saved, account, now), highlight=False, markup=False, soft_wrap=True)
        _print_rows(columns, rows, out, "it was not asked yet")
        for alert in alerts:
            for line in alert.lines():
                out.print(line, highlight=False, markup=False, soft_wrap=True)

    write_sheet(Sheet(columns, rows, about), form, output, Console(), human)


@app.command()
def run(
    name: NameArgument,
    once: Annotated[
        bool, typer.Option("--once", help="Make the release that is due, if one is, and exit: for timers.")
    ] = False,
    anew: Annotated[
        bool, typer.Option("--anew", help="Ask and spend also where no force has loaded other records since.")
    ] = False,
    dry_run: DryRunOption = False,
    form: FormatOption = Format.TABLE,
    profile: ProfileOption = None,
) -> None:
    """Ask a watch's question when it is due, and tell of significant change; without --once until it is stopped."""
    notes = Console(stderr=True)
    _check_plain(form)
    if dry_run:
        with session(profile, notes) as opened:
            _rehearse(Watches(opened.client).open(name), opened, form, notes)
    elif once:
        _, came, _ = _one(name, profile, form, notes, anew=anew)
        if came.came is Came.FAILED:
            raise Refused(came.text, hint=f"'cordon follow {str(came.query_id)[:16]}' says more")
    else:
        asyncio.run(keep_running(lambda: _wait(_one(name, profile, form, notes, anew=anew)), notes))


@app.command()
def remove(name: NameArgument, profile: ProfileOption = None) -> None:
    """Stop a watch for good. What it has spent and found is put aside, and can still be read."""
    with session(profile, Console(stderr=True)) as opened:
        aside = Watches(opened.client).remove(name)
    sys.stdout.write(f"removed; its releases lie in {aside}\n")


async def keep_running(one: Callable[[], float], notes: Console, *, now: Callable[[], float] = time.time) -> None:
    """Run a watch whenever it is due, until it is stopped or has to stop.

    Args:
        one: a run; returns how many seconds from then on the next is due.
        now: seconds since 1970-01-01 UTC.

    Raises:
        CordonError: it cannot go on. A federation that cannot be reached is tried again.
    """
    loop = asyncio.get_running_loop()
    while True:
        try:
            wait = await loop.run_in_executor(None, one)
        except Unavailable as error:
            notes.print(f"warning: {error}; trying again later", style="yellow", highlight=False, markup=False)
            wait = AGAIN_SECONDS
        due = now() + wait
        # In short sleeps: the clock of a sleep may stand still while a machine does.
        while (left := due - now()) > 0:  # noqa: ASYNC110 - it is the clock that is waited for
            await asyncio.sleep(min(left, AGAIN_SECONDS))


def until_due(saved: Saved, account: Account, now: float) -> float:
    """Seconds until the next slot begins; where one is due already, until it is tried again.

    Args:
        now: seconds since 1970-01-01 UTC.
    """
    newest = account.newest_slot
    if newest is None or slot_of(saved.every, int(now)) > newest:
        return AGAIN_SECONDS
    day = next_slot(saved.every, newest)
    return max(1.0, datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() - now)


def _one(name: str, profile: str | None, form: Format, notes: Console, *, anew: bool) -> tuple[Folder, Run, int]:
    """One run, with what lies in the outbox delivered also where the run fails; and how many alerts were not taken."""

    def tell(text: str) -> None:
        notes.print(text, style="yellow" if text.startswith("warning") else "dim", highlight=False, markup=False)

    with session(profile, notes) as opened:
        folder = Watches(opened.client).open(name)
        teller = Teller()
        try:
            with may_leave(teller, notes), notes.status("") as status:
                teller.show = status.update
                came = run_release(opened, folder, now=_now(), anew=anew, tell=tell, on_event=teller)
            notes.print(came.text, highlight=False, markup=False, soft_wrap=True)
        finally:
            _tell_alerts(folder, form)
            waiting = deliver(folder, tell)
    return folder, came, waiting


def _wait(done: tuple[Folder, Run, int]) -> float:
    """Until the next run; alerts that were not taken are tried again before."""
    folder, _, waiting = done
    wait = until_due(folder.saved, folder.account(), time.time())
    return min(wait, AGAIN_SECONDS) if waiting else wait


def _tell_alerts(folder: Folder, form: Format) -> None:
    """To standard output, each alert at least once."""
    for alert in folder.alerts():
        if folder.is_delivered(alert, "stdout"):
            continue
        lines = [json.dumps(alert.body(), ensure_ascii=False)] if form is Format.JSON else alert.lines()
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
        folder.delivered(alert, "stdout")


def _rehearse(folder: Folder, opened: Session, form: Format, notes: Console) -> None:
    saved, now = folder.saved, _now()
    account = folder.account()
    planned = year_plan(saved, opened, account, now=now)
    _show_plan(saved, planned, form)
    notes.print(_spent_line(saved, account, now), highlight=False, markup=False, soft_wrap=True)
    newest = account.newest_slot
    due = newest is None or slot_of(saved.every, now) > newest
    when = "is due now" if due or newest is None else f"is due on {next_slot(saved.every, newest)}"
    notes.print(f"the next release {when}; nothing was asked and nothing was spent", highlight=False, markup=False)


def _show_plan(saved: Saved, planned: YearPlan, form: Format) -> None:
    out = Console()
    if form is Format.JSON:
        out.file.write(json.dumps({"watch": saved.model_dump(mode="json"), "year": planned.as_dict()}, indent=2) + "\n")
        return
    out.print(_head(saved), highlight=False, markup=False, soft_wrap=True)
    planned.print(out)


def _head(saved: Saved) -> str:
    return f"{saved.name}: {saved.sql}\nof {saved.dataset}, every {saved.every}, against {saved.against}"


def _now() -> int:
    return int(time.time())


def _check_plain(form: Format) -> None:
    if form not in (Format.TABLE, Format.JSON):
        raise Refused(f"this has no {form} form", hint="use --format table or json")


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.expanduser().absolute())


def _epsilon(nano: int, saved: Saved) -> float:
    return epsilon(Rho(nano), float(_delta(saved)))


def _delta(saved: Saved) -> float:
    over, _, under = saved.delta.partition("/")
    return int(over) / int(under or 1)


def _spent(saved: Saved, account: Account, now: int) -> dict[str, object]:
    year = max(utc(now).year, account.period)
    spent = account.spent(year)
    return {"period": year, "spent_rho": str(spent), "spent_epsilon": _epsilon(spent.nano, saved)}


def _spent_line(saved: Saved, account: Account, now: int) -> str:
    found = _spent(saved, account, now)
    return (
        f"written down for {found['period']}: rho {found['spent_rho']}, epsilon {found['spent_epsilon']:.4g}, of rho "
        f"{saved.budget}, epsilon {_epsilon(saved.budget_nano, saved):.4g}"
    )


def _listed(folder: Folder, now: int) -> tuple[str | int | float | None, ...]:
    saved, account = folder.saved, folder.account()
    newest = account.newest_slot
    return (
        saved.name, str(saved.every), len(account.answered),
        None if newest is None else named(saved.every, newest),
        "due" if newest is None else next_slot(saved.every, newest).isoformat(),
        _epsilon(account.spent(max(utc(now).year, account.period)).nano, saved),
        _epsilon(saved.budget_nano, saved), " ".join(saved.sql.split()),
    )  # fmt: skip


def _time(seconds: int) -> str:
    return utc(seconds).isoformat()


def _write(sheet: Sheet, form: Format, output: Path | None, empty: str) -> None:
    write_sheet(
        sheet, form, output, Console(), lambda out: _print_rows(sheet.columns, sheet.rows, out, empty)
    )  # fmt: skip


def _print_rows(columns: tuple[str, ...], rows: tuple[tuple[object, ...], ...], out: Console, empty: str) -> None:
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
