"""`cordon disparity`: what an analyst types. A thin layer over the session and this package's pure parts."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from cordon.errors import QuestionRefused
from cordon.workbench.disparity.statement import MOST_WITHIN, Adjust, Per
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

command = typer.Typer(
    help="Compare groups' rates with a reference group's, and say what can be concluded.",
    pretty_exceptions_enable=False,
    add_completion=False,
)

MOST_PERCENT = 100 * MOST_WITHIN


@command.command()
def disparity_command(
    dataset: Annotated[str, typer.Argument(help="The data set, or one version of it as nominals.v2.")],
    by: Annotated[str, typer.Option("--by", help="The category that says the group, or a clear part of its name.")],
    outcome: Annotated[
        str | None,
        typer.Option("--outcome", help="What counts: codes of the column outcome, or of another as column=code,code."),
    ] = None,
    per: Annotated[
        Per | None,
        typer.Option("--per", help="Count per 1,000 residents, or as a share of records. [default: as fits --outcome]"),
    ] = None,
    reference: Annotated[
        str | None, typer.Option("--reference", help="The group that others are compared with. [default: white]")
    ] = None,
    by_force: Annotated[bool, typer.Option("--by-force", help="In each force by itself as well.")] = False,
    where: Annotated[str, typer.Option("--where", help="Only records for which this holds, in SQL.")] = "",
    adjust: Annotated[Adjust, typer.Option("--adjust", help="How to allow for many comparisons.")] = Adjust.HOLM,
    residents_within: Annotated[
        float, typer.Option("--residents-within", help="Percent that residents may be off, in each group by itself.")
    ] = 0.0,
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
    """Compare groups, e.g.

    cordon disparity stop_search --by ethnicity --epsilon 1 --purpose research
    """
    notes = Console(stderr=True)
    if not 0 <= residents_within <= MOST_PERCENT:
        raise QuestionRefused(f"--residents-within takes percent from 0 to {MOST_PERCENT:g}")
    check_output(form, output)
    check_plot(plot, output)
    with needed("stats", "a disparity"):
        from cordon.workbench.disparity.asking import compared_in, understood  # noqa: PLC0415 - help needs no statistics
    terms = Terms(purpose=purpose, epsilon=epsilon, within=within, attempts=attempts, wait=wait, anew=anew)
    with session(profile, notes) as opened:
        stored = None if from_query is None else opened.recall(from_query)
        compared = understood(
            opened.federation(cached=stored is not None), dataset,
            by=by, outcome=outcome, per=per, reference=reference, by_force=by_force, where=where,
            answer=stored,
        )  # fmt: skip
        if dry_run:
            rehearsed(opened, compared.sql, terms, form, standard_output(), output, plot)
            return
        answer = asked(opened, compared.sql, terms, notes) if stored is None else stored
    found = compared_in(answer, compared, adjust=adjust, within=residents_within / 100)
    show(found, form, output, plot, notes)
