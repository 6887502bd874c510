"""What every command that asks has in common: its options, and the way from a statement to an answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cordon.analyst.profile import known_profiles
from cordon.analyst.progress import Teller, may_leave
from cordon.workbench.answer import Answer
from cordon.workbench.output import Format, check_places, printed
from cordon.workbench.session import Session, connect

MOST_WAIT_DAYS = 60

ProfileOption = Annotated[
    str | None,
    typer.Option(
        "--profile",
        autocompletion=known_profiles,
        help="Your TOML profile, or the name of one in ~/.config/cordon; else $CORDON_PROFILE, else 'analyst'.",
    ),
]
FormatOption = Annotated[Format, typer.Option("--format", "-f", help="How to print it.")]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write to this file instead of standard output.")
]
PlotOption = Annotated[
    Path | None, typer.Option("--plot", help="Also draw it, every interval included, to this .png or .svg file.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what it would ask and cost, as 'cordon explain' does; ask nobody.")
]
PurposeOption = Annotated[str | None, typer.Option("--purpose", help="Why you ask: a purpose code of the federation.")]
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
    int | None,
    typer.Option("--attempts", help="Most attempts, each charged anew, if a force is lost on the way. [default: 2]"),
]
WaitOption = Annotated[
    int, typer.Option("--wait", help="Days to wait for forces where a person decides.", min=0, max=MOST_WAIT_DAYS)
]
AddAgainOption = Annotated[
    bool, typer.Option("--re-add", help="Fetch every force's ciphertext and add them again yourself.")
]
AnewOption = Annotated[bool, typer.Option("--anew", help="Ask and spend also where the answer is published.")]
FromQueryOption = Annotated[
    str | None,
    typer.Option("--from-query", help="Take an own earlier answer, by its query's id, instead of asking."),
]


@dataclass(frozen=True, slots=True)
class Terms:
    """What the options of a command say of how a statement is to be asked."""

    purpose: str | None = None
    epsilon: str | None = None
    within: str | None = None
    weights: str | None = None
    rows: str | None = None
    attempts: int | None = None
    wait: int = 0
    add_again: bool = False
    anew: bool = False


@contextmanager
def session(profile: str | None, notes: Console) -> Iterator[Session]:
    """A session whose notes go to the terminal."""

    def note(text: str) -> None:
        style = "yellow" if text.startswith("warning") else "dim"
        notes.print(text, style=style, highlight=False, markup=False, soft_wrap=True)

    with connect(profile, note=note) as opened:
        yield opened


def asked(opened: Session, sql: str, terms: Terms, notes: Console) -> Answer:
    """Ask, with a line that says where the query stands; Ctrl-C says how to come back.

    Raises:
        BadParameter: no purpose is given.
        CordonError: as `Session.query`.
    """
    if terms.purpose is None:
        listed = ", ".join(sorted(opened.federation().manifest.by_purpose))
        raise typer.BadParameter(f"say why you ask; the federation lists {listed}", param_hint="--purpose")
    teller = Teller()
    with may_leave(teller, notes), notes.status("sending the question") as status:
        teller.show = status.update
        return opened.query(
            sql,
            purpose=terms.purpose,
            epsilon=terms.epsilon,
            within=terms.within,
            weights=split_weights(terms.weights),
            rows=terms.rows,
            attempts=terms.attempts,
            wait_days=terms.wait,
            add_again=terms.add_again,
            anew=terms.anew,
            on_event=teller,
        )


def rehearsed(
    opened: Session,
    sql: str,
    terms: Terms,
    form: Format,
    out: Console,
    output: Path | None = None,
    plot: Path | None = None,
) -> None:
    """What `--dry-run` prints instead of asking; tells nobody.

    Args:
        output: a file; None for `out`.
        plot: what would be drawn to.

    Raises:
        Refused: it has no such form, and is nothing to draw.
        CordonError: as `Session.explain`.
    """
    check_places(form, output, plot, dry_run=True)
    explanation = opened.explain(
        sql,
        purpose=terms.purpose,
        epsilon=terms.epsilon,
        within=terms.within,
        weights=split_weights(terms.weights),
        rows=terms.rows,
        attempts=terms.attempts,
    )
    with printed(output, out) as to:
        if form is Format.JSON:
            to.file.write(json.dumps({"sql": sql} | explanation.as_dict(), indent=2) + "\n")
            return
        to.print(f"would ask: {sql}", highlight=False, markup=False, soft_wrap=True)
        explanation.print(to)
        to.print("nothing was asked and nothing was spent", highlight=False)


def split_weights(text: str | None) -> tuple[str, ...]:
    """`--weights` as its parts."""
    return () if text is None else tuple(part.strip() for part in text.split(","))


def typed(sql: str) -> str:
    """A statement as given, or from standard input where it is a dash."""
    return typer.get_text_stream("stdin").read() if sql == "-" else sql
