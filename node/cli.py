"""`cordon node …`: what the people who run a force's node type."""

from __future__ import annotations

import resource
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cordon.catalogue import read_catalogue
from cordon.configfile import read_config
from cordon.errors import Misconfigured
from cordon.logs import open_log
from cordon.manifest import read_manifest
from cordon.query.model import Query
from cordon.query.words import describe
from cordon.units import Rho
from cordon.wire.signed import peek
from node.config import NodeConfig
from node.ledger import Ledger
from node.ledgerfile import create_ledger
from node.load import Quality, load
from node.mapping import Mapping

app = typer.Typer(
    name="node",
    help="Run one force's node: load its records, serve queries, look back at what was asked.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

ConfigPath = Annotated[
    Path, typer.Option("--config", "-c", help="The node's TOML file.", envvar="CORDON_NODE_CONFIG", show_default=True)
]
_DEFAULT = Path("/etc/cordon/node.toml")


@app.command()
def serve(config: ConfigPath = _DEFAULT) -> None:
    """Dial the coordinator and answer queries until stopped (SIGTERM or Ctrl-C)."""
    # The serving machinery takes a second to import; the other commands do without it.
    from node.service import Node  # noqa: PLC0415

    # A crash must not write exact cells or an opened check seed to a disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    settings = read_config(config, NodeConfig)
    node = Node(settings, open_log(settings.log))
    for kind in (signal.SIGTERM, signal.SIGINT):
        signal.signal(kind, lambda *_: node.stop())
    node.run()


@app.command(name="load")
def load_snapshots(
    config: ConfigPath = _DEFAULT,
    dataset: Annotated[str | None, typer.Option(help="Only this data set.")] = None,
) -> None:
    """Build snapshots from the force's sources, and print what was mended in them.

    The report is for the force's own people: no figure of it leaves the node.
    """
    settings = read_config(config, NodeConfig)
    manifest, _ = read_manifest(settings.manifest, settings.governance_keys)
    catalogue = read_catalogue(manifest, settings.contracts)
    mappings = [read_config(path, Mapping) for path in settings.mappings]
    chosen = [mapping for mapping in mappings if dataset in (None, mapping.dataset)]
    if not chosen:
        raise Misconfigured(
            f"no mapping for {dataset}" if dataset else "no mappings", hint=f"list mapping files in {config}"
        )
    console, progress = Console(), Console(stderr=True)
    for mapping in chosen:
        listed = catalogue.get((mapping.dataset, mapping.version))
        if listed is None:
            raise Misconfigured(f"the manifest does not list {mapping.dataset} v{mapping.version}")
        with progress.status(f"{mapping.dataset}: starting") as status:
            quality = load(
                mapping,
                listed[0],
                settings.state,
                progress=lambda stage, status=status, name=mapping.dataset: status.update(f"{name}: {stage}"),  # type: ignore[misc]
            )
        _print_quality(console, quality)


@app.command()
def history(config: ConfigPath = _DEFAULT) -> None:
    """Print every query that this force was asked, what it decided, and what it was charged."""
    settings = read_config(config, NodeConfig)
    manifest, _ = read_manifest(settings.manifest, settings.governance_keys)
    ledger = Ledger(settings.ledger, force=settings.force, read_only=True)
    table = Table("when", "analyst", "purpose", "question", "decision", "epsilon", "query", box=None, pad_edge=False)
    for row in ledger.history():
        query = peek(Query, row.envelope)
        charged = sum((rho for _, rho in row.charges), Rho(0))
        table.add_row(
            f"{datetime.fromtimestamp(row.decided_at, UTC):%Y-%m-%d %H:%M}",
            row.analyst,
            query.terms.purpose,
            describe(query.question),
            row.code if row.outcome == "DECLINED" else row.outcome.lower().replace("_", " "),
            f"{manifest.epsilon(charged):.3g}",
            row.query_hash.hex()[:12],
        )
    ledger.close()
    Console().print(table)


@app.command()
def pause(config: ConfigPath = _DEFAULT) -> None:
    """Decline every new query, saying so, until `resume`; what was promised is still answered."""
    settings = read_config(config, NodeConfig)
    settings.pause_file.touch(mode=0o600)
    typer.echo("paused: new queries are declined", err=True)


@app.command()
def resume(config: ConfigPath = _DEFAULT) -> None:
    """Answer queries again after `pause`."""
    settings = read_config(config, NodeConfig)
    settings.pause_file.unlink(missing_ok=True)
    typer.echo("resumed", err=True)


@app.command(name="create-ledger")
def create(config: ConfigPath = _DEFAULT) -> None:
    """Create the empty ledger of a new force. Never for one that has answered before.

    Whoever replaces a ledger by an empty one hands out budget that was spent already.
    """
    settings = read_config(config, NodeConfig)
    create_ledger(settings.ledger, force=settings.force, now=int(time.time()))
    typer.echo(f"created {settings.ledger}", err=True)


def _print_quality(console: Console, quality: Quality) -> None:
    console.print(f"[bold]{quality.dataset} v{quality.version}[/bold]", highlight=False)
    share = 100 * quality.rows_kept / quality.rows_read if quality.rows_read else 0.0
    console.print(
        f"  {quality.rows_read:,} rows read, {quality.rows_kept:,} kept ({share:.1f} %); "
        f"{quality.rows_over_bound:,} beyond the bound per unit, {quality.rows_without_unit:,} without a unit",
        highlight=False,
    )
    table = Table("column", "missing", "mended", "how", "most frequent", box=None, pad_edge=False)
    for column in quality.columns:
        examples = ", ".join(f"{local} ({count:,})" for local, count in column.examples[:3])
        table.add_row(column.column, f"{column.missing:,}", f"{column.mended:,}", column.how, examples)
    console.print(table)
