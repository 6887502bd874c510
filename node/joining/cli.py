"""`cordon node init` and `cordon node doctor`: what a force types on its first day, and whenever something is amiss."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from cordon.errors import Misconfigured
from cordon.units import FORCE_ID
from node.joining.finding import Finding, Level
from node.joining.setup import Answers, Made, next_steps, set_up
from node.options import DEFAULT_CONFIG, ConfigPath

_KEY = re.compile(r"[0-9a-f]{64}")
_ADDRESS = re.compile(r"[^:/\s]+:\d{1,5}")
_PROXY = re.compile(r"(?:http://[^/\s]+)?")
_ANYTHING = re.compile(r".+")


@dataclass(frozen=True, slots=True)
class _Question:
    """One thing that `init` asks for."""

    flag: str
    words: str
    form: re.Pattern[str]
    example: str
    default: str | None = None
    """None where an answer is needed."""


_QUESTIONS = (
    _Question("force", "Your force's id in the federation: lower-case letters, digits and hyphens.", FORCE_ID, "kent"),
    _Question("name", "Your force's name, as people read it.", _ANYTHING, "Kent Police", ""),
    _Question(
        "coordinator",
        "Where the coordinator is reached, the only address that your node will dial.",
        _ADDRESS,
        "coordinator.example.org:7443",
    ),
    _Question(
        "proxy",
        "The HTTP proxy on the way there, which must not inspect TLS; leave it empty if there is none.",
        _PROXY,
        "http://proxy.kent.example.org:3128",
        "",
    ),
    _Question(
        "governance-key",
        "The governance's public keys, with blanks between: get them by telephone or on paper, not with the manifest.",
        re.compile(rf"{_KEY.pattern}(?:\s+{_KEY.pattern})*"),
        "64 hexadecimal digits each",
    ),
    _Question(
        "manifest",
        "The federation's signed manifest, if you have the file already: it is verified and copied.",
        re.compile(".*"),
        "manifest.json",
        "",
    ),
    _Question(
        "state",
        "The folder of ledger and snapshots: on an encrypted volume, and left out of machine snapshots.",
        _ANYTHING,
        "/var/lib/cordon-node",
        "state",
    ),
)


def add_joining_commands(app: typer.Typer) -> None:
    """Give the node's command line what a joining force needs."""
    app.command()(init)
    app.command()(doctor)


def init(
    folder: Annotated[Path, typer.Argument(help="The new node's folder; what is in it already is never overwritten.")],
    force: Annotated[str | None, typer.Option(help="The force's id in the manifest, such as kent.")] = None,
    name: Annotated[str | None, typer.Option(help="The force's name, such as 'Kent Police'.")] = None,
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
    told = _completed(given, ask=_ask if sys.stdin.isatty() else None)
    made = set_up(
        folder,
        Answers(
            force=told["force"],
            name=told["name"],
            coordinator=told["coordinator"],
            proxy=told["proxy"] or None,
            governance_keys=tuple(told["governance-key"].split()),
            manifest=Path(told["manifest"]) if told["manifest"] else None,
            state=Path(told["state"]),
        ),
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


def _completed(given: dict[str, str | None], ask: Callable[[_Question], str] | None) -> dict[str, str]:
    """Every answer: as given, else asked for, else its default.

    Raises:
        Misconfigured: nobody can be asked, and something that is needed was not given.
    """
    missing = [q.flag for q in _QUESTIONS if given[q.flag] is None and q.default is None]
    if missing and ask is None:
        raise Misconfigured(
            f"not given: {', '.join(f'--{flag}' for flag in missing)}",
            hint="give them, or run this in a terminal, where it asks",
        )
    told = {}
    for question in _QUESTIONS:
        value = given[question.flag]
        if value is None:
            value = (question.default or "") if ask is None else ask(question)
        told[question.flag] = value.strip()
    return told


def _ask(question: _Question) -> str:
    def checked(text: str) -> str:
        if text.strip() and not question.form.fullmatch(text.strip()):
            raise typer.BadParameter(f"it looks like this: {question.example}")
        return text

    typer.echo(question.words)
    shown = question.default if question.default is not None else None
    answer: str = typer.prompt(f"  {question.flag}", default=shown, value_proc=checked, show_default=bool(shown))
    return answer


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
