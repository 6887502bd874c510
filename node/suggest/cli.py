"""`cordon node map suggest`: a proposed mapping for a new source, for a person to confirm."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from pydantic import ValidationError

from cordon.catalogue import bundled_contracts
from cordon.configfile import read_config
from cordon.contract import Contract
from cordon.errors import Misconfigured
from cordon.keyfile import OWNER_ONLY, write_new
from node.config import NodeConfig
from node.source.model import Kind, Source

map_app = typer.Typer(name="map", help="Map a source of records to a contract.", no_args_is_help=True)

_SCHEMES = {
    "postgres": Kind.POSTGRESQL,
    "mssql": Kind.SQL_SERVER,
    "sqlserver": Kind.SQL_SERVER,
    **{kind.value: kind for kind in Kind},
}


@map_app.callback()
def _map() -> None:
    """Map a source of records to a contract."""


@map_app.command(name="suggest")
def suggest_mapping(
    dataset: Annotated[str, typer.Option(help="The contract's name.")],
    source: Annotated[str, typer.Option(help="A file, a folder, a pattern, or a database's URL without a password.")],
    version: Annotated[int | None, typer.Option(help="The contract's version; the newest where not given.")] = None,
    kind: Annotated[Kind | None, typer.Option(help="What holds the records, where its name does not tell.")] = None,
    table: Annotated[str | None, typer.Option(help="Table or view of a database.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of a CSV file; guessed where not given.")] = None,
    delimiter: Annotated[str | None, typer.Option(help="Of a CSV file; guessed where not given.")] = None,
    password_env: Annotated[str | None, typer.Option(help="Environment variable that holds the password.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="File that holds the password.")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="The node's TOML file: for its contracts and state folder.")
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
    from node.suggest.write import as_toml  # noqa: PLC0415

    settings = None if config is None else read_config(config, NodeConfig)
    contract = _contract(dataset, version, None if settings is None else settings.contracts)
    given = {
        "kind": kind, "table": table, "encoding": encoding, "delimiter": delimiter,
        "password_env": password_env, "password_file": password_file,
    }  # fmt: skip
    described, notes = completed(source_of(source, {key: value for key, value in given.items() if value is not None}))
    # Its owner's alone (0700), and gone afterwards.
    with TemporaryDirectory(prefix="cordon-", dir=None if settings is None else settings.state) as scratch:
        samples, rows = read_samples(described, Path(scratch), warn=_warn)
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


def source_of(text: str, given: dict[str, object]) -> Source:
    """The source that a person means on the command line.

    Raises:
        Misconfigured: it is not complete, or not possible.
    """
    scheme, divider, _ = text.partition("://")
    if divider:
        place: dict[str, object] = {"url": text, "kind": _SCHEMES.get(scheme.lower())}
        if place["kind"] is None and "kind" not in given:
            raise Misconfigured(f"{scheme}:// names no kind of database", hint="give --kind")
    else:
        # The file may be written somewhere else than where the command runs, and relative paths count from it.
        place = {"path": os.path.abspath(Path(text).expanduser())}  # noqa: PTH100 - resolve() would follow links
    try:
        return Source.model_validate({**place, **given})
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise Misconfigured(f"--source: {message}", hint="`cordon node map suggest --help` lists the options") from None


def _contract(dataset: str, version: int | None, folder: Path | None) -> Contract:
    extra = [path.read_bytes() for path in sorted(folder.glob("*.toml"))] if folder else []
    contracts = [Contract.from_toml(payload) for payload in (*bundled_contracts(), *extra)]
    found = [item for item in contracts if item.dataset == dataset and version in (None, item.version)]
    if not found:
        known = ", ".join(sorted({f"{item.dataset} v{item.version}" for item in contracts}))
        wanted = dataset if version is None else f"{dataset} v{version}"
        raise Misconfigured(f"there is no contract {wanted}", hint=f"known: {known}")
    return max(found, key=lambda item: item.version)
