"""`cordon node open-data`: nodes for the forces in a download of data.police.uk."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from datetime import date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cordon.catalogue import bundled_contracts
from cordon.contract import Contract
from cordon.errors import Misconfigured
from cordon.units import exact_number
from node.joining.questions import stopped_in_one_line
from node.joining.setup import Answers, settings_for
from node.opendata.datasets import DATASETS
from node.opendata.download import Piece, open_download
from node.opendata.examine import count_rows
from node.opendata.holding import Holding, holdings, last_day
from node.opendata.lay_out import LaidOut, lay_out

MOST_NAMED = 5
"""Files that are not read, of which the summary names no more."""


def add_open_data_command(app: typer.Typer) -> None:
    """Give the node's command line its `open-data`."""
    app.command(name="open-data")(open_data)


def open_data(
    download: Annotated[Path, typer.Argument(help="The site's zip file, or the folder that it was unpacked to.")],
    into: Annotated[Path, typer.Option(help="Folder in which each force gets a folder of its own.")],
    force: Annotated[list[str] | None, typer.Option(help="Only this force, by the site's name; repeatable.")] = None,
    dataset: Annotated[list[str] | None, typer.Option(help="Only this data set; repeatable.")] = None,
    covered_only: Annotated[
        bool, typer.Option("--covered-only", help="Leave out months that no contract covers.")
    ] = False,
    contracts: Annotated[Path | None, typer.Option(help="Folder with contracts beside the bundled ones.")] = None,
    as_at: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Declared date of the records; the last day if not.")
    ] = None,
    coordinator: Annotated[str | None, typer.Option(help="host:port of the coordinator.")] = None,
    governance_key: Annotated[
        list[str] | None, typer.Option(help="A public key of the governance; repeatable.")
    ] = None,
    proxy: Annotated[str | None, typer.Option(help="HTTP proxy on the way to the coordinator.")] = None,
    manifest: Annotated[Path | None, typer.Option(help="The signed manifest, if it is at hand.")] = None,
    epsilon_per_year: Annotated[str | None, typer.Option(help="Budget of each domain for a year.")] = None,
    epsilon_lifetime: Annotated[str | None, typer.Option(help="Budget of each domain over the lifetime.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Declare the months shown without being asked.")] = False,
) -> None:
    """Set up a node for each force in a download of data.police.uk: records, mappings, keys and configuration.

    Shows what there is before anything is written: forces, months, rows and gaps. The months are what each force
    declares to cover. Without --coordinator and --governance-key, keys and configuration are left to `cordon node
    init`.
    """
    # A crash must not write records to a disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    opened = open_download(download)
    pieces = _chosen(opened.pieces, force, dataset)
    extra = [path.read_bytes() for path in sorted(contracts.glob("*.toml"))] if contracts else []
    known = [Contract.from_toml(payload) for payload in (*bundled_contracts(), *extra)]
    held = holdings(pieces, known, leave_out_uncovered=covered_only, beside=opened.pieces)
    declared = as_at.date() if as_at is not None else max(last_day(holding.months[-1]) for holding in held)
    answers = _answers(held, coordinator, governance_key, proxy, manifest, (epsilon_per_year, epsilon_lifetime))
    if answers is not None:
        # Before hours of records are laid out, and not after.
        settings_for(into / answers.force, answers)
    waiting = Console(stderr=True)
    used = [piece for holding in held for piece in holding.pieces]
    with waiting.status("reading the download") as status:
        rows = count_rows(opened, used, progress=lambda words: status.update(f"reading {words}"))
    _print_summary(held, rows, declared, opened.others)
    _confirm(yes=yes)
    with waiting.status("laying out") as status:
        done = lay_out(into, held, opened, as_at=declared, answers=answers, progress=status.update)
    _print_next(done, into)


def _chosen(pieces: Sequence[Piece], forces: list[str] | None, datasets: list[str] | None) -> list[Piece]:
    there = {piece.force for piece in pieces}
    for force in forces or ():
        if force not in there:
            raise Misconfigured(f"the download has nothing of {force}", hint=f"it has: {', '.join(sorted(there))}")
    known = {item.dataset for item in DATASETS.values()}
    for dataset in datasets or ():
        if dataset not in known:
            raise Misconfigured(f"{dataset} is none of the site's", hint=f"choose from: {', '.join(sorted(known))}")
    chosen = [
        piece
        for piece in pieces
        if (not forces or piece.force in forces) and (not datasets or DATASETS[piece.kind].dataset in datasets)
    ]
    if not chosen:
        raise Misconfigured("the download has nothing of what was chosen")
    return chosen


