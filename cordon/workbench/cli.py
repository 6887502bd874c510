"""`cordon query`, `explain`, `datasets`, `follow` and `history`: what an analyst types. A thin layer over `Session`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cordon.analyst.offers import find_contract, print_columns, print_datasets, print_purposes
from cordon.analyst.progress import Teller, may_leave
from cordon.errors import Refused
from cordon.workbench.answer import Answer
from cordon.workbench.history import Asking
from cordon.workbench.options import (
    AddAgainOption,
    AnewOption,
    AttemptsOption,
    DryRunOption,
    EpsilonOption,
    FormatOption,
    OutputOption,
    PlotOption,
    ProfileOption,
    PurposeOption,
    RowsOption,
    Terms,
    WaitOption,
    WeightsOption,
    WithinOption,
    asked,
    rehearsed,
    session,
    split_weights,
    typed,
)
from cordon.workbench.output import Format, Sheet, check_places, standard_output, write_answer, write_sheet

HISTORY_COLUMNS = (
    "query_id", "asked_at", "standing", "epsilon", "rho", "answered", "forces_asked", "purpose", "sql",
)  # fmt: skip


def app(help_text: str) -> typer.Typer:
    """An empty command line of the house's kind."""
    return typer.Typer(help=help_text, pretty_exceptions_enable=False, add_completion=False)


query = app("Ask the federation a question in SQL.")
explain = app("Show a question's plan, expected error and cost; sends nothing about it.")
datasets = app("List data sets, their columns and codes, and who holds them.")
follow = app("Follow a query again by its id, and open its answer.")
history = app("List your own queries and answers, or show one again at no cost.")


@query.command()
def query_command(
    sql: Annotated[str, typer.Argument(help="One SELECT; '-' reads it from standard input.")],
    purpose: PurposeOption = None,
    epsilon: EpsilonOption = None,
    within: WithinOption = None,
    weights: WeightsOption = None,
    rows: RowsOption = None,
    attempts: AttemptsOption = None,
    wait: WaitOption = 0,
    add_again: AddAgainOption = False,
    anew: AnewOption = False,
    dry_run: DryRunOption = False,
    plot: PlotOption = None,
    form: FormatOption = Format.TABLE,
    output: OutputOption = None,
    profile: ProfileOption = None,
) -> None:
    """Ask a question, e.g.

    cordon query "SELECT object, COUNT(*) FROM stop_search GROUP BY object" --epsilon 1 --purpose research
    """
    notes = Console(stderr=True)
    terms = Terms(purpose, epsilon, within, weights, rows, attempts, wait, add_again, anew)
    check_places(form, output, plot, dry_run=dry_run)
    with session(profile, notes) as opened:
        if dry_run:
            rehearsed(opened, typed(sql), terms, form, standard_output(), output)
            return
        answer = asked(opened, typed(sql), terms, notes)
        _show(answer, form, output, plot, notes)


@follow.command()
def follow_command(
    query_id: Annotated[str, typer.Argument(help="The query's id, or enough of its beginning.")],
    proceed: Annotated[
        bool, typer.Option("--no-wait", help="Go on without forces where a person still decides.")
    ] = False,
    add_again: AddAgainOption = False,
    plot: PlotOption = None,
    form: FormatOption = Format.TABLE,
    output: OutputOption = None,
    profile: ProfileOption = None,
) -> None:
    """Follow a query that was asked before, and open its answer; an opened one is shown again for free."""
    notes = Console(stderr=True)
    check_places(form, output, plot)
    with session(profile, notes) as opened:
        teller = Teller(opened.client.find(query_id))
        with may_leave(teller, notes), notes.status("following") as status:
            teller.show = status.update
            answer = opened.follow(query_id, proceed=proceed, add_again=add_again, on_event=teller)
        _show(answer, form, output, plot, notes)


