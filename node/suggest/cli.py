"""`cordon node map suggest`: a proposed mapping for a new source, for a person to confirm."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

from cordon.catalogue import bundled_contracts
from cordon.configfile import read_config
from cordon.contract import Contract
from cordon.errors import CordonError, Misconfigured
from cordon.keyfile import OWNER_ONLY, write_new
from cordon.manifest import read_manifest
from node.config import NodeConfig
from node.source.model import Kind
from node.suggest.given import database_without_table, in_flags, source_of

map_app = typer.Typer(name="map", help="Map a source of records to a contract.", no_args_is_help=True)


@map_app.callback()
def _map() -> None:
    """Map a source of records to a contract."""


@map_app.command(name="suggest")
def suggest_mapping(
    dataset: Annotated[str, typer.Option(help="The contract's name.")],
    source: Annotated[str, typer.Option(help="A file, a folder, a pattern, or a database's URL without a password.")],
    version: Annotated[
        int | None, typer.Option(help="The contract's version; the newest that the manifest lists where not given.")
    ] = None,
    kind: Annotated[Kind | None, typer.Option(help="What holds the records, where its name does not tell.")] = None,
    table: Annotated[str | None, typer.Option(help="Table or view of a database.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of a CSV file; guessed where not given.")] = None,
    delimiter: Annotated[str | None, typer.Option(help="Of a CSV file; guessed where not given.")] = None,
    password_env: Annotated[str | None, typer.Option(help="Environment variable that holds the password.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="File that holds the password.")] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="The node's TOML file: for its manifest, contracts and state."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write; standard output where not given.")] = None,
) -> None:
    """Propose a mapping from the names and a sample of the values of a source, for a person to confirm.

    Nothing uses the proposal by itself. It can hold local codes, and never a value of an identifier or of free text.
    """
    # A crash must not write records to a disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Reading a source loads the drivers of databases; the other commands do without them.
    from node.suggest.propose import suggest  # noqa: PLC0415
    from node.suggest.reading import completed, read_samples  # noqa: PLC0415
    from node.suggest.tables import table_names, without_table  # noqa: PLC0415
    from node.suggest.write import as_toml  # noqa: PLC0415

    settings = None if config is None else read_config(config, NodeConfig)
    contract = _contract(dataset, version, settings)
    given = {
        key: value
        for key, value in {
            "kind": kind, "table": table, "encoding": encoding, "delimiter": delimiter,
            "password_env": password_env, "password_file": password_file,
        }.items()
        if value is not None
    }  # fmt: skip
    with (
        # Its owner's alone (0700), and gone afterwards.
        TemporaryDirectory(prefix="cordon-", dir=None if settings is None else settings.state) as scratch,
        Console(stderr=True).status(f"reading a sample of {source}"),
    ):
        lacking = database_without_table(source, given)
        if lacking is not None:
            raise without_table(lacking, table_names(lacking, Path(scratch)))
        try:
            described, notes = completed(source_of(source, given))
            samples, rows = read_samples(described, Path(scratch), warn=_warn)
        except Misconfigured as error:
            raise in_flags(error) from None
    suggestion = suggest(contract, samples)
    text = as_toml(suggestion, described, rows=rows, notes=notes)
    if out is None:
        sys.stdout.write(text)
    else:
        write_new(out, text.encode(), mode=OWNER_ONLY)
    found = len(suggestion.columns)
    place = "" if out is None else f"wrote {out}: "
    typer.echo(
        f"{place}{found} of {len(contract.columns)} columns found; read every line, fill in what is REQUIRED, "
        "and list the file under mappings in node.toml",
        err=True,
    )


def _warn(words: str) -> None:
    typer.echo(f"warning: {words}", err=True)


def _contract(dataset: str, version: int | None, settings: NodeConfig | None) -> Contract:
    folder = None if settings is None else settings.contracts
    extra = [path.read_bytes() for path in sorted(folder.glob("*.toml"))] if folder else []
    contracts = [Contract.from_toml(payload) for payload in (*bundled_contracts(), *extra)]
    found = [item for item in contracts if item.dataset == dataset and version in (None, item.version)]
    if not found:
        known = ", ".join(sorted({f"{item.dataset} v{item.version}" for item in contracts}))
        wanted = dataset if version is None else f"{dataset} v{version}"
        raise Misconfigured(f"there is no contract {wanted}", hint=f"known: {known}")
    return max(_listed(found, settings), key=lambda item: item.version)


def _listed(found: list[Contract], settings: NodeConfig | None) -> list[Contract]:
    """Those that the manifest lists; all of them, with a warning, where it lists none or is not there yet."""
    if settings is None:
        return found
    try:
        manifest, _ = read_manifest(settings.manifest, settings.governance_keys)
    except CordonError as error:
        newest = max(found, key=lambda item: item.version)
        _warn(f"{error}; {newest.dataset} v{newest.version} is at hand, whether or not the federation has it")
        return found
    listed = [item for item in found if manifest.lists(item.dataset, item.version, item.digest)]
    if not listed:
        _warn(f"the manifest does not list {', '.join(f'{item.dataset} v{item.version}' for item in found)}")
    return listed or found
