"""`cordon coordinator …`: what the people who run the coordinator type."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer

from coordinator.config import CoordinatorConfig
from coordinator.store import create_store
from cordon.configfile import read_config
from cordon.logs import open_log
from cordon.manifest import read_manifest

app = typer.Typer(
    name="coordinator",
    help="Run the coordinator: it routes queries, adds ciphertexts blindly and keeps the register.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

ConfigPath = Annotated[
    Path, typer.Option("--config", "-c", help="The coordinator's TOML file.", envvar="CORDON_COORDINATOR_CONFIG")
]
_DEFAULT = Path("/etc/cordon/coordinator.toml")


@app.command()
def init(config: ConfigPath = _DEFAULT) -> None:
    """Create the empty store and register. Done once; a register is never overwritten."""
    settings = read_config(config, CoordinatorConfig)
    manifest, _ = read_manifest(settings.manifest, settings.governance_keys)
    create_store(settings.store, federation=manifest.federation, now=int(time.time()))
    typer.echo(f"created {settings.store}", err=True)


@app.command()
def serve(config: ConfigPath = _DEFAULT) -> None:
    """Serve nodes and analysts until stopped (SIGTERM or Ctrl-C)."""
    # gRPC takes a while to import; the other commands do without it.
    from coordinator.service import serve as serve_until_stopped  # noqa: PLC0415

    settings = read_config(config, CoordinatorConfig)
    asyncio.run(serve_until_stopped(settings, open_log(settings.log)))
