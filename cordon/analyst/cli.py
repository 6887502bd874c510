"""`cordon query`, `explain`, `datasets` and `follow`: what an analyst types."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cordon.analyst.client import Client
from cordon.analyst.compose import Cost, cost_of_epsilon, cost_of_half_width, plan_statement
from cordon.analyst.explain import facts_of, print_facts
from cordon.analyst.federation import Federation
from cordon.analyst.forecast import widest
from cordon.analyst.known import (
    budget_facts,
    keep_up,
    offered,
    open_library,
    print_budgets,
    read_register,
    warner,
    with_shares,
)
from cordon.analyst.offers import described, find_contract, note_on_version, print_columns, print_datasets
from cordon.analyst.profile import read_profile
from cordon.analyst.progress import Teller, may_leave
from cordon.analyst.releases import Release
from cordon.analyst.render import Format, print_answer
from cordon.analyst.residents import check_residents
from cordon.contract import Contract
from cordon.errors import QuestionRefused, Refused
from cordon.query.plan import outline
from cordon.query.sql import parse_sql
from cordon.query.statement import Statement
from cordon.units import Rho, exact_number

MOST_WAIT_DAYS = 60

LEAST_NUMBER = Fraction(1, 10**15)
"""Magnitude of the smallest number that an option takes; the largest is its inverse."""


def _app(help_text: str) -> typer.Typer:
    return typer.Typer(help=help_text, pretty_exceptions_enable=False, add_completion=False)


query = _app("Ask the federation a question in SQL.")
explain = _app("Show a question's plan, expected error and cost; sends nothing about it.")
datasets = _app("List data sets, their columns and codes, and who holds them.")
follow = _app("Follow a query again by its id, and open its answer.")

ProfileOption = Annotated[
    Path | None,
    typer.Option("--profile", help="Your TOML profile; else $CORDON_PROFILE or ~/.config/cordon/analyst.toml."),
]
FormatOption = Annotated[Format, typer.Option("--format", "-f", help="How to print the answer.")]
EpsilonOption = Annotated[
    str | None, typer.Option("--epsilon", help="Privacy cost per attempt, e.g. 1 or 0.25, at the federation's delta.")
]
WithinOption = Annotated[
    str | None,
    typer.Option("--within", help="Instead of --epsilon: half-width of the 95 % interval, in the measure's unit."),
]
WeightsOption = Annotated[
    str | None,
    typer.Option("--weights", help="How much each column of estimates matters, e.g. 2,1; the cost is split by it."),
]
RowsOption = Annotated[
    str | None,
    typer.Option(
        "--rows", help="Rows that you expect in all: for --within and expected errors of averages and the like."
    ),
]
AttemptsOption = Annotated[
    int | None, typer.Option(help="Most attempts, each charged anew, if a force is lost on the way. [default: 2]")
]


@query.command()
def query_command(
    sql: Annotated[str, typer.Argument(help="One SELECT; '-' reads it from standard input.")],
    purpose: Annotated[str, typer.Option(help="Why you ask: a purpose code of the federation.")],
    epsilon: EpsilonOption = None,
    within: WithinOption = None,
    weights: WeightsOption = None,
    rows: RowsOption = None,
    attempts: AttemptsOption = None,
    wait: Annotated[
        int, typer.Option(help="Days to wait for forces where a person decides.", min=0, max=MOST_WAIT_DAYS)
    ] = 0,
    add_again: Annotated[
        bool, typer.Option("--re-add", help="Fetch every force's ciphertext and add them again yourself.")
    ] = False,
    anew: Annotated[bool, typer.Option("--anew", help="Ask and spend also where the answer is published.")] = False,
    form: FormatOption = Format.TABLE,
    profile: ProfileOption = None,
) -> None:
    """Ask a question, e.g.

    cordon query "SELECT object, COUNT(*) FROM stop_search GROUP BY object" --epsilon 1 --purpose research
    """
    progress = Console(stderr=True)
    warn = warner(progress)
    with Client(read_profile(profile)) as client, open_library(client) as library:
        federation = client.federation()
        statement, contract = _read(sql, federation, progress)
        importance = _weights(weights)
        cost = _cost(statement, contract, federation, epsilon, within, attempts, importance, _rows(rows))
        known = None if anew else offered(library, federation, statement.question, warn)
        if known is not None:
            progress.print(f"{_already(known)}: nothing was spent; --anew asks anew", highlight=False, markup=False)
            print_answer(known.as_dict(), form, Console(), progress)
            return
        teller = Teller()
        with may_leave(teller, progress), progress.status("sending the question") as status:
            teller.show = status.update
            answer = client.ask(
                statement,
                cost,
                federation,
                purpose=purpose,
                weights=importance,
                wait_seconds=wait * 86_400,
                add_contributions=add_again,
                on_event=teller,
            )
        answer = with_shares(client, library, federation.manifest, answer, warn)
        print_answer(answer, form, Console(), progress)
        # After the answer, so that nobody waits for it: the next question knows what was published and spent.
        keep_up(client, library, federation.manifest, warn)


@follow.command()
def follow_command(
    query_id: Annotated[str, typer.Argument(help="The query's id, or enough of its beginning.")],
    proceed: Annotated[
        bool, typer.Option("--no-wait", help="Go on without forces where a person still decides.")
    ] = False,
    add_again: Annotated[bool, typer.Option("--re-add", help="Add every force's ciphertext again yourself.")] = False,
    form: FormatOption = Format.TABLE,
    profile: ProfileOption = None,
) -> None:
    """Follow a query that was asked before, and open its answer; an opened one is shown again for free."""
    progress = Console(stderr=True)
    with Client(read_profile(profile)) as client, open_library(client) as library:
        query_hash = client.find(query_id)
        if proceed:
            client.proceed(query_hash)
        federation = client.federation()
        teller = Teller(query_hash)
        with may_leave(teller, progress), progress.status("following") as status:
            teller.show = status.update
            answer = client.follow(query_hash, federation, add_contributions=add_again, on_event=teller)
        answer = with_shares(client, library, federation.manifest, answer, warner(progress))
    print_answer(answer, form, Console(), progress)


@explain.command()
def explain_command(
    sql: Annotated[str, typer.Argument(help="One SELECT; '-' reads it from standard input.")],
    epsilon: EpsilonOption = None,
    within: WithinOption = None,
    weights: WeightsOption = None,
    rows: RowsOption = None,
    attempts: AttemptsOption = None,
    purpose: Annotated[str | None, typer.Option(help="Count what each force allows for this purpose too.")] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Fetch manifest and contracts anew, and read the register.")
    ] = False,
    form: Annotated[Format, typer.Option("--format", "-f", help="table or json.")] = Format.TABLE,
    profile: ProfileOption = None,
) -> None:
    """Show what a question would cost and how exact its answer would be. Tells nobody about it."""
    notes = Console(stderr=True)
    with Client(read_profile(profile)) as client, open_library(client) as library:
        federation = client.federation(cached=not refresh)
        statement, contract = _read(sql, federation, notes)
        importance, total = _weights(weights), _rows(rows)
        cost = _cost(statement, contract, federation, epsilon, within, attempts, importance, total)
        if refresh:
            read_register(client, library, federation.manifest, notes)
        known = offered(library, federation, statement.question, warner(notes))
        key = client.signer.key_id
        budgets = budget_facts(library, statement.question, cost, key, purpose, federation.manifest)
    plan = plan_statement(statement, cost.rho, contract, federation.manifest, importance)
    facts = facts_of(statement, plan, cost, contract, federation, rows=total)
    if known is not None:
        facts["published"] = f"{_already(known)}: 'cordon query' shows it at no cost"
    out = Console()
    if form is Format.JSON:
        out.file.write(json.dumps(facts | {"budgets": budgets}, indent=2) + "\n")
        return
    print_facts(facts, out)
    print_budgets(budgets, out)


@datasets.command()
def datasets_command(
    name: Annotated[
        str | None, typer.Argument(help="Show this data set's columns and codes; a version of it as nominals.v2.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", "-f", help="table or json.")] = Format.TABLE,
    profile: ProfileOption = None,
) -> None:
    """List the federation's data sets and their versions, or one data set's columns, and who holds them."""
    with Client(read_profile(profile)) as client:
        federation = client.federation()
    if form is not Format.TABLE:
        names = sorted(federation.versions.by_name) if name is None else [name]
        found = {each: described(find_contract(each, federation), federation) for each in names}
        Console().file.write(json.dumps(found, indent=2) + "\n")
    elif name is None:
        print_datasets(federation, Console())
    else:
        print_columns(find_contract(name, federation), federation, Console())


def _read(sql: str, federation: Federation, notes: Console) -> tuple[Statement, Contract]:
    text = typer.get_text_stream("stdin").read() if sql == "-" else sql
    statement = parse_sql(text, federation.versions, list(federation.manifest.by_id))
    check_residents(statement)
    note = note_on_version(statement, federation)
    if note:
        notes.print(f"note: {note}", style="dim", highlight=False, markup=False, soft_wrap=True)
    return statement, federation.contract_of(statement.question)


def _cost(
    statement: Statement,
    contract: Contract,
    federation: Federation,
    epsilon: str | None,
    within: str | None,
    attempts: int | None,
    weights: tuple[float, ...],
    rows: float | None,
) -> Cost:
    if (epsilon is None) == (within is None):
        raise Refused("say how exact or how costly", hint="give either --epsilon or --within")
    manifest = federation.manifest
    if epsilon is not None:
        return cost_of_epsilon(_number("--epsilon", epsilon), manifest, attempts)
    parts = outline(statement.question, contract, most_cells=manifest.limits.cells).parts

    def widest_at(rho: Rho) -> float:
        plan = plan_statement(statement, rho, contract, manifest, weights)
        return widest(statement, plan, contract, rows=rows)

    return cost_of_half_width(_number("--within", within or ""), widest_at, len(parts), manifest, attempts)


def _weights(text: str | None) -> tuple[float, ...]:
    return () if text is None else tuple(float(_number("--weights", part.strip())) for part in text.split(","))


def _rows(text: str | None) -> float | None:
    if text is None:
        return None
    rows = float(_number("--rows", text))
    if rows <= 0:
        raise QuestionRefused(f"--rows takes a number above zero, got {text!r}")
    return rows


def _already(known: Release) -> str:
    epsilon = known.answer["epsilon"]["charged"]
    return f"{known.analyst} has published this answer about the same records, asked at epsilon {epsilon:.3g}"


def _number(option: str, text: str) -> Fraction:
    try:
        number = exact_number(text)
    except ValueError:
        raise QuestionRefused(f"{option} takes a number above zero, got {text!r}") from None
    if not LEAST_NUMBER <= abs(number) <= 1 / LEAST_NUMBER and number:
        raise QuestionRefused(f"{option}: {text} is beyond what can be meant")
    return number
