"""`cordon node …`: what the people who run a force's node type."""

from __future__ import annotations

import resource
import signal
import time

import typer
from rich.console import Console

from cordon.configfile import read_config
from cordon.logs import open_log
from cordon.manifest import read_manifest
from node.config import NodeConfig
from node.history_cli import add_history_command
from node.joining.cli import add_joining_commands
from node.ledgerfile import create_ledger
from node.load_cli import add_load_commands
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
add_load_commands(app)
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
