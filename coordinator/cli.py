"""`cordon coordinator …`: what the people who run the coordinator type."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from coordinator.config import CoordinatorConfig
from coordinator.publish import publish as write_files
from coordinator.store import Store, create_store
from cordon.configfile import read_config
from cordon.envelope import KeySigner, to_json
from cordon.errors import Refused
from cordon.keyfile import OWNER_ONLY, read_signing_key, write_new
from cordon.logs import open_log
from cordon.manifest import read_manifest
from cordon.register.leaf import Erasure, Ground
from cordon.wire.signed import sign

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


@app.command()
def publish(
    folder: Annotated[Path, typer.Argument(help="Folder for the static files; made where it does not exist.")],
    config: ConfigPath = _DEFAULT,
) -> None:
    """Write the register as static files that any web server can hand out; run it again to bring them up to date.

    Works beside the serving coordinator. What is under embargo, or erased, is left out.
    """
    settings = read_config(config, CoordinatorConfig)
    manifest, _ = read_manifest(settings.manifest, settings.governance_keys)
    signer = KeySigner(read_signing_key(settings.signing_key))
    store = Store(settings.store, federation=manifest.federation, read_only=True)
    now = int(time.time())
    note = store.register.note(manifest.origin, manifest.coordinator_public, signer, now)
    with Console(stderr=True).status("publishing") as status:
        written = write_files(store.register, note, folder, now=now, progress=status.update)
    typer.echo(f"{store.register.size:,} leaves; {written:,} files written to {folder}", err=True)
    store.close()


@app.command()
def erase(
    leaf: Annotated[int, typer.Argument(help="Index of the leaf whose opened content must go.", min=0)],
    ground: Annotated[
        str, typer.Option(help="Why: court_order, right_to_erasure, submitted_in_error or operational_security.")
    ],
    key: Annotated[Path, typer.Option(help="A governance key, in PEM form.")],
    config: ConfigPath = _DEFAULT,
) -> None:
    """Sign that what a leaf commits to must go; the serving coordinator carries it out within seconds.

    The leaf and its proof stay, and the erasure is itself a leaf: erased and withheld differ.
    """
    settings = read_config(config, CoordinatorConfig)
    grounds = {item.name.lower(): item for item in Ground}
    if ground not in grounds:
        raise Refused(f"{ground!r} is no ground", hint=f"one of: {', '.join(grounds)}")
    erasure = Erasure(leaf, grounds[ground], int(time.time()))
    signed = sign(erasure, KeySigner(read_signing_key(key)))
    settings.erasures.mkdir(mode=0o700, exist_ok=True)
    write_new(settings.erasures / f"{leaf}.json", to_json(signed).encode(), mode=OWNER_ONLY)
    typer.echo(f"signed; the coordinator erases what leaf {leaf} commits to", err=True)
