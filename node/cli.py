"""`cordon node …`: what the people who run a force's node type."""

from __future__ import annotations

import resource
import signal
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cordon.catalogue import read_catalogue
from cordon.configfile import read_config
from cordon.errors import Misconfigured
from cordon.logs import open_log
from cordon.manifest import read_manifest
from node.config import NodeConfig
from node.history_cli import add_history_command
from node.joining.cli import add_joining_commands
from node.ledgerfile import create_ledger
from node.load import Quality, load
from node.mapping import Mapping
from node.officer_cli import add_officer_commands
from node.opendata.cli import add_open_data_command
from node.options import DEFAULT_CONFIG, ConfigPath
from node.policy_cli import policy_app
from node.suggest.cli import map_app

app = typer.Typer(
    name="node",
    help="Run one force's node: load its records, serve queries, look back at what was asked.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

add_officer_commands(app)
add_history_command(app)
add_open_data_command(app)
add_joining_commands(app)
app.add_typer(policy_app)
app.add_typer(map_app)


@app.command()
def serve(config: ConfigPath = DEFAULT_CONFIG) -> None:
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
    config: ConfigPath = DEFAULT_CONFIG,
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


@app.command(name="create-ledger")
def create(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Create the empty ledger of a new force. Never for one that has answered before.

    Whoever replaces a ledger by an empty one hands out budget that was spent already.
    """
    settings = read_config(config, NodeConfig)
    create_ledger(settings.ledger, force=settings.force, now=int(time.time()))
    typer.echo(f"created {settings.ledger}", err=True)


@app.command(name="recover-ledger")
def recover_ledger(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Make a lost ledger again from the register's receipts. Never while a copy of the old one is served.

    All that was charged is found again; decisions, approvals and pauses of before are not.
    """
    # The channel takes a while to import; the other commands do without it.
    from cordon.wire.channel import Channel  # noqa: PLC0415
    from node.recover import recover  # noqa: PLC0415

    settings = read_config(config, NodeConfig)
    manifest, _ = read_manifest(settings.manifest, settings.governance_keys)
    channel = Channel(settings.coordinator, settings.tls.read(), proxy=settings.proxy)
    try:
        with Console(stderr=True).status("reading the register"):
            receipts = recover(settings.ledger, channel, force=settings.force, manifest=manifest, now=int(time.time()))
    finally:
        channel.close()
    typer.echo(f"created {settings.ledger} with {receipts} receipts from the register", err=True)


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
