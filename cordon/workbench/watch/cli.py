"""`cordon watch`: questions asked again on a schedule. Thin; every release is an ordinary, fully charged query."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cordon.analyst.progress import Teller, may_leave
from cordon.errors import Refused, Unavailable
from cordon.units import Rho
from cordon.workbench.extras import needed
from cordon.workbench.options import (
    AttemptsOption,
    DryRunOption,
    FormatOption,
    OutputOption,
    PlotOption,
    ProfileOption,
    session,
    typed,
)
from cordon.workbench.output import Format, Sheet, check_output, check_plot, write_sheet
from cordon.workbench.session import Session
from cordon.workbench.watch.account import Account
from cordon.workbench.watch.checks import check_file, check_secret
from cordon.workbench.watch.delivery import deliver
from cordon.workbench.watch.drawing import Point, drawing_of
from cordon.workbench.watch.folder import Folder, Watches
from cordon.workbench.watch.loop import AGAIN_SECONDS, keep_running, until_due
from cordon.workbench.watch.plan import Wanted, cautions_of, make_saved, year_plan
from cordon.workbench.watch.release import Came, Run, run_release
from cordon.workbench.watch.saved import Against
from cordon.workbench.watch.schedule import Every, named, next_slot, slot_of
from cordon.workbench.watch.shown import (
    LISTED,
    epsilon_of,
    head,
    listed,
    print_rows,
    show_alert,
    show_plan,
    spent,
    spent_line,
    time_of,
    write_rows,
)

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
        str,
        typer.Option("--natural", help="What explains a difference beside noise: poisson, none, or N times poisson."),
    ] = "poisson",
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
        check_file(alert_file)
        planned = year_plan(saved, opened, Account(), now=now)
        explanation = opened.explain(saved.sql, purpose=purpose, epsilon=saved.epsilon, attempts=saved.attempts)
        told = cautions_of(saved, opened)
        if not dry_run:
            Watches(opened.client).add(saved)
    for text in told:
        notes.print(text, highlight=False, markup=False, soft_wrap=True)
    show_plan(saved, planned, form, explanation)
    done = "nothing was kept, asked or spent" if dry_run else f"kept; 'cordon watch run {name}' asks when it is due"
    notes.print(done, highlight=False, markup=False)


@app.command("list")
def list_command(form: FormatOption = Format.TABLE, output: OutputOption = None, profile: ProfileOption = None) -> None:
    """List your watches, and what each has spent this year. Asks nobody."""
    notes, now = Console(stderr=True), _now()
    check_output(form, output)
    with session(profile, notes) as opened:
        watches = Watches(opened.client)
        rows = tuple(listed(watches, name, now) for name in watches.names())
    write_rows(Sheet(LISTED, rows), form, output, "there is no watch yet")


@app.command()
def show(
    name: NameArgument,
    plot: PlotOption = None,
    form: FormatOption = Format.TABLE,
    output: OutputOption = None,
    profile: ProfileOption = None,
) -> None:
    """Show a watch: its releases so far, what it has spent, and what a year of it costs. Asks nobody."""
    notes, now = Console(stderr=True), _now()
    check_output(form, output)
    check_plot(plot, output)
    with session(profile, notes) as opened:
        folder = Watches(opened.client).open(name)
        account = folder.account()
        planned = year_plan(folder.saved, opened, account, now=now)
        alerts, damaged = folder.outbox()
        for text in damaged:
            notes.print(f"warning: {text}", style="yellow", highlight=False, markup=False, soft_wrap=True)
        if plot is not None:
            _draw(opened, folder, plot, now)
    saved = folder.saved
    columns = ("slot", "at", "query", "outcome", "rho", "epsilon", "alerts")
    raised = [alert.query for alert in alerts]
    rows = tuple(
        (
            named(saved.every, release.slot), time_of(release.at), release.query,
            "answered" if release.answered else "no answer" if release.settled else "open",
            str(Rho(release.nano)), epsilon_of(release.nano, saved), raised.count(release.query),
        )
        for release in account.releases
    )  # fmt: skip
    about = {"watch": saved.model_dump(mode="json"), "year": planned.as_dict(), **spent(saved, account, now)}

    def human(out: Console) -> None:
        out.print(head(saved), highlight=False, markup=False, soft_wrap=True)
        planned.print(out)
        out.print(spent_line(saved, account, now), highlight=False, markup=False, soft_wrap=True)
        print_rows(columns, rows, out, "it was not asked yet")
        for alert in alerts:
            for line in alert.lines():
                out.print(line, highlight=False, markup=False, soft_wrap=True)

    write_sheet(Sheet(columns, rows, about), form, output, Console(), human)


def _draw(opened: Session, folder: Folder, plot: Path, now: int) -> None:
    with needed("plot", "a picture"):
        from cordon.workbench import plots  # noqa: PLC0415
    saved, account = folder.saved, folder.account()
    points = [
        Point(named(saved.every, release.slot), opened.recall(str(release.query))) for release in account.answered
    ]
    plots.plot(drawing_of(saved, points, folder.alerts(), spent_line(saved, account, now)), plot)


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
        _, came, waiting = _one(name, profile, form, notes, anew=anew)
        if came.came is Came.FAILED:
            raise Refused(came.text, hint=f"'cordon follow {str(came.query_id)[:16]}' says more")
        if waiting:
            raise Unavailable(
                f"{waiting} alerts were not taken" if waiting > 1 else "an alert was not taken",
                hint="they are kept, and sent again at the next run",
            )
    else:
        asyncio.run(keep_running(lambda: _wait(_one(name, profile, form, notes, anew=anew)), notes))


@app.command()
def remove(name: NameArgument, profile: ProfileOption = None) -> None:
    """Stop a watch for good. What it has spent and found is put aside, and can still be read."""
    with session(profile, Console(stderr=True)) as opened:
        aside = Watches(opened.client).remove(name)
    sys.stdout.write(f"removed; its releases lie in {aside}\n")


def _one(name: str, profile: str | None, form: Format, notes: Console, *, anew: bool) -> tuple[Folder, Run, int]:
    """One run, with what lies in the outbox delivered also where the run fails; and how many alerts were not taken."""

    def tell(text: str) -> None:
        style = "yellow" if text.startswith("warning") else "dim"
        notes.print(text, style=style, highlight=False, markup=False, soft_wrap=True)

    with session(profile, notes) as opened:
        folder = Watches(opened.client).open(name)
        for damaged in folder.outbox()[1]:
            tell(f"warning: an alert is passed over: {damaged}")
        teller = Teller()
        try:
            with may_leave(teller, notes), notes.status("") as status:
                teller.show = status.update
                came = run_release(opened, folder, now=_now(), anew=anew, tell=tell, on_event=teller)
            notes.print(came.text, highlight=False, markup=False, soft_wrap=True)
        finally:
            waiting = deliver(folder, tell, show=lambda alert: show_alert(alert, form))
    return folder, came, waiting


def _wait(done: tuple[Folder, Run, int]) -> float:
    """Until the next run; alerts that were not taken are tried again before."""
    folder, _, waiting = done
    wait = until_due(folder.saved, folder.account(), time.time())
    return min(wait, AGAIN_SECONDS) if waiting else wait


def _rehearse(folder: Folder, opened: Session, form: Format, notes: Console) -> None:
    saved, now = folder.saved, _now()
    account = folder.account()
    planned = year_plan(saved, opened, account, now=now)
    show_plan(saved, planned, form)
    notes.print(spent_line(saved, account, now), highlight=False, markup=False, soft_wrap=True)
    newest = account.newest_slot
    due = newest is None or slot_of(saved.every, now) > newest
    when = "is due now" if due or newest is None else f"is due on {next_slot(saved.every, newest)}"
    notes.print(f"the next release {when}; nothing was asked and nothing was spent", highlight=False, markup=False)


def _now() -> int:
    return int(time.time())


def _check_plain(form: Format) -> None:
    if form not in (Format.TABLE, Format.JSON):
        raise Refused(f"this has no {form} form", hint="use --format table or json")


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.expanduser().absolute())
