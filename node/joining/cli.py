"""`cordon node init` and `cordon node doctor`: what a force types on its first day, and whenever something is amiss."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from node.joining.finding import Finding, Level
from node.joining.questions import asked, completed
from node.joining.setup import Answers, Made, next_steps, set_up
from node.options import DEFAULT_CONFIG, ConfigPath


def add_joining_commands(app: typer.Typer) -> None:
    """Give the node's command line what a joining force needs."""
    app.command()(init)
    app.command()(doctor)


def init(
    folder: Annotated[Path, typer.Argument(help="The new node's folder; what is in it already is never overwritten.")],
    force: Annotated[str | None, typer.Option(help="The force's id in the manifest, such as kent.")] = None,
    name: Annotated[
        str | None, typer.Option(help="The force's name, such as 'Kent Police'; made from its id if not.")
    ] = None,
    coordinator: Annotated[str | None, typer.Option(help="host:port of the coordinator.")] = None,
    proxy: Annotated[str | None, typer.Option(help="HTTP proxy on the way there, http://host:port.")] = None,
    governance_key: Annotated[
        list[str] | None, typer.Option(help="A public key of the governance; once for each of them.")
    ] = None,
    manifest: Annotated[Path | None, typer.Option(help="The signed manifest, if it is at hand.")] = None,
    state: Annotated[
        Path | None, typer.Option(help="Folder of ledger and snapshots; 'state' in FOLDER if not.")
    ] = None,
) -> None:
    """Lay a new node out: configuration with every key explained, private keys, and a certificate request.

    Asks for what is not given, where there is a terminal. Runs without network.
    """
    given = {
        "force": force,
        "name": name,
        "coordinator": coordinator,
        "proxy": proxy,
        "governance-key": " ".join(governance_key) if governance_key else None,
        "manifest": str(manifest) if manifest else None,
        "state": str(state) if state else None,
    }
    told = completed(given, ask=asked if sys.stdin.isatty() else None)
    made = set_up(
        folder,
        Answers(
            force=told["force"],
            name=told["name"],
            coordinator=told["coordinator"],
            proxy=told["proxy"] or None,
            governance_keys=tuple(told["governance-key"].split()),
            manifest=Path(told["manifest"]).expanduser() if told["manifest"] else None,
            state=Path(told["state"]),
        ),
    )
    if len(told["governance-key"].split()) == 1:
        typer.echo(
            "warning: with one governance key its holder alone decides who the other forces are; a federation should "
            "have three or more",
            err=True,
        )
    typer.echo(_report(made), nl=False)


def doctor(
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Look at everything that a node needs, and say of each thing that it is well, or what to do.

    Changes nothing, shows no secret, and reads of records no more than the names of their columns. Exits with 0 if
    nothing is to do, with 1 otherwise.
    """
    # It loads what reads snapshots and sources, which takes a while.
    from node.joining.doctor import examine  # noqa: PLC0415

    findings = examine(config, now=time.time)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        typer.echo("".join(f"{line}\n" for line in _lines(findings)), nl=False)
    raise typer.Exit(1 if any(finding.level is Level.TO_DO for finding in findings) else 0)


def _report(made: Made) -> str:
    steps = "".join(f"  {number}. {step}\n" for number, step in enumerate(next_steps(made), start=1))
    return (
        f"made {made.config.parent} for {made.force}\n\n"
        f"signing key (public): {made.signing_key}\nseal key (public):    {made.seal_key}\n\n"
        f"governance enters this in the manifest:\n\n{made.block}\nwhat to do next:\n\n{steps}"
    )


def _lines(findings: list[Finding]) -> list[str]:
    width = max(len(finding.name) for finding in findings)
    lines = [f"{finding.level:<7}  {finding.name:<{width}}  {finding.sentence}" for finding in findings]
    counts = {level: sum(finding.level is level for finding in findings) for level in Level}
    return [*lines, f"{counts[Level.OK]} ok, {counts[Level.WARNING]} warnings, {counts[Level.TO_DO]} to do"]
