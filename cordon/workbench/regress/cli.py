"""`cordon regress`: what an analyst types. A thin layer over the session and this package's pure parts."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

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
    asked,
    rehearsed,
    session,
)
from cordon.workbench.output import Format, check_output, check_plot, standard_output
from cordon.workbench.regress.asking import check_where, fitted, prepared

command = typer.Typer(
    help="Fit a line through records, and say what can be concluded.",
    pretty_exceptions_enable=False,
    add_completion=False,
)


@command.command()
def regress_command(
    formula: Annotated[
        str, typer.Argument(help="What is explained ~ by what, e.g. \"outcome = 'arrest' ~ gender + age_range\".")
    ],
    dataset: Annotated[str, typer.Option("--from", help="The data set, or one version of it as nominals.v2.")],
    where: Annotated[str | None, typer.Option("--where", help="Only records for which this holds, in SQL.")] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option("--reference", help="column=code that a category's others are compared with; may be repeated."),
    ] = None,
    from_query: FromQueryOption = None,
    purpose: PurposeOption = None,
    epsilon: EpsilonOption = None,
    attempts: AttemptsOption = None,
    wait: WaitOption = 0,
    anew: AnewOption = False,
    dry_run: DryRunOption = False,
    plot: PlotOption = None,
    form: FormatOption = Format.TABLE,
    output: OutputOption = None,
    profile: ProfileOption = None,
) -> None:
    """Fit a linear regression, e.g.

    cordon regress "loss_gbp ~ age + gender" --from nominals --epsilon 1 --purpose research
    """
    notes = Console(stderr=True)
    check_output(form, output)
    check_plot(plot, output)
    check_where(where, again=bool(from_query))
    with session(profile, notes) as opened:
        wanted = prepared(
            opened, formula, dataset,
            references=reference or (), where=where, cached=dry_run or from_query is not None,
        )  # fmt: skip
        terms = Terms(
            purpose=purpose, epsilon=epsilon, attempts=attempts, wait=wait, anew=anew,
            weights=",".join(f"{weight:g}" for weight in wanted.weights),
        )  # fmt: skip
        if dry_run:
            rehearsed(opened, wanted.sql, terms, form, standard_output(), output, plot)
            return
        answer = opened.recall(from_query) if from_query else asked(opened, wanted.sql, terms, notes)
    show(fitted(answer, wanted), form, output, plot, notes)
