"""`cordon trend`: what an analyst types. A thin layer over the session and this package's pure parts."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from cordon.workbench.extras import needed
from cordon.workbench.finding import show
from cordon.workbench.options import (
    AnewOption,
    AttemptsOption,
    DryRunOption,
    EpsilonOption,
    FormatOption,
    FromQueryOption,
    OutputOption,
    PlotOption,
    ProfileOption,
    PurposeOption,
    Terms,
    WaitOption,
    WithinOption,
    asked,
    rehearsed,
    session,
)
from cordon.workbench.output import Format, check_output, check_plot, standard_output
from cordon.workbench.trend.periods import Grain
from cordon.workbench.trend.statement import Wanted

command = typer.Typer(
    help="Show what grows and what falls, and what noise and chance would not explain.",
    pretty_exceptions_enable=False,
    add_completion=False,
)


@command.command()
def trend_command(
    dataset: Annotated[str, typer.Argument(help="The data set, or one version of it as nominals.v2.")],
    by: Annotated[
        str | None, typer.Option("--by", help="One series for each of these: a category, force, or BIN(number, width).")
    ] = None,
    grain: Annotated[
        Grain | None, typer.Option("--grain", help="How long each place of a series lasts. [default: month]")
    ] = None,
    measure: Annotated[
        str | None, typer.Option("--measure", help="What is followed, in SQL, e.g. AVG(age). [default: COUNT(*)]")
    ] = None,
    where: Annotated[str | None, typer.Option("--where", help="Only records for which this holds, in SQL.")] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="First month, as 2019-04. [default: the data set's first]")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="Last month. [default: the data set's last]")] = None,
    date: Annotated[
        str | None, typer.Option("--date", help="The column of dates. [default: the data set's first]")
    ] = None,
    season: Annotated[
        bool, typer.Option("--season/--no-season", help="Keep what comes back every year apart from changes.")
    ] = True,
    from_query: FromQueryOption = None,
    purpose: PurposeOption = None,
    epsilon: EpsilonOption = None,
    within: WithinOption = None,
    attempts: AttemptsOption = None,
    wait: WaitOption = 0,
    anew: AnewOption = False,
    dry_run: DryRunOption = False,
    plot: PlotOption = None,
    form: FormatOption = Format.TABLE,
    output: OutputOption = None,
    profile: ProfileOption = None,
) -> None:
    """Follow counts over months, e.g.

    cordon trend stop_search --by object --epsilon 1 --purpose research
    """
    notes = Console(stderr=True)
    check_output(form, output)
    check_plot(plot, output)
    with needed("stats", "a trend"):
        from cordon.workbench.trend.asking import earlier_trend, prepared, trend_of  # noqa: PLC0415 - help needs no statistics
    terms = Terms(purpose=purpose, epsilon=epsilon, within=within, attempts=attempts, wait=wait, anew=anew)
    wanted = Wanted(dataset, by, grain, measure, where, since, until, date)
    with session(profile, notes) as opened:
        if dry_run and from_query is None:
            rehearsed(opened, prepared(opened, wanted), terms, form, standard_output(), output, plot)
            return
        if from_query is None:
            answer = asked(opened, prepared(opened, wanted), terms, notes)
            found = trend_of(opened, answer, season=season)
        else:
            found = earlier_trend(opened, wanted, opened.recall(from_query), season=season)
    show(found, form, output, plot, notes)
