"""`cordon node policy test` and `show`: what this force's rules say, before anybody asks."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated

import typer
from rich.console import Console

from cordon.errors import QuestionRefused
from cordon.units import exact_number
from node.office import Office
from node.options import DEFAULT_CONFIG, ConfigPath, Format
from node.policy import Policy

policy_app = typer.Typer(
    name="policy",
    help="This force's own rules: show them, and try a question on them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@policy_app.command(name="test")
def try_question(
    sql: Annotated[str, typer.Argument(help="One SELECT, as an analyst would type it; '-' reads standard input.")],
    config: ConfigPath = DEFAULT_CONFIG,
    purpose: Annotated[str | None, typer.Option(help="A purpose code; the manifest's first where not given.")] = None,
    epsilon: Annotated[str, typer.Option(help="Privacy cost per attempt, at the federation's delta.")] = "1",
    attempts: Annotated[int, typer.Option(help="Attempts that the query is signed for.", min=1)] = 1,
    analyst: Annotated[str, typer.Option(help="Whose share of the budget is looked at.")] = "",
    form: Annotated[Format, typer.Option("--format", "-f", help="table or json.")] = Format.TABLE,
) -> None:
    """Say what would be decided about a question now, and by which rule. Asks nobody and charges nothing.

    cordon node policy test "SELECT object, COUNT(*) FROM stop_search GROUP BY object" --epsilon 1
    """
    # The only part of a node that reads SQL: nothing else of the node is to load it.
    from node.rehearsal import Asking, rehearse  # noqa: PLC0415

    text = typer.get_text_stream("stdin").read() if sql == "-" else sql
    with Office.open(config) as office:
        chosen = purpose or office.manifest.purposes[0].code
        try:
            asking = Asking(text, chosen, exact_number(epsilon), attempts, analyst)
        except ValueError:
            raise QuestionRefused(f"--epsilon takes a number above zero, got {epsilon!r}") from None
        found = rehearse(asking, office, int(time.time()))
        facts = {"purpose": chosen} | found.facts(office.manifest)
    _print(facts, form)


@policy_app.command()
def show(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Print this force's rules in words, as others may read them."""
    with Office.open(config) as office:
        lines = words(office.policy, office.manifest.smallest_roster)
    for line in lines:
        typer.echo(line)


def words(policy: Policy, ordinary: int) -> list[str]:
    """A policy in words, one line a rule; pure.

    Args:
        ordinary: the federation's smallest roster.
    """
    lines = [
        f"datasets: answers about {', '.join(policy.datasets) or 'every data set that it holds'}",
        f"purposes: answers for {', '.join(policy.purposes) or 'every purpose of the federation'}",
        f"closed_columns: neither grouped by, filtered by nor summed: {', '.join(policy.closed_columns) or 'none'}",
        f"allow_by_force: shows its own line: {_yes(policy.allow_by_force)}",
        f"smallest_roster: takes part in rosters of {max(policy.smallest_roster or 0, ordinary)} or more forces",
        f"allow_small_roster: takes part in smaller ones that a question asks for: {_yes(policy.allow_small_roster)}",
    ]
    if policy.oldest_snapshot_days is not None:
        lines.append(f"oldest_snapshot_days: answers from no records older than {policy.oldest_snapshot_days} days")
    for name in ("most_epsilon_per_attempt", "most_epsilon_alone"):
        cap = getattr(policy, name)
        if cap is not None:
            lines.append(f"{name}: epsilon {float(cap):g}")
    return lines + _approval_words(policy) + _budget_words(policy)


def _approval_words(policy: Policy) -> list[str]:
    if not policy.by_hand:
        return ["approval: the rules alone decide"]
    about = "every query"
    if policy.approval != "manual":
        named = [f"data set {name}" for name in policy.approval_datasets]
        about = ", ".join(named + [f"purpose {name}" for name in policy.approval_purposes])
    names = ", ".join(officer.name for officer in policy.officers)
    return [f"approval: {policy.officers_needed} of {names} must approve: {about}"]


def _budget_words(policy: Policy) -> list[str]:
    lines = []
    for domain, budget in policy.budget.items():
        year = budget.epsilon_per_year
        parts = {
            "a year": year,
            "ever": budget.epsilon_lifetime,
            "an analyst and year": budget.epsilon_per_analyst or year,
            "a purpose and year": budget.epsilon_per_purpose or year,
            "a query": budget.epsilon_per_query or year,
        }
        told = ", ".join(f"{float(epsilon):g} {what}" for what, epsilon in parts.items())
        lines.append(f"budget.{domain}: epsilon {told}; failed attempts {float(budget.failed_share):.0%} of the year's")
    return lines


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _print(facts: dict[str, object], form: Format) -> None:
    if form is Format.JSON:
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
        return
    console = Console()
    for name, value in facts.items():
        if value not in ("", None):
            console.print(f"{name.replace('_', ' ') + ':':<15} {value}", highlight=False, markup=False, soft_wrap=True)
