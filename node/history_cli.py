"""`cordon node history`: what a force was asked, on its own people's screen or in a file."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cordon.errors import Refused
from cordon.keyfile import OWNER_ONLY, write_new
from cordon.query.words import describe
from node.history import Entry, Reader, as_csv, as_json, as_s62, moment, read_history, read_orders
from node.office import Office
from node.options import DEFAULT_CONFIG, ConfigPath, Format
from node.pausing import Order, left_orders


def add_history_command(app: typer.Typer) -> None:
    """Give the node's command line its `history`."""
    app.command()(history)


def history(
    config: ConfigPath = DEFAULT_CONFIG,
    form: Annotated[Format, typer.Option("--format", "-f", help="How to print it.")] = Format.TABLE,
    query: Annotated[str | None, typer.Option(help="The whole life of one query, by the beginning of its id.")] = None,
    s62: Annotated[
        Path | None, typer.Option(help="Write the log of operations (Data Protection Act 2018, section 62) as CSV.")
    ] = None,
) -> None:
    """Print every query that this force was asked, what it decided, what it was charged, and what left."""
    with Office.open(config) as office:
        reader = Reader(office.manifest, office.policy)
        entries = read_history(office.ledger, office.policy)
        if query is not None:
            found = office.find(query)
            entries = [entry for entry in entries if entry.row.query_hash == found]
        if s62 is not None:
            write_new(s62, as_s62(entries, reader).encode(), mode=OWNER_ONLY)
            typer.echo(f"wrote {s62}", err=True)
            return
        orders = read_orders(
            office.ledger, office.policy, office.manifest, office.settings.force, left_orders(office.settings.state)
        )
    told = [_told(order, office) for order in orders] if query is None else []
    if form is Format.JSON:
        sys.stdout.write(as_json(entries, told, reader))
    elif form is Format.CSV:
        sys.stdout.write(as_csv(entries, reader))
    elif query is not None:
        _print_life(entries, reader)
    else:
        _print_table(entries, reader)
        _print_orders(told)


def _told(order: Order, office: Office) -> dict[str, str]:
    officer = office.policy.by_key_id.get(order.signer)
    return {
        "at": moment(order.pause.at),
        "order": "pause" if order.pause.paused else "resume",
        "by": officer.name if officer is not None else "the force's own key",
        "reason": order.reason,
    }


def _print_table(entries: Iterable[Entry], reader: Reader) -> None:
    lines = [_line(entry, reader) for entry in entries]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for cells in lines:
        # Not a table of rich: a question is longer than a column, and is never cut short.
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


def _line(entry: Entry, reader: Reader) -> list[str]:
    share = reader.share_of_year(entry)
    cost = f"epsilon {reader.manifest.epsilon(entry.charged):.3g}" if entry.left else "no cost"
    officers = sorted({said.officer for said in entry.said})
    return [
        entry.row.query_hash.hex()[:12],
        moment(entry.row.decided_at)[:16].replace("T", " "),
        entry.row.analyst,
        entry.query.terms.purpose,
        f"declined: {entry.row.code}" if entry.row.outcome == "DECLINED" else entry.decision,
        cost if share is None or not entry.left else f"{cost}, {100 * share:.2g} % of the year",
        f"by {', '.join(officers)}" if officers else "",
        describe(entry.query.question),
    ]


def _print_orders(told: Iterable[dict[str, str]]) -> None:
    console = Console()
    for order in told:
        reason = f": {order['reason']}" if order["reason"] else ""
        console.print(f"{order['at']} {order['order']} by {order['by']}{reason}", highlight=False, markup=False)


def _print_life(entries: list[Entry], reader: Reader) -> None:
    if not entries:
        raise Refused("there is nothing to show")
    console = Console()
    for name, value in reader.facts(entries[0]).items():
        parts = value if isinstance(value, list) else [value]
        for part in parts:
            text = ", ".join(f"{key} {item}" for key, item in part.items()) if isinstance(part, dict) else part
            console.print(f"{name.replace('_', ' ') + ':':<15} {text}", highlight=False, markup=False, soft_wrap=True)
