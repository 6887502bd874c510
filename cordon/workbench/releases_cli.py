"""`cordon publish` and `releases`: answers that everybody may read."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cordon.analyst.known import open_library, read_register, warner
from cordon.analyst.publish import Prepared, prepare
from cordon.analyst.publish import publish as publish_answer
from cordon.analyst.releases import Release, verified_releases
from cordon.analyst.times import utc
from cordon.analyst.workspace import check_id
from cordon.errors import Refused
from cordon.workbench.answer import Answer
from cordon.workbench.options import FormatOption, OutputOption, PlotOption, ProfileOption, session
from cordon.workbench.output import Format, check_places, printed, standard_output, write_answer

LEAST_TO_PUBLISH = 8
"""Digits of a query's id that it takes to publish its answer, which cannot be taken back."""

publish = typer.Typer(
    help="Publish an opened answer for everybody.", pretty_exceptions_enable=False, add_completion=False
)
releases = typer.Typer(help="List and show published answers.", pretty_exceptions_enable=False, add_completion=False)


@publish.command()
def publish_command(
    query_id: Annotated[str, typer.Argument(help="The query's id, or enough of its beginning.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    without_adding: Annotated[
        bool, typer.Option("--without-adding", help="Publish also where contributions are not kept any more.")
    ] = False,
    profile: ProfileOption = None,
) -> None:
    """Sign an own answer and publish it. It cannot be taken back; only governance can have it erased."""
    notes = Console(stderr=True)
    with session(profile, notes) as opened:
        client = opened.client
        check_id(query_id, least=LEAST_TO_PUBLISH)
        query_hash = client.find(query_id)
        federation = opened.federation()
        with notes.status("verifying the answer once more"):
            prepared = prepare(client, federation, query_hash, without_adding=without_adding)
        for line in _terms(prepared):
            notes.print(line, highlight=False, markup=False, soft_wrap=True)
        if not yes:
            _confirm()
        leaf = publish_answer(client, federation, prepared)
    sys.stdout.write(f"published: query {query_hash.hex()[:16]}, leaf {leaf}\n")


@releases.command()
def releases_command(
    query_id: Annotated[
        str | None, typer.Argument(help="Show this one: its query's id, or enough of its start.")
    ] = None,
    plot: PlotOption = None,
    form: FormatOption = Format.TABLE,
    output: OutputOption = None,
    profile: ProfileOption = None,
) -> None:
    """List published answers, or show one; every one is verified, and what does not verify is left out."""
    notes = Console(stderr=True)
    check_places(form, output, plot)
    if query_id is None:
        _check_list(form, plot)
    else:
        check_id(query_id)
    with session(profile, notes) as opened:
        client, federation = opened.client, opened.federation()
        with open_library(client) as library, notes.status("reading the register") as status:
            read_register(client, library, federation.manifest, status.update, warner(notes))
            found, warnings = verified_releases(library.published(), federation.catalogue)
    for text in warnings:
        warner(notes)(text)
    if query_id is not None:
        answer = Answer(_chosen(found, query_id).as_dict())
        write_answer(answer, form, output, standard_output(), notes)
        if plot is not None:
            answer.plot(plot)
        return
    with printed(output, standard_output()) as out:
        if form is Format.JSON:
            out.file.write(json.dumps([release.as_dict() for release in found], indent=2) + "\n")
        else:
            _print_list(found, out)


def _check_list(form: Format, plot: Path | None) -> None:
    if form not in (Format.TABLE, Format.JSON):
        raise Refused(f"a list of answers has no {form} form", hint="name one of them, or use --format json")
    if plot is not None:
        raise Refused("a list of answers is nothing to draw", hint="name one of them")


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise Refused("nobody is there to confirm", hint="--yes publishes without asking")
    if not typer.confirm("Publish?", err=True):
        raise Refused("nothing was published")


def _terms(prepared: Prepared) -> list[str]:
    """What becomes public and when, in words."""
    answer = prepared.answer
    if prepared.public_from is None:
        when = "once the embargo of its purpose has passed"
    elif prepared.public_from <= time.time():
        when = "at once"
    else:
        when = f"from {_day(prepared.public_from)} on, when the embargo of its purpose ends; to auditors at once"
    added = "added again and equal" if prepared.added else "not kept any more, and not added again"
    return [
        f"This becomes public {when}, and cannot be taken back:",
        f"  the statement    {answer['sql']}",
        f"  the answer       {len(answer['rows'])} rows with their intervals, who answered, who declined and why",
        "  the signed query with its purpose and cost, your name, and each force's declared vintage",
        f"  the forces' contributions were {added}",
    ]


def _chosen(found: list[Release], prefix: str) -> Release:
    matching = [release for release in found if release.query_hash.hex().startswith(prefix.lower())]
    if len(matching) != 1:
        what = "no published answer" if not matching else f"{len(matching)} published answers"
        raise Refused(f"{what} of a query that begins with {prefix!r}", hint="cordon releases lists them")
    return matching[0]


def _print_list(found: list[Release], out: Console) -> None:
    table = Table("query", "asked", "by", "forces", "epsilon", "statement", box=None, pad_edge=False)
    for release in found:
        table.add_row(*map(Text, _cells(release)))
    out.print(table if found else "no answer is published yet", highlight=False)


def _cells(release: Release) -> tuple[str, ...]:
    answer: dict[str, Any] = release.answer
    return (
        release.query_hash.hex()[:16],
        _day(release.submitted_at),
        release.analyst,
        str(len(answer["answered"])),
        f"{answer['epsilon']['charged']:.3g}",
        " ".join(answer["sql"].split()),
    )


def _day(seconds: int) -> str:
    return utc(seconds).date().isoformat()
