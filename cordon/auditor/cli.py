"""`cordon audit …`: verify a register, and read from it who asked and spent what.

Every command reads what is new first and verifies it; what it prints was verified. Exits with 0, or
with 4 if there is a discrepancy. docs/auditing.md §1.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from cordon.auditor.access import Opened, Wanted, opened
from cordon.auditor.budget import Choice, budgets, in_short, lifetimes, spenders
from cordon.auditor.history import find_query, life_of_query, logged
from cordon.auditor.report import as_dict, listed, print_result, printable, write_evidence
from cordon.errors import Untrusted
from cordon.reading.read import Progress

app = typer.Typer(
    name="audit",
    help="Verify a register, and read from it who asked and spent what. Trusts nobody but governance's keys.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


class Format(StrEnum):
    """How something is printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


SourceArgument = Annotated[
    str | None,
    typer.Argument(help="A folder or http(s) address of a published register; else the profile's coordinator."),
]
SourceOption = Annotated[str | None, typer.Option("--source", help="As for `verify`.")]
ProfileOption = Annotated[
    Path | None,
    typer.Option("--profile", help="Your TOML profile; else $CORDON_AUDITOR or ~/.config/cordon/auditor.toml."),
]
KeyOption = Annotated[
    list[str] | None,
    typer.Option("--governance-key", help="A governance key that you trust, in hexadecimal; instead of the profile's."),
]
MirrorOption = Annotated[Path | None, typer.Option("--mirror", help="Folder of your own copy of the register.")]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Judge your own copy alone; reach nobody.")]
JobsOption = Annotated[int, typer.Option("--jobs", help="Processes that verify; 0 for one a core.", min=0, max=256)]
FormatOption = Annotated[Format, typer.Option("--format", "-f", help="How to print.")]


@app.command()
def verify(
    source: SourceArgument = None,
    profile: ProfileOption = None,
    governance_key: KeyOption = None,
    mirror: MirrorOption = None,
    offline: OfflineOption = False,
    jobs: JobsOption = 0,
    evidence: Annotated[Path | None, typer.Option(help="Folder to write what shows a discrepancy into.")] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Verify everything, and name the first discrepancy."""
    with opened(_wanted(source, profile, governance_key, mirror, offline, jobs), _progress()) as found:
        if evidence is not None:
            write_evidence(evidence, found)
        if form is Format.TABLE:
            print_result(found.result, Console())
        elif form is Format.JSON:
            sys.stdout.write(json.dumps(as_dict(found.result), indent=2) + "\n")
        else:
            _print(listed(found.result), form)
        _leave(found)


@app.command()
def budget(
    force: Annotated[str | None, typer.Option(help="Of this force only.")] = None,
    domain: Annotated[str | None, typer.Option(help="Of this budget domain only.")] = None,
    year: Annotated[int | None, typer.Option(help="Of this year only.")] = None,
    by: Annotated[str, typer.Option(help="domain, analyst or force: what a row is about.")] = "domain",
    source: SourceOption = None,
    profile: ProfileOption = None,
    governance_key: KeyOption = None,
    mirror: MirrorOption = None,
    offline: OfflineOption = False,
    jobs: JobsOption = 0,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show who has spent what, what is left, and when it ends at this rate."""
    tables = {"domain": budgets, "analyst": spenders, "force": lifetimes}
    if by not in tables:
        raise typer.BadParameter("one of domain, analyst, force", param_hint="--by")
    with opened(_wanted(source, profile, governance_key, mirror, offline, jobs), _progress()) as found:
        rows = tables[by](found, Choice(force, domain, year))
        _print(map(in_short, rows) if form is Format.TABLE and by == "domain" else rows, form)
        _warn(found)
        _leave(found)


@app.command()
def query(
    query_id: Annotated[str, typer.Argument(help="The query's id, or enough of its beginning.")],
    source: SourceOption = None,
    profile: ProfileOption = None,
    governance_key: KeyOption = None,
    mirror: MirrorOption = None,
    offline: OfflineOption = False,
    jobs: JobsOption = 0,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show the whole life of one query."""
    with opened(_wanted(source, profile, governance_key, mirror, offline, jobs), _progress()) as found:
        life = life_of_query(found, find_query(found, query_id))
        if form is Format.JSON:
            sys.stdout.write(json.dumps(life, indent=2) + "\n")
        else:
            if form is Format.TABLE:
                _print_facts({name: value for name, value in life.items() if name != "events"})
            _print(life["events"], form)
        _warn(found)
        _leave(found)


@app.command()
def export(
    source: SourceOption = None,
    profile: ProfileOption = None,
    governance_key: KeyOption = None,
    mirror: MirrorOption = None,
    offline: OfflineOption = False,
    jobs: JobsOption = 0,
    form: FormatOption = Format.CSV,
) -> None:
    """Write the fields of the log that section 62 of the Data Protection Act 2018 asks for."""
    with opened(_wanted(source, profile, governance_key, mirror, offline, jobs), _progress()) as found:
        _print(logged(found), form)
        _warn(found)
        _leave(found)


def _wanted(
    source: str | None, profile: Path | None, keys: list[str] | None, mirror: Path | None, offline: bool, jobs: int
) -> Wanted:
    return Wanted(source, profile, tuple(keys or ()), mirror, offline, jobs)


def _progress() -> Progress:
    """Tells standard error how far it is, if a person looks on."""
    console = Console(stderr=True)

    def tell(what: str, at: int, of: int) -> None:
        if console.is_terminal:
            console.file.write(f"\r{what}: {at:,} of {of:,}" + ("\n" if at >= of else ""))

    return tell


def _leave(found: Opened) -> None:
    if found.result.discrepancies:
        raise typer.Exit(Untrusted.exit_code)


def _warn(found: Opened) -> None:
    if found.result.discrepancies:
        first = found.result.discrepancies[0]
        sys.stderr.write(f"warning: the register has a discrepancy at leaf {first.leaf}: {printable(first.what)}\n")


def _print(rows: Iterable[dict[str, Any]], form: Format) -> None:
    iterator = iter(rows)
    if form is Format.JSON:
        sys.stdout.write("[" + ",\n ".join(json.dumps(row) for row in iterator) + "]\n")
    elif form is Format.CSV:
        _print_csv(iterator)
    else:
        _print_table(list(iterator))


def _print_csv(rows: Iterator[dict[str, Any]]) -> None:
    for number, row in enumerate(rows):
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        if number == 0:
            writer.writerow(row)
        writer.writerow([_cell(value) for value in row.values()])
        sys.stdout.write(buffer.getvalue())


def _print_table(rows: list[dict[str, Any]]) -> None:
    out = Console()
    if not rows:
        out.print("nothing", highlight=False)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, value in rows[0].items():
        side: Literal["left", "right"] = "right" if isinstance(value, int | float) else "left"
        table.add_column(name.replace("_", " "), justify=side, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    out.print(table, highlight=False, markup=False)


def _print_facts(facts: dict[str, Any]) -> None:
    out = Console()
    for name, value in facts.items():
        words = printable(", ".join(value)) if isinstance(value, list) else _cell(value)
        out.print(f"{name.replace('_', ' ')}: {words or 'not opened'}", highlight=False, markup=False, soft_wrap=True)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.3g}" if isinstance(value, float) else printable(str(value))
    # A spreadsheet would compute a cell that begins like a formula.
    return f"'{text}" if text[:1] in {"=", "+", "-", "@"} else text