def _answers(
    held: Sequence[Holding],
    coordinator: str | None,
    governance_keys: list[str] | None,
    proxy: str | None,
    manifest: Path | None,
    budget: tuple[str | None, str | None],
) -> Answers | None:
    year, lifetime = budget
    _check_budget(year, lifetime)
    if coordinator is None or not governance_keys:
        if coordinator or governance_keys or manifest or proxy or any(budget):
            raise Misconfigured(
                "a node needs --coordinator and --governance-key",
                hint="give both, or neither and run `cordon node init` for each force afterwards",
            )
        return None
    if (year is None) != (lifetime is None):
        raise Misconfigured("a budget needs both --epsilon-per-year and --epsilon-lifetime")
    domains = sorted({DATASETS[holding.kind].domain for holding in held})
    budgets = {} if year is None or lifetime is None else dict.fromkeys(domains, (year, lifetime))
    return Answers(
        force=held[0].force,
        coordinator=coordinator,
        governance_keys=tuple(governance_keys),
        proxy=proxy,
        manifest=manifest,
        budgets=budgets,
    )


def _check_budget(year: str | None, lifetime: str | None) -> None:
    told = {"--epsilon-per-year": year, "--epsilon-lifetime": lifetime}
    amounts = {flag: _epsilon(flag, value) for flag, value in told.items() if value is not None}
    if len(amounts) == 2 and amounts["--epsilon-lifetime"] < amounts["--epsilon-per-year"]:
        raise Misconfigured(
            f"--epsilon-lifetime: {lifetime} is less than the {year} of a single year",
            hint="the lifetime's budget holds all years together",
        )


def _epsilon(flag: str, value: str) -> Fraction:
    try:
        amount = exact_number(value)
    except ValueError:
        amount = Fraction(0)
    if amount <= 0:
        raise Misconfigured(f"{flag}: {value!r} is no number above 0", hint="it looks like this: 10, 0.5 or 1/2")
    return amount


def _print_summary(held: Sequence[Holding], rows: dict[Piece, int], as_at: date, others: Sequence[str]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("force", "data set", "months", "files", "rows"):
        table.add_column(name, no_wrap=True)
    table.add_column("missing months")
    for holding in held:
        contract = holding.contract
        table.add_row(
            holding.force,
            f"{contract.dataset} v{contract.version}",
            f"{holding.months[0]} to {holding.months[-1]}",
            str(len(holding.pieces)),
            f"{sum(rows[piece] for piece in holding.pieces):,}",
            ", ".join(holding.gaps) or "none",
        )
    console = Console()
    console.print(table)
    if others:
        console.print(_not_read(others), highlight=False, markup=False, soft_wrap=True)
    console.print(f"each force declares these months, as at {as_at.isoformat()}", highlight=False)


def _not_read(others: Sequence[str]) -> str:
    # A name in an archive can hold anything, also what moves a terminal's cursor.
    named = ", ".join("".join(c if c.isprintable() else "?" for c in name) for name in others[:MOST_NAMED])
    more = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
    return f"not read, because the site's files are called otherwise: {named}{more}"


def _confirm(*, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise Misconfigured("nobody has confirmed the months; nothing was written", hint="look at them, and add --yes")
    with stopped_in_one_line():
        confirmed = typer.confirm("Is this what they declare?")
    if not confirmed:
        raise Misconfigured("not confirmed; nothing was written")


def _print_next(done: Sequence[LaidOut], into: Path) -> None:
    console = Console(stderr=True)
    count = f"{len(done)} force{'s' if len(done) != 1 else ''}"
    console.print(f"laid out {count} in {into}", highlight=False)
    if any(item.made is None for item in done):
        console.print(
            "next, for each of them: `cordon node init FOLDER`, and list its mappings in node.toml",
            highlight=False,
            soft_wrap=True,
        )
        return
    console.print(
        "next, for each of them: send what is in its folder to-governance, put the certificate that comes back at "
        "keys/tls.pem, and run `cordon node doctor`, which says what is left to do",
        highlight=False,
        soft_wrap=True,
    )