@explain.command()
def explain_command(
    sql: Annotated[str, typer.Argument(help="One SELECT; '-' reads it from standard input.")],
    epsilon: EpsilonOption = None,
    within: WithinOption = None,
    weights: WeightsOption = None,
    rows: RowsOption = None,
    attempts: AttemptsOption = None,
    purpose: Annotated[
        str | None, typer.Option("--purpose", help="Count what each force allows for this purpose too.")
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Fetch manifest and contracts anew, and read the register.")
    ] = False,
    form: Annotated[Format, typer.Option("--format", "-f", help="table or json.")] = Format.TABLE,
    profile: ProfileOption = None,
) -> None:
    """Show what a question would cost and how exact its answer would be. Tells nobody about it."""
    notes = Console(stderr=True)
    with session(profile, notes) as opened, notes.status("") as status:
        explanation = opened.explain(
            typed(sql),
            purpose=purpose,
            epsilon=epsilon,
            within=within,
            weights=split_weights(weights),
            rows=rows,
            attempts=attempts,
            refresh=refresh,
            on_reading=status.update,
        )
    if form is Format.JSON:
        Console().file.write(json.dumps(explanation.as_dict(), indent=2) + "\n")
    elif form is Format.TABLE:
        explanation.print(Console())
    else:
        raise Refused(f"an explanation has no {form} form", hint="use --format table or json")


@datasets.command()
def datasets_command(
    name: Annotated[
        str | None, typer.Argument(help="Show this data set's columns and codes; a version of it as nominals.v2.")
    ] = None,
    purposes: Annotated[
        bool, typer.Option("--purposes", help="List the purposes instead, with the law behind each.")
    ] = False,
    form: Annotated[Format, typer.Option("--format", "-f", help="table or json.")] = Format.TABLE,
    profile: ProfileOption = None,
) -> None:
    """List the federation's data sets and their versions, or one data set's columns, and who holds them."""
    if form not in (Format.TABLE, Format.JSON):
        raise Refused(f"a list of data sets has no {form} form", hint="use --format table or json")
    with session(profile, Console(stderr=True)) as opened:
        federation = opened.federation()
        if form is not Format.TABLE:
            listed = [purpose.model_dump(mode="json") for purpose in federation.manifest.purposes]
            Console().file.write(json.dumps(listed if purposes else opened.datasets(name), indent=2) + "\n")
        elif purposes:
            print_purposes(federation, standard_output())
        elif name is None:
            print_datasets(federation, standard_output())
        else:
            print_columns(find_contract(name, federation), federation, standard_output())


@history.command()
def history_command(
    query_id: Annotated[
        str | None, typer.Argument(help="Show this one's answer again: its query's id, or enough of its beginning.")
    ] = None,
    plot: PlotOption = None,
    form: FormatOption = Format.TABLE,
    output: OutputOption = None,
    profile: ProfileOption = None,
) -> None:
    """List your own queries, newest first, or show one's answer again. Asks nobody and costs nothing."""
    notes = Console(stderr=True)
    check_places(form, output, plot)
    if query_id is None and plot is not None:
        raise Refused("a list of queries is nothing to draw", hint="name one of them")
    with session(profile, notes) as opened:
        if query_id is not None:
            _show(opened.recall(query_id), form, output, plot, notes)
            return
        askings = opened.history()
    rows = tuple(tuple(asking.as_dict()[name] for name in HISTORY_COLUMNS) for asking in askings)
    write_sheet(Sheet(HISTORY_COLUMNS, rows), form, output, standard_output(), lambda out: _print_history(askings, out))


def _show(answer: Answer, form: Format, output: Path | None, plot: Path | None, notes: Console) -> None:
    write_answer(answer, form, output, standard_output(), notes)
    if plot is not None:
        answer.plot(plot)
        notes.print(f"drawn to {plot}", style="dim", highlight=False, markup=False)


def _print_history(askings: tuple[Asking, ...], out: Console) -> None:
    table = Table("query", "asked", "", "epsilon", "forces", "purpose", "statement", box=None, pad_edge=False)
    for asking in askings:
        cells = (
            asking.query_id[:16],
            asking.asked_at[:16].replace("T", " "),
            asking.standing.value,
            "" if asking.epsilon is None else f"{asking.epsilon:.3g}",
            "" if asking.answered is None else f"{asking.answered} of {asking.forces_asked}",
            asking.purpose,
            " ".join(asking.sql.split()),
        )
        table.add_row(*map(Text, cells))
    out.print(table if askings else "nothing was asked from here yet", highlight=False)
